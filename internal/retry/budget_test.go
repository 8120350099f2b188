package retry

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

var t0 = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// covered draws the retries that b covers at now, up to most, and counts them.
func covered(b *Budget, now time.Time, most int) int {
	n := 0
	for n < most && b.When(now).Equal(now) {
		b.Draw(now)
		n++
	}
	return n
}

func attempts(b *Budget, now time.Time, n int) {
	for range n {
		b.Attempt(now)
	}
}

func TestBudgetHoldsItsReserve(t *testing.T) {
	for _, tt := range []struct {
		share float64
		want  int
	}{
		{0, 10}, {-1, 10}, {math.NaN(), 10}, {math.Inf(-1), 10},
		{0.1, 20}, {0.2, 30}, {0.29, 39}, {1, 110},
		{1000, 100_010}, {1001, 100_010}, {math.Inf(1), 100_010},
	} {
		const most = 200_000
		b := NewBudget(tt.share)
		if got := covered(b, t0, most); got != tt.want {
			t.Errorf("share %v: a new budget covers %d, want %d", tt.share, got, tt.want)
		}
		later := t0.Add(1000 * time.Hour)
		attempts(b, later, 1000)
		if got := covered(b, later, most); got != tt.want {
			t.Errorf("share %v: after a long quiet time and 1000 attempts it covers %d, want %d", tt.share, got, tt.want)
		}
	}
}

func TestBudgetGrowsByAttemptsAndTime(t *testing.T) {
	b := NewBudget(0.2)
	covered(b, t0, 30)
	for _, step := range []struct {
		at       time.Duration
		attempts int
		when     time.Duration // after the attempts
		covered  int
	}{
		{0, 0, 100 * ms, 0},
		{0, 4, 20 * ms, 0},
		{0, 1, 0, 1},
		{0, 0, 100 * ms, 0},
		{40 * ms, 0, 100 * ms, 0},
		{100*ms - 1, 0, 100 * ms, 0},
		{100 * ms, 0, 100 * ms, 1},
		{350 * ms, 2, 350 * ms, 2}, // 2.5 for the time and 2 × 0.2
		{350 * ms, 0, 360 * ms, 0},
		{360 * ms, 0, 360 * ms, 1},
		{360 * ms, 500, 360 * ms, 30},
		{200 * ms, 5, 200 * ms, 1}, // a moment that went back brings nothing by itself
		{200 * ms, 0, 460 * ms, 0}, // and takes nothing away
		{460 * ms, 0, 460 * ms, 1},
		{1460*ms - 1, 0, 1460*ms - 1, 9},
		{1460 * ms, 0, 1460 * ms, 1}, // ten in a second
	} {
		now := t0.Add(step.at)
		attempts(b, now, step.attempts)
		if got := b.When(now); !got.Equal(t0.Add(step.when)) {
			t.Errorf("%+v: when = %v, want %v", step, got.Sub(t0), step.when)
		}
		if got := covered(b, now, 100); got != step.covered {
			t.Errorf("%+v: covers %d retries, want %d", step, got, step.covered)
		}
	}
}

func TestBudgetLendsWhatTimeWillPay(t *testing.T) {
	b := NewBudget(0.2)
	covered(b, t0, 30)
	for _, step := range []struct {
		at       time.Duration
		attempts int
		draw     time.Duration // what Draw returns after the attempts
	}{
		{0, 0, 100 * ms},
		{0, 0, 200 * ms},
		{0, 0, 300 * ms},
		{0, 5, 300 * ms}, // they pay for one: the next is due with the one before
		{250 * ms, 0, 400 * ms},
		{250 * ms, 1, 480 * ms},
		{480 * ms, 0, 580 * ms},
		{400 * ms, 0, 680 * ms}, // a moment that went back
		{780 * ms, 0, 780 * ms},
		{780 * ms, 4, 800 * ms},
		{780 * ms, 10, 780 * ms}, // 20 ms are owed, 200 come in
		{780 * ms, 0, 800 * ms},
	} {
		now := t0.Add(step.at)
		attempts(b, now, step.attempts)
		when := b.When(now)
		if got := b.Draw(now); !got.Equal(t0.Add(step.draw)) || !got.Equal(when) {
			t.Errorf("%+v: draw = %v, when = %v before it; want %v", step, got.Sub(t0), when.Sub(t0), step.draw)
		}
	}
}

func TestBudgetRecovers(t *testing.T) {
	b := NewBudget(0.2)
	now := t0
	for range 6000 { // a minute's outage: 100 calls a second, each would wait 1 s for a retry
		now = now.Add(10 * ms)
		b.Attempt(now)
		if !b.When(now).After(now.Add(s)) {
			b.Draw(now)
		}
	}
	if wait := b.When(now).Sub(now); wait < 900*ms || wait > 1100*ms {
		t.Errorf("after an outage in which every call wanted a retry the next is due in %v, want about the 1s that they waited", wait)
	}
	now = now.Add(4 * s) // one to pay for what was lent, three to fill 30 × 100 ms
	if got := covered(b, now, 100); got != 30 {
		t.Errorf("4 s after an outage it covers %d retries, want all 30", got)
	}
}

func TestBudgetSharesTheFloorAmongInstances(t *testing.T) {
	b := NewBudget(0.2)
	covered(b, t0, 30)
	b.Among(t0, 4)
	for _, step := range []struct {
		at       time.Duration
		attempts int
		among    int // from then on; 0: as before
		when     time.Duration
		covered  int
	}{
		{0, 0, 0, 400 * ms, 0},
		{0, 4, 0, 80 * ms, 0}, // attempts put in what they always do
		{0, 1, 0, 0, 1},
		{200 * ms, 0, 0, 400 * ms, 0}, // half of it is there
		{200 * ms, 0, 1, 250 * ms, 0},
		{250 * ms, 0, 0, 250 * ms, 1},
		{350 * ms, 0, 2, 350 * ms, 1}, // what came before came to the only one
		{350 * ms, 0, 0, 550 * ms, 0},
		{450 * ms, 0, 0, 550 * ms, 0},
		{450 * ms, 0, 0, 550 * ms, 0},
		{550 * ms, 0, 0, 550 * ms, 1},
		{550 * ms, 0, -1, 650 * ms, 0}, // at least one
		{10 * s, 0, 50, 10 * s, 30},    // the reserve is everyone's own
		{20 * s, 0, 0, 20 * s, 2},
		{21 * s, 0, 0, 25 * s, 0},
	} {
		now := t0.Add(step.at)
		if step.among != 0 {
			b.Among(now, step.among)
		}
		attempts(b, now, step.attempts)
		if got := b.When(now); !got.Equal(t0.Add(step.when)) {
			t.Errorf("%+v: when = %v, want %v", step, got.Sub(t0), step.when)
		}
		if got := covered(b, now, 100); got != step.covered {
			t.Errorf("%+v: covers %d retries, want %d", step, got, step.covered)
		}
	}
}

// Moments that lie close together must not lose what the floor puts in.
func TestBudgetAmongManyLosesNothingToAskingOften(t *testing.T) {
	b := NewBudget(0)
	covered(b, t0, 10)
	b.Among(t0, 1000)
	want := t0.Add(100 * s)
	for now := t0; now.Before(t0.Add(s)); now = now.Add(1999) {
		if got := b.When(now); !got.Equal(want) {
			t.Fatalf("after %v: when = %v, want %v", now.Sub(t0), got.Sub(t0), want.Sub(t0))
		}
	}
}

func TestBudgetsOfAFleetTogetherKeepTheFloor(t *testing.T) {
	const n, seconds = 7, 20
	made := 0
	for range n {
		b := NewBudget(0)
		covered(b, t0, 10)
		b.Among(t0, n)
		for at := time.Duration(0); at <= seconds*s; at += 3 * ms {
			made += covered(b, t0.Add(at), 100)
		}
	}
	if made > 10*seconds || made < 10*seconds-n {
		t.Errorf("%d retries of %d instances in %d s, want %d or one less of each", made, n, seconds, 10*seconds)
	}
}

// What is put in and taken out is counted in nanoseconds of the floor, so that
// the sums are exact.
func FuzzBudgetBoundsRetries(f *testing.F) {
	for seed := range uint64(100) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		rnd := rand.New(rand.NewPCG(seed, 3))
		percent := rnd.Int64N(120)
		deposit, reserve := percent*1e6, (10+percent)*1e8
		patience := rnd.Int64N(5e9) // how long a retry may wait
		b := NewBudget(float64(percent) / 100)
		var h history
		// What was drawn beyond share and floor since any moment, less the
		// reserve, is lent: over is that since t0, least its lowest so far.
		now, over, least := int64(0), int64(0), int64(0)
		for step := range 500 {
			if rnd.IntN(4) == 0 {
				passed := rnd.Int64N(1e9) * rnd.Int64N(2) * rnd.Int64N(2)
				now += passed
				over -= passed
			}
			for range rnd.IntN(6) {
				b.Attempt(t0.Add(time.Duration(now)))
				over -= deposit
				h = append(h, event{moment: now})
			}
			for range rnd.IntN(6) {
				least = min(least, over)
				want := now + max(0, over-least+1e8-reserve)
				when := b.When(t0.Add(time.Duration(now))).Sub(t0)
				if int64(when) != want {
					t.Fatalf("share %d%%, step %d, %v: When = %v, want %v", percent, step, time.Duration(now), when, time.Duration(want))
				}
				if want > now+patience {
					break
				}
				if at := b.Draw(t0.Add(time.Duration(now))).Sub(t0); at != when {
					t.Fatalf("share %d%%, step %d, %v: Draw = %v, want %v as When", percent, step, time.Duration(now), at, when)
				}
				over += 1e8
				h = append(h, event{moment: now, retry: true, at: want})
			}
		}
		h.checkBound(t, 0, deposit, reserve)
		for range 20 {
			h.checkBound(t, rnd.IntN(len(h)+1), deposit, reserve)
		}
	})
}

// history is what happened to a budget, in order.
type history []event

// event is an attempt, or a retry drawn at moment to be made at at, in
// nanoseconds from t0.
type event struct {
	moment, at int64
	retry      bool
}

// checkBound counts, for each span that starts with event first and ends with a
// retry, the retries that were drawn and made in it.
func (h history) checkBound(t *testing.T, first int, deposit, reserve int64) {
	t.Helper()
	var attempts, retries []int64 // moments
	for _, e := range h[first:] {
		if e.retry {
			retries = append(retries, e.at)
		} else {
			attempts = append(attempts, e.moment)
		}
	}
	slices.Sort(retries)
	sent := 0
	for i, end := range retries {
		for sent < len(attempts) && attempts[sent] <= end {
			sent++
		}
		made, span := int64(i+1), end-h[first].moment
		if made*1e8 > int64(sent)*deposit+span+reserve {
			t.Fatalf("%d retries in %v with %d attempts, want at most (%d × %d + %d + %d) / 1e8",
				made, time.Duration(span), sent, sent, deposit, span, reserve)
		}
	}
}
