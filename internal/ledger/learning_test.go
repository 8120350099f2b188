package ledger

import (
	"testing"
	"time"

	"github.com/headgate/headgate/internal/limit"
)

func TestSpreadStartsAtThreePerCentWithinBounds(t *testing.T) {
	for window, want := range map[time.Duration]time.Duration{
		ms: 5 * ms, 100 * ms: 5 * ms, 166 * ms: 5 * ms, 200 * ms: 6 * ms, time.Second: 30 * ms, 8 * time.Second: 240 * ms, 9 * time.Second: 250 * ms, time.Hour: 250 * ms,
	} {
		if s := newSpread(50, window); s.d != want || s.max() != 4*want {
			t.Errorf("window %v: spread %v, at most %v, want %v, %v", window, s.d, s.max(), want, 4*want)
		}
	}
}

func TestSpreadShrinksOnlyAfterPressedQuietWindows(t *testing.T) {
	s := newSpread(50, time.Second)
	now := t0
	quiet := func(pressed bool) time.Duration {
		s.quiet(now, pressed)
		now = now.Add(s.window + 1)
		s.quiet(now, false)
		return s.d
	}
	if got := quiet(false); got != 30*ms {
		t.Errorf("after an idle window: %v, want 30ms", got)
	}
	if got := quiet(true); got != 29970*time.Microsecond {
		t.Errorf("after a pressed window: %v, want a thousandth less than 30ms", got)
	}
	for range 5000 {
		quiet(true)
	}
	if s.d != minSpread {
		t.Errorf("after 5000 pressed windows: %v, want %v", s.d, minSpread)
	}
}

func TestThrottledDoublesTheSpreadAndRemembersTheFloor(t *testing.T) {
	s := newSpread(50, time.Second)
	s.quiet(t0, true)
	s.widen(t0)
	if s.d != 60*ms {
		t.Errorf("widened once: %v, want 60ms", s.d)
	}
	now := t0
	for now.Before(t0.Add(59 * time.Minute)) {
		now = now.Add(s.window + 1)
		s.quiet(now, true)
	}
	if s.d != 37500*time.Microsecond {
		t.Errorf("within the hour: %v, want a quarter above the 30ms that were too few", s.d)
	}
	for range 5000 {
		now = now.Add(s.window + 1)
		s.quiet(now, true)
	}
	if s.d != minSpread {
		t.Errorf("after the hour: %v, want %v", s.d, minSpread)
	}
	for range 10 {
		s.widen(now)
	}
	if s.d != 40*ms && s.d != s.max() || s.floor > s.max() {
		t.Errorf("widened ten times: %v, floor %v, want at most %v", s.d, s.floor, s.max())
	}
	before := s.d
	s.quiet(now.Add(500*ms), true) // the window it was throttled in
	if s.quiet(now.Add(999*ms), true); s.d != before {
		t.Errorf("%v within the window that was throttled, want %v", s.d, before)
	}
}

func TestEveryKindOfLimitShrinksItsSpreadUnderPressure(t *testing.T) {
	for _, text := range []string{"50/1s", "50/1s fixed", "50/1s burst 50", "50/1s burst 10", "50/1s burst 100"} {
		b := newBook(t, Options{}, text)
		demand(t, b, 10*time.Second, 0)
		if got := b.Status(t0)[0].Spread; got >= 30*ms {
			t.Errorf("%s: spread %v after ten pressed seconds, want less than 30ms", text, got)
		}
	}
}

func TestThrottledWidensOnlyTheLimitsThatTheAttemptTook(t *testing.T) {
	l := New([]Rule{ruleOf(t, PerPath, "/a", "10/1s"), ruleOf(t, PerPath, "/b", "10/1s"), ruleOf(t, PerCredential, "", "concurrent:20")}, Options{}, t0)
	b := l.Book("key", t0)
	id := mustGrant(t, b, t0, Ask{Paths: l.Paths("/a")}, 10)[0]
	b.Answered(t0, id)
	b.Throttled(t0, id, time.Second)
	for i, want := range []time.Duration{60 * ms, 30 * ms, 5 * ms} {
		if got := b.Status(t0)[i].Spread; got != want {
			t.Errorf("spread of rule %d: %v, want %v", i, got, want)
		}
	}
}

// What is refused while half of the quota is left is not late: somebody else
// uses the limit, or the burst was too much for the upstream.
func TestThrottledWithQuotaLeftDoesNotWidenTheSpread(t *testing.T) {
	for _, test := range []struct {
		pressed time.Time
		used    int64 // of 100/1s
		want    int64 // in force afterwards
	}{
		{time.Time{}, 40, 100},           // a burst: it may have been too much for a bucket
		{t0.Add(-time.Minute), 40, 35},   // evenly spaced: somebody else uses it
		{t0.Add(-time.Minute), 100, 100}, // all of it: those before may still have counted
	} {
		b := newBook(t, Options{}, "100/1s")
		now := t0
		var last ID
		for range test.used {
			if wait, ok := b.Ready(now, &Ask{Pressed: test.pressed}); !ok {
				now = wait.At
			}
			last = b.Grant(now, &Ask{Pressed: test.pressed})
			b.Written(now, last)
			b.Answered(now, last)
			if test.used < 100 || !now.Equal(t0) {
				b.Accepted(now, last)
			}
		}
		b.Throttled(now, last, 0)
		s := b.Status(now)[0]
		spread := 30 * ms
		if test.used == 100 {
			spread = 60 * ms
		}
		if s.InForce != test.want || s.Spread != spread {
			t.Errorf("%+v: %d in force, spread %v, want %d and %v", test, s.InForce, s.Spread, test.want, spread)
		}
	}
}

func TestFreshQuotaOpensInTwoHalves(t *testing.T) {
	for text, burst := range map[string]int{"100/1s": 50, "100/2s fixed": 50, "31/1s": 31, "100/3s": 100, "50/1m": 50} {
		b := newBook(t, Options{}, text)
		l := b.tallies[0].rule.Limit
		ids := mustGrant(t, b, t0, Ask{}, burst)
		if burst < int(l.N) {
			ids = append(ids, mustGrant(t, b, t0, Ask{}, 2)...) // a fiftieth is made good
			wantWait(t, b, t0, Ask{}, 3*l.Window*95/100/time.Duration(l.N)-l.Window/50, text)
		}
		for _, id := range ids {
			b.Written(t0, id)
			b.Answered(t0, id)
			b.End(t0, id)
		}
		mustGrant(t, b, t0.Add(5*time.Minute), Ask{}, int(l.N)) // it has been used before
	}
}

// The half that went at once is what fills the window: until it leaves, all
// would be refused.
func TestRefusalOfAFreshQuotaHoldsUntilItsFirstHalfHasLeft(t *testing.T) {
	b := newBook(t, Options{}, "100/1s")
	mustGrant(t, b, t0, Ask{}, 51)
	now := t0.Add(300 * ms)
	id := mustGrant(t, b, now, Ask{}, 1)[0]
	b.Written(now, id)
	b.Answered(now, id)
	b.Throttled(now, id, 0)
	if !b.Eased() {
		t.Error("paused, where sending less is answer enough")
	}
	wantWait(t, b, now, Ask{}, 700*ms, "100/1s")
}

// demand takes every permit as soon as it may for a span, each written at once
// and answered after a time, and returns how many that were. Calls wait all
// the time.
func demand(t testing.TB, b *Book, span, answer time.Duration) (n int) {
	t.Helper()
	type sent struct {
		id ID
		at time.Time
	}
	var out []sent
	ask := Ask{Pressed: t0}
	for now := t0; now.Before(t0.Add(span)); {
		if wait, ok := b.Ready(now, &ask); ok {
			id := b.Grant(now, &ask)
			b.Written(now, id)
			out = append(out, sent{id, now.Add(answer)})
			n++
		} else {
			next := wait.At
			if len(out) > 0 && (next.IsZero() || out[0].at.Before(next)) {
				next = out[0].at
			}
			if !next.After(now) {
				t.Fatalf("after %v: nothing to wait for", now.Sub(t0))
			}
			now = next
		}
		for len(out) > 0 && !out[0].at.After(now) {
			b.Answered(now, out[0].id)
			b.Accepted(now, out[0].id)
			b.End(now, out[0].id)
			out = out[1:]
		}
	}
	return n
}

// TestQuotaIsUsedUnderLastingDemand is invariant 2 of the ledger.
func TestQuotaIsUsedUnderLastingDemand(t *testing.T) {
	for _, text := range []string{"50/1s", "500/1s", "1/1s", "7/3s", "50/1m", "50/1s fixed", "7/3s fixed", "50/1s burst 10", "50/1s burst 3", "7/3s burst 20"} {
		for _, strict := range []bool{false, true} {
			b := newBook(t, Options{Strict: strict}, text)
			l, d := b.tallies[0].rule.Limit, b.tallies[0].spread.d
			if strict && l.Kind == limit.Bucket {
				continue // what is in flight takes from the burst, which may be small
			}
			const windows = 25
			got := demand(t, b, windows*l.Window, d)
			usage := float64(got) / float64(windows*l.N)
			if want := 1 - (float64(d)+float64(l.Window)/1000)/float64(l.Window); usage < want {
				t.Errorf("%s, strict %v: usage %.4f over %d windows, want %.4f", text, strict, usage, windows, want)
			}
		}
	}
}

func TestAttemptsAreSpacedUnderPressureOnly(t *testing.T) {
	const gap = 95 * ms // of 10/1s, filling 95 % of the window
	for _, text := range []string{"10/1s", "10/1s fixed"} {
		b := newBook(t, Options{}, text)
		mustGrant(t, b, t0, Ask{}, 3)
		mustGrant(t, b, t0.Add(499*ms), Ask{Pressed: t0}, 2) // not for long yet
		now := t0.Add(500 * ms)
		pressed := Ask{Pressed: t0}
		mustGrant(t, b, now, pressed, 1)
		wantWait(t, b, now, pressed, gap-20*ms, text) // a fiftieth is made good
		mustGrant(t, b, now, Ask{}, 1)                // nobody waits: no gap
		now = now.Add(gap - 20*ms)
		mustGrant(t, b, now, pressed, 1)
		wantWait(t, b, now, pressed, gap, text)
		late := now.Add(gap + 15*ms)
		mustGrant(t, b, late, pressed, 1)
		wantWait(t, b, late, pressed, gap-15*ms, text)
	}
	b := newBook(t, Options{}, "10/1s burst 10")
	mustGrant(t, b, t0.Add(time.Minute), Ask{Pressed: t0}, 10) // a bucket paces itself
}

func TestAttemptsAreSpacedForTenWindowsAfterThrottled(t *testing.T) {
	b := newBook(t, Options{}, "10/1s")
	id := mustGrant(t, b, t0, Ask{}, 1)[0]
	b.Answered(t0, id)
	b.Throttled(t0, id, 0)
	b.Accepted(t0, id)
	b.pause.allowed = 0 // not what this is about
	b.End(t0, id)
	now := t0.Add(9900 * ms)
	mustGrant(t, b, now, Ask{}, 1)
	wantWait(t, b, now, Ask{}, 75*ms, "10/1s")
	now = t0.Add(9990 * ms)
	mustGrant(t, b, now, Ask{}, 1)
	wantWait(t, b, now, Ask{}, 10*ms, "10/1s") // not for a gap that nobody has to keep then
	mustGrant(t, b, t0.Add(10*time.Second), Ask{}, 8)
}

func TestSpreadShrinksFasterWhereMoreIsCounted(t *testing.T) {
	for n, want := range map[int64]time.Duration{
		50: 29970 * time.Microsecond, 2000: 29940 * time.Microsecond, 1e6: 29850 * time.Microsecond,
	} {
		s := newSpread(n, time.Second)
		s.quiet(t0, true)
		if s.quiet(t0.Add(1001*ms), true); s.d != want {
			t.Errorf("spread of %d/1s after a quiet window = %v, want %v", n, s.d, want)
		}
	}
}

// What was learned changes between syncs: a part stays as large a share of it.
func TestPartOfAGuessIsAShareOfIt(t *testing.T) {
	b := New(nil, Options{Learn: true, Shared: true}, t0).Book("key", t0)
	wantUnknown(t, b, t0, Ask{}, "learned") // nobody has said yet how much
	p := b.Parts()
	p.Set(0, 125, 125, 250) // of 500
	for _, n := range []float64{500, 2000, 100} {
		tally := b.tallies[0]
		tally.learn.n = n
		tally.resize()
		if got := tally.pace.quota; got != n/4 {
			t.Errorf("%.0f in force: %.1f for who was told a quarter of 500, want %.1f", n, got, n/4)
		}
	}
	for i := range 200 { // none of which ends
		mustGrant(t, b, t0.Add(time.Duration(i)*time.Second), Ask{}, 1)
	}
	if got := p.Used(t0.Add(200*time.Second), 0); got != 100 {
		t.Errorf("%d of the guess used, want the 100 that its part may come to: its pace has forgotten the rest", got)
	}
}
