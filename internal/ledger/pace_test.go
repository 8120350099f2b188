package ledger

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/limit"
)

// A worker is what ends a permit after a time.
type worker struct {
	at  time.Time
	end func(now time.Time)
}

// press has calls wait all the time, and work on each permit as soon as it may
// be had: begin returns when it has to be ended, and how. It returns when each
// permit was granted.
func press(t testing.TB, b *Book, ask Ask, span time.Duration, begin func(now time.Time, id ID) worker) (grants []time.Time) {
	t.Helper()
	ask.Pressed = t0.Add(-time.Hour)
	var busy []worker
	for now := t0; now.Before(t0.Add(span)); {
		wait, ok := b.Ready(now, &ask)
		if ok {
			grants = append(grants, now)
			busy = append(busy, begin(now, b.Grant(now, &ask)))
		}
		slices.SortStableFunc(busy, func(a, b worker) int { return a.at.Compare(b.at) })
		if !ok {
			now = wait.At
			if len(busy) > 0 && (now.IsZero() || busy[0].at.Before(now)) {
				now = busy[0].at
			}
		}
		for len(busy) > 0 && !busy[0].at.After(now) {
			busy[0].end(now)
			busy = busy[1:]
		}
	}
	return grants
}

func TestPaceFollowsSettledWeights(t *testing.T) {
	for _, answer := range []time.Duration{20 * ms, 3 * time.Second, 20 * time.Second} {
		for _, test := range []struct{ estimate, real int64 }{{100, 10}, {100, 50}, {20, 5}} {
			b := newBook(t, Options{}, "tokens:1000/1m")
			used := int64(0)
			press(t, b, Ask{Cost: Cost{limit.Tokens: test.estimate}}, 20*time.Minute, func(now time.Time, id ID) worker {
				b.Written(now, id)
				return worker{now.Add(answer), func(now time.Time) {
					b.Answered(now, id)
					b.Settle(now, id, Cost{limit.Tokens: test.real})
					b.End(now, id)
					if now.After(t0.Add(10 * time.Minute)) {
						used += test.real
					}
				}}
			})
			// The meter wants room for an estimate, and counts it while in flight.
			most := (1 - float64(test.estimate)/1000) / (1 + answer.Minutes()*float64(test.estimate)/float64(test.real))
			if got := float64(used) / 10000; got < most {
				t.Errorf("%d estimated as %d, answered after %v: %.1f %% of the tokens used over 10 windows, want %.1f or more", test.real, test.estimate, answer, got*100, most*100)
			}
		}
	}
}

func TestPermitsGivenBackLeaveNoGap(t *testing.T) {
	for _, held := range []time.Duration{0, 100 * ms, time.Second} {
		b := newBook(t, Options{}, "50/1m")
		n, used := 0, 0
		press(t, b, Ask{}, 20*time.Minute, func(now time.Time, id ID) worker {
			n++
			if n%4 == 0 {
				b.Written(now, id)
				b.Answered(now, id)
				if now.After(t0.Add(10 * time.Minute)) {
					used++
				}
			}
			return worker{now.Add(held), func(now time.Time) { b.End(now, id) }}
		})
		if got := float64(used) / 500; got < 0.9 {
			t.Errorf("3 of 4 permits given back after %v: %.1f %% of the quota used over 10 windows, want 90 or more", held, got*100)
		}
	}
}

func TestGapOfTheLastPermitIsGivenBackAtOnce(t *testing.T) {
	pressed := Ask{Pressed: t0.Add(-time.Hour)}
	b := newBook(t, Options{}, "10/10s") // a gap of 950 ms, of which 200 are made good
	now := t0
	for range 5 {
		id := mustGrant(t, b, now, pressed, 1)[0]
		wantWait(t, b, now, pressed, 750*ms, "10/10s")
		b.End(now, id)
	}
	id := mustGrant(t, b, now, pressed, 1)[0]
	b.Written(now, id)
	b.End(now, id)
	wantWait(t, b, now, pressed, 750*ms, "10/10s") // it was sent

	now = t0.Add(time.Minute)
	several := pressed
	several.Times = 4
	id = mustGrant(t, b, now, several, 1)[0]
	wantWait(t, b, now, pressed, 3600*ms, "10/10s")
	b.Part(now, id, 1, true)
	wantWait(t, b, now, pressed, 3600*ms, "10/10s")
	b.Part(now, id, 2, false)
	wantWait(t, b, now, pressed, 1700*ms, "10/10s")
	b.End(now, id)
	wantWait(t, b, now, pressed, 750*ms, "10/10s")
}

// Permits of before the last one leave what it has earned.
func TestGapsGivenBackTogetherMakeNoBurst(t *testing.T) {
	pressed := Ask{Pressed: t0.Add(-time.Hour)}
	b := newBook(t, Options{}, "60/1m") // a gap of 950 ms
	now := t0
	var ids []ID
	for range 30 {
		if wait, ok := b.Ready(now, &pressed); !ok {
			now = wait.At
		}
		ids = append(ids, mustGrant(t, b, now, pressed, 1)...)
	}
	wantWait(t, b, now, pressed, 950*ms, "60/1m")
	for _, id := range ids[:29] {
		b.End(now, id)
	}
	wantWait(t, b, now, pressed, 950*ms, "60/1m")
	now = now.Add(950 * ms)
	start := now
	for range 9 {
		b.Written(now, mustGrant(t, b, now, pressed, 1)[0])
		wait, ok := b.Ready(now, &pressed)
		if gap := wait.At.Sub(now); ok || gap < 95*ms {
			t.Fatalf("ready %v after a gap of %v, want 95ms or more", ok, gap)
		}
		now = wait.At
	}
	if took := now.Sub(start); took > 5*time.Second {
		t.Errorf("10 attempts took %v with 29 gaps given back, want less than half of their own gaps", took)
	}
}

func TestTimeThatWentByUnusedIsNoCredit(t *testing.T) {
	pressed := Ask{Pressed: t0.Add(-time.Hour)}
	b := newBook(t, Options{}, "60/1m")
	for i := range 100 {
		now := t0.Add(time.Duration(i) * 2 * time.Second)
		b.End(now, mustGrant(t, b, now, pressed, 1)[0])
	}
	if c := b.tallies[0].pace.credit; c != 0 {
		t.Errorf("credit of %v after permits that were given back at once, want 0", c)
	}
}

func TestForecastCountsTheGapsOfThoseAhead(t *testing.T) {
	b := newBook(t, Options{}, "60/1m") // a gap of 950 ms, of which 1200 are made good
	pressed := Ask{Pressed: t0.Add(-time.Hour)}
	mustGrant(t, b, t0, pressed, 2)
	for ahead, want := range map[int]time.Duration{0: 700 * ms, 1: 1650 * ms, 40: 38700 * ms} {
		if got := b.Forecast(t0, &pressed, ahead); got.At.Sub(t0) != want || got.Limit != "60/1m" {
			t.Errorf("%d ahead: %v by %q, want %v", ahead, got.At.Sub(t0), got.Limit, want)
		}
	}
	if got := b.Forecast(t0, &Ask{}, 40); got.At.Sub(t0) != 0 {
		t.Errorf("without pressure: %v, want at once", got.At.Sub(t0))
	}
	b.tallies[0].pace.until = t0.Add(5 * time.Second)
	if got := b.Forecast(t0, &Ask{}, 40); got.At.Sub(t0) != 5*time.Second {
		t.Errorf("spaced for 5 s more: %v, want 5s", got.At.Sub(t0))
	}
	if got := b.Forecast(t0, &pressed, 1<<40); got.At.Sub(t0) < farthest {
		t.Errorf("a very long line: %v, want %v at least", got.At.Sub(t0), farthest)
	}
}

// TestForecastIsNeverLaterThanTheTruth takes as fast as allowed after a random
// history, with all that is in flight answered at once.
func TestForecastIsNeverLaterThanTheTruth(t *testing.T) {
	for seed := range uint64(600) {
		h := newHistory(t, seed)
		h.debts = false
		for range h.IntN(150) {
			h.step()
		}
		book := h.books[0]
		ask, ahead := h.ask(), h.IntN(30)
		ask.Times, ask.Modest = 1, false
		if book.TooHeavy(&ask) != "" {
			continue
		}
		h.promiseAll()
		forecast := book.Forecast(h.now, &ask, ahead)
		h.shareAll()
		for _, a := range h.open {
			b := h.books[a.book]
			b.Answered(h.now, a.id)
			b.Accepted(t0, a.id)
			b.End(h.now, a.id)
		}
		now := h.now
		for range ahead + 1 {
			for {
				wait, ok := book.Ready(now, &ask)
				if ok {
					break
				}
				if !wait.At.After(now) {
					h.fatalf("%+v: nothing to wait for", wait)
				}
				now = wait.At
			}
			id := book.Grant(now, &ask)
			book.Answered(now, id)
			book.Accepted(now, id)
			book.End(now, id)
		}
		if late := forecast.At.Sub(now); late > time.Microsecond { // a bucket's level is a float
			h.fatalf("%+v with %d ahead: forecast in %v by %q, taken in %v", ask, ahead, forecast.At.Sub(h.now), forecast.Limit, now.Sub(h.now))
		}
	}
}

// TestPaceKeepsToTheNetRate compares random charges and refunds with their sum.
func TestPaceKeepsToTheNetRate(t *testing.T) {
	l := limit.Limit{Dimension: limit.Tokens, N: 1000, Window: time.Minute}
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 2))
		p := pace{quota: float64(l.N), window: l.Window, next: t0}
		type charge struct {
			at time.Time
			w  int64
		}
		var open []charge
		var gaps time.Duration // charged and not given back
		now := t0
		for i := range 500 {
			switch r.IntN(3) {
			case 0:
				now = now.Add(time.Duration(r.Int64N(int64(20 * time.Second))))
			case 1:
				w := 1 + r.Int64N(l.N/5)
				now = later(now, p.next)
				p.passed(now, w)
				gaps += p.gapOf(w)
				open = append(open, charge{now, w})
			case 2:
				if len(open) == 0 {
					continue
				}
				k := r.IntN(len(open))
				w := 1 + r.Int64N(open[k].w)
				p.unpassed(now, open[k].at, w)
				gaps -= p.gapOf(w)
				if open[k].w -= w; open[k].w == 0 {
					open = slices.Delete(open, k, k+1)
				}
			}
			if allowed := p.next.Add(-p.credit).Sub(t0) + p.slack(); gaps > allowed+time.Duration(i)*2 {
				t.Fatalf("seed %d, step %d, after %v: gaps of %v were taken and kept, want %v at most", seed, i, now.Sub(t0), gaps, allowed)
			}
		}
	}
}
