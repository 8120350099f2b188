package lease

import (
	"testing"
	"time"
)

// breaker has an instance say what it knows of a breaker.
func (k *talk) breaker(id string, b Breaker) (Breaker, Reply) {
	b.Upstream = "up"
	r := k.report(id, func(r *Report) { r.Breakers = []Breaker{b} })
	return r.Breakers[0], r
}

func TestHigherGenerationOfABreakerWins(t *testing.T) {
	k := newTalk(t, 50)
	k.settled(1, "a", "b")
	k.breaker("a", Breaker{Throttled: 2, Succeeded: 5})
	if all, _ := k.breaker("b", Breaker{Throttled: 1}); all.Throttled != 3 || all.Succeeded != 5 {
		t.Errorf("outcomes of both = %+v, want 3 throttled, 5 succeeded", all)
	}
	_, r := k.breaker("a", Breaker{Generation: 1, Open: true, Cause: 1, Left: 3 * time.Second})
	if len(r.Wake) != 1 || r.Wake[0] != "b" {
		t.Errorf("an opening wakes %v, want b", r.Wake)
	}
	k.now += time.Second
	all, _ := k.breaker("b", Breaker{Throttled: 9})
	if want := (Breaker{Upstream: "up", Generation: 1, Open: true, Cause: 1, Left: 2 * time.Second}); all != want {
		t.Errorf("facts of an older generation leave %+v, want %+v", all, want)
	}
}

func TestOneAtATimeProbes(t *testing.T) {
	k := newTalk(t, 50)
	k.settled(1, "a", "b", "c")
	probing := Breaker{Generation: 1, Open: true, Left: time.Second, Probing: true}
	steps := []struct {
		after time.Duration
		id    string
		asks  bool
		leave bool
	}{
		{0, "a", true, false}, // not yet half-open
		{time.Second, "a", true, true},
		{0, "b", true, false},
		{0, "a", true, true},
		{0, "a", false, false}, // it has not sent its probe
		{0, "b", true, true},
		{0, "a", true, false},
	}
	for _, s := range steps {
		k.now += s.after
		probing.Probing = s.asks
		if all, _ := k.breaker(s.id, probing); all.Probing != s.leave {
			t.Errorf("after %v: %s asks %v: leave %v, want %v", k.now, s.id, s.asks, all.Probing, s.leave)
		}
	}
	probing.Probing = true
	from := k.now
	for k.now < from+time.Minute {
		k.now += Beat
		k.report("c")
		if all, _ := k.breaker("a", probing); all.Probing {
			break
		}
	}
	if took := k.now - from; took <= Kept-Beat || took > Kept+2*Beat {
		t.Errorf("another probes %v after the prober died, want a lease", took)
	}
}
