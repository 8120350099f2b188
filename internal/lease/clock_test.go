package lease

import (
	"testing"
	"time"
)

func TestClockLeapsTakeNothingFromTheLiving(t *testing.T) {
	leaps := map[string]func(k *talk, step int){
		"forwards":  func(k *talk, step int) { k.leap(step == 3, time.Hour) },
		"backwards": func(k *talk, step int) { k.leap(step == 3, -time.Hour) },
		"both":      func(k *talk, step int) { k.leap(step == 3, time.Hour); k.leap(step == 23, -time.Hour) },
		"by small steps": func(k *talk, step int) {
			k.leap(step < 30, 400*ms)
		},
		"backwards by small steps": func(k *talk, step int) {
			k.leap(step < 30, -400*ms)
		},
	}
	for name, leap := range leaps {
		for _, first := range []string{"a", "new"} {
			t.Run(name+", first is "+first, func(t *testing.T) {
				k := newTalk(t, 50)
				k.settled(50, "a", "b")
				for step := range 60 {
					leap(k, step)
					k.speaker("new").want = 50
					for _, id := range []string{first, "a", "b"} {
						k.report(id)
						if sum := k.account.held(k.limit.Limit); sum > 50 {
							t.Fatalf("step %d: %d held of 50", step, sum)
						}
						if id != "new" && k.who[id].hold < 16 {
							t.Fatalf("step %d: %s holds %d, want its part", step, id, k.who[id].hold)
						}
					}
					k.now += Beat / 2
				}
			})
		}
	}
}

func (k *talk) leap(now bool, by time.Duration) {
	if now {
		k.leapt += by
	}
}

// The part of an instance that is silent goes to others neither sooner, nor
// much later, because the clock leaps.
func TestClockLeapsEndNoLease(t *testing.T) {
	tests := []struct {
		name  string
		at    time.Duration // after its last report
		by    time.Duration
		steps int
		first string
		late  time.Duration // so much later it may come
	}{
		{"forwards", Beat, time.Hour, 1, "b", 0},
		{"forwards while it lingers", Kept + 300*ms, time.Hour, 1, "b", 0},
		{"backwards", Beat, -time.Hour, 1, "b", Beat},
		{"small steps", Beat, 200 * ms, 30, "b", 0},
		{"a newcomer is first", Beat, time.Hour, 1, "new", Beat},
		{"a newcomer is first while it lingers", Kept + 300*ms, time.Hour, 1, "new", Beat},
		{"a newcomer is first, backwards", Beat, -time.Hour, 1, "new", Beat},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k := newTalk(t, 50)
			k.settled(50, "a", "b")
			k.now -= Beat
			k.report("a")
			from, steps := k.now, 0
			for k.now < from+time.Minute && k.who["b"].hold < 26 {
				k.now += Beat / 5
				if steps < tt.steps && k.now-from >= tt.at {
					steps++
					k.leapt += tt.by
				}
				if steps == tt.steps {
					k.report(tt.first)
				}
				k.report("b")
			}
			soonest := Kept + k.limit.Linger - Leap
			latest := Kept + k.limit.Linger + 2*Beat + tt.late
			if took := k.now - from; took < soonest || took > latest {
				t.Errorf("b is given what a held after %v, want %v to %v", took, soonest, latest)
			}
		})
	}
}

// Time that nobody vouches for goes by for those who were missed before.
func TestDeadAreNotWaitedForTwice(t *testing.T) {
	k := newTalk(t, 50)
	k.settled(50, "a")
	k.now += time.Hour
	k.settled(50, "b") // the first that comes after a has died
	k.now += time.Hour
	k.settled(50, "c")
	k.now += time.Hour
	k.speaker("d").want = 50
	k.report("d")
	for id := range k.account.members {
		if id == "a" {
			t.Errorf("what a held two hours ago is still held: %v", k.account.held(k.limit.Limit))
		}
	}
}
