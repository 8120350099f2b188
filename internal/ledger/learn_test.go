package ledger

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// learnStep is something that happens to a learner.
type learnStep struct {
	after  time.Duration // since the step before
	do     string        // accept: rate a second, all the while; idle; refuse
	rate   int
	n      float64 // in force afterwards, within 2 %
	passed bool    // refuse: something else is to be blamed
}

func (s learnStep) run(t *testing.T, l *learner, now, pressed time.Time) {
	t.Helper()
	switch s.do {
	case "accept":
		for i := range int(s.after.Seconds() * float64(s.rate)) {
			at := now.Add(time.Duration(i) * time.Second / time.Duration(s.rate))
			l.reopen(at)
			l.accept(at, 1, true)
			l.grow(at, pressed)
		}
		l.grow(now.Add(s.after), pressed)
	case "idle":
		l.grow(now.Add(s.after), time.Time{})
	case "refuse":
		if lowered := l.strike(now.Add(s.after), true); lowered == s.passed {
			t.Errorf("lowered %v, want %v", lowered, !s.passed)
		}
	}
	if math.Abs(l.n-s.n) > 0.02*s.n {
		t.Errorf("%.1f in force, want %.0f", l.n, s.n)
	}
}

func TestLearner(t *testing.T) {
	const second = time.Second
	for name, test := range map[string]struct {
		l     learner
		steps []learnStep
	}{
		"a limit that nobody told doubles every half second while calls wait": {newLearner(1000, 10*second, true), []learnStep{
			{second / 2, "accept", 400, 917, false}, // the first answers tell little
			{second / 2, "accept", 400, 1834, false},
			{second, "idle", 0, 1834, false},
			{time.Hour, "idle", 0, 1834, false},
		}},
		"it grows no faster than twice what is accepted": {newLearner(1000, 10*second, true), []learnStep{
			{5 * second, "accept", 60, 1220, false},
			{5 * second, "accept", 60, 1220, false},
		}},
		"it does not grow before anything is accepted": {newLearner(1000, 10*second, true), []learnStep{
			{10 * second, "accept", 0, 500, false},
		}},
		"refused, it falls below what was accepted, and comes back": {newLearner(1000, 10*second, true), []learnStep{
			{second, "accept", 300, 1778, false},
			{second, "accept", 150, 4189, false},
			{0, "refuse", 0, 1405, false},
			{minBack / 2, "accept", 150, 1488, false},
			{minBack / 2, "accept", 150, 1500, false},
			{minBack / 2, "accept", 150, 1500, false},
			{minBack / 2, "accept", 150, 1500, false},
			{minBack, "accept", 150, 1549, false},
		}},
		"refused again at once, it waits for what was lowered to show": {newLearner(1000, 10*second, true), []learnStep{
			{2 * second, "accept", 100, 1999, false},
			{0, "refuse", 0, 927, false},
			{900 * ms, "refuse", 0, 927, false},
		}},
		"refused after few answers, it falls by a third": {newLearner(1000, 10*second, true), []learnStep{
			{second, "accept", 3, 500, false},
			{0, "refuse", 0, 324, false},
		}},
		"a configured limit is not lowered by the first refusal": {newLearner(100, second, false), []learnStep{
			{2 * second, "accept", 100, 100, false},
			{0, "refuse", 0, 100, true},
			{2 * second, "accept", 60, 100, false},
			{0, "refuse", 0, 58, false},
			{minBack, "accept", 60, 60, false},
			{minBack, "accept", 60, 73.7, false},
			{minBack, "idle", 0, 100, false},
			{time.Hour, "idle", 0, 100, false},
		}},
		"nor by one a day": {newLearner(100, second, false), []learnStep{
			{0, "refuse", 0, 100, true},
			{24 * time.Hour, "refuse", 0, 100, true},
			{24 * time.Hour, "refuse", 0, 100, true},
		}},
		"of a day's limit ten seconds are looked back at": {newLearner(86400, 24*time.Hour, false), []learnStep{
			{0, "refuse", 0, 86400, true},
			{20 * second, "accept", 1, 86400, false},
			{0, "refuse", 0, 80352, false},
			{time.Hour, "idle", 0, 86400, false},
		}},
		"never below one": {newLearner(1, time.Minute, false), []learnStep{
			{0, "refuse", 0, 1, true}, {time.Minute, "refuse", 0, 1, false}, {time.Minute, "refuse", 0, 1, false},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			now := t0
			for i, s := range test.steps {
				t.Run(fmt.Sprint(i), func(t *testing.T) { s.run(t, &test.l, now, t0) })
				now = now.Add(s.after)
			}
		})
	}
}

func TestLearnerComesBackSlowerToAPeakThatIsConfirmed(t *testing.T) {
	l := newLearner(1000, 10*time.Second, true)
	now := t0
	for i, want := range []time.Duration{2 * minBack, 4 * minBack, 8 * minBack, 16 * minBack, 16 * minBack} {
		(learnStep{after: 50 * time.Second, do: "accept", rate: 100}).drive(&l, now)
		now = now.Add(50 * time.Second)
		l.n = 1000
		if l.strike(now, true); l.back != want {
			t.Errorf("refusal %d: %v back to the peak, want %v", i, l.back, want)
		}
	}
	(learnStep{after: 50 * time.Second, do: "accept", rate: 50}).drive(&l, now)
	if l.strike(now.Add(50*time.Second), true); l.back != 2*minBack {
		t.Errorf("refused at half of it: %v back to the peak, want %v", l.back, 2*minBack)
	}
}

// A 429 that asks for a second costs a second of everything.
func TestLearnerTakesLongerWhereARefusalHoldsEverythingBack(t *testing.T) {
	for _, test := range []struct{ price, want time.Duration }{
		{0, 2 * minBack}, {100 * ms, 2 * minBack}, {time.Second, dear * time.Second}, {time.Hour, dear * maxSpan},
	} {
		l := newLearner(100, time.Second, false)
		l.price = test.price
		now := t0
		for range 2 {
			(learnStep{after: time.Minute, do: "accept", rate: 60}).drive(&l, now)
			now = now.Add(time.Minute)
			l.n = 80
			l.strike(now, false)
		}
		if l.back != test.want {
			t.Errorf("told to wait for %v: %v back to the peak, want %v", test.price, l.back, test.want)
		}
	}
}

// drive is run without looking.
func (s learnStep) drive(l *learner, now time.Time) {
	for i := range int(s.after.Seconds() * float64(s.rate)) {
		at := now.Add(time.Duration(i) * time.Second / time.Duration(s.rate))
		l.reopen(at)
		l.accept(at, 1, true)
		l.grow(at, t0)
	}
}

func TestShareOfAnInstanceIsScaledToTheWhole(t *testing.T) {
	l := newLearner(1000, 10*time.Second, true)
	(learnStep{after: 5 * time.Second, do: "accept", rate: 25}).drive(&l, t0)
	l.n, l.share = 2000, 0.25
	if l.strike(t0.Add(5*time.Second), true); math.Abs(l.peak-1000) > 20 {
		t.Errorf("25 a second accepted of a quarter: a peak of %.0f in 10 s, want 1000", l.peak)
	}
}

func TestLearnerAdoptsWhatOthersHaveLearned(t *testing.T) {
	l := newLearner(1000, 10*time.Second, true)
	l.n = 1000
	for _, step := range []struct {
		n, strikes int64
		news       bool
		want       float64
	}{
		{900, 0, false, 1000},
		{3000, 0, true, 3000},
		{800, 4, true, 800},
		{5000, 3, false, 800},
		{800, 4, false, 800},
		{790, 4, false, 800},
		{810, 4, true, 810},
		{1500, 4, true, 1500},
	} {
		if news := l.adopt(t0, float64(step.n), step.strikes); news != step.news || l.n != step.want {
			t.Errorf("told of %d from %d refusals: news %v, %.0f in force, want %v, %.0f", step.n, step.strikes, news, l.n, step.news, step.want)
		}
	}
	before := l.n
	l.accept(t0, 1, true)
	if l.grow(t0.Add(ms), t0); math.Abs(l.n-before) > 2 {
		t.Errorf("%.1f in force a moment after %.1f was adopted", l.n, before)
	}
	adopted := l.n
	if l.strike(t0.Add(500*ms), true); l.n != adopted {
		t.Errorf("%.1f in force, lowered from %.1f by what was on its way when that was adopted", l.n, adopted)
	}
	known := newLearner(100, time.Second, false)
	if known.adopt(t0, 50, 0) || known.n != 100 {
		t.Error("a number that nothing was refused for lowered a configured limit")
	}
	if !known.adopt(t0, 50, 1) || !known.lowered() {
		t.Error("what others were refused did not lower a configured limit")
	}
}

// Else a fleet would look for more far more often than one alone.
func TestLearnerThatAdoptsTheSameAgainTakesLongerToComeBack(t *testing.T) {
	l := newLearner(1000, 10*time.Second, true)
	for i := range int64(5) {
		l.adopt(t0.Add(time.Duration(i)*time.Minute), 1000+float64(i), i+1)
		if want := l.base() << min(i, slowerGuess); l.back != want {
			t.Errorf("%v to come back after %d refusals at the same rate, want %v", l.back, i+1, want)
		}
	}
}

// TestLearnerHistories lets anything happen to learners, in any order.
func TestLearnerHistories(t *testing.T) {
	for seed := range uint64(2000) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		window := []time.Duration{time.Second, 10 * time.Second, time.Minute, 24 * time.Hour}[rnd.IntN(4)]
		l := newLearner(1+rnd.Int64N(5000), window, rnd.IntN(2) == 0)
		now := t0
		for range 400 {
			now = now.Add(time.Duration(rnd.ExpFloat64() * float64(200*ms)))
			switch rnd.IntN(9) {
			case 0:
				l.share = 0.1 + 0.9*rnd.Float64()
				l.strike(now, true)
			case 1:
				now = now.Add(time.Duration(rnd.Int64N(int64(window))))
			case 2:
				l.grow(now, time.Time{})
			case 3:
				if !l.unknown {
					l.know(1 + rnd.Int64N(5000))
				}
			case 4:
				l.adopt(now, float64(1+rnd.Int64N(5000)), l.strikes+rnd.Int64N(3)-1)
			default:
				if rnd.IntN(2) == 0 {
					l.reopen(now)
				}
				l.accept(now, 1+rnd.Int64N(5), rnd.IntN(4) > 0)
				l.grow(now, t0)
			}
			if n := l.n; math.IsNaN(n) || n < 1 || n > mostLearned || !l.unknown && n > l.known {
				t.Fatalf("seed %d: %v in force of %v after %v", seed, n, l.known, now.Sub(t0))
			}
		}
		for range 1000 {
			now = now.Add(time.Minute)
			l.grow(now, time.Time{})
		}
		if l.lowered() {
			t.Fatalf("seed %d: %v of %v in force when nothing had been refused for %v", seed, l.n, l.known, 1000*time.Minute)
		}
	}
}

func TestLongRefusalsTellThatAWindowIsLong(t *testing.T) {
	const second = time.Second
	for _, test := range []struct {
		last, now time.Duration // after the first refusal: the last one, and the first answer that is none
		n         float64       // in force afterwards, of 1000 in 10 s
		peak      float64
		span      time.Duration
	}{
		{2 * second, 4 * second, 200, 333, 3 * second},
		{9 * second, 9 * second, 94, 100, 10 * second},
		{200 * ms, second, 931, 990, second}, // not long
		{10 * time.Minute, 11 * time.Minute, 1.5, 1.7, mostSpan},
	} {
		l := newLearner(1000, 10*second, true)
		l.n = 1000
		for i := range 100 {
			l.accept(t0.Add(time.Duration(i)*10*ms), 1, true)
		}
		shut := t0.Add(second)
		l.strike(shut, true)
		l.strike(shut.Add(test.last), true)
		now := shut.Add(test.now)
		if test.last > second {
			l.n = 1000 // whatever refusals in between made of it
		}
		changed := l.reopen(now)
		if changed != (test.span > second) || math.Abs(l.n-test.n) > 0.1*test.n || math.Abs(l.peak-test.peak) > 0.1*test.peak || l.span() != test.span {
			t.Errorf("refused for %v, accepted after %v: changed %v, %.1f in force below %.1f, looking back %v, want %.1f below %.1f, %v",
				test.last, test.now, changed, l.n, l.peak, l.span(), test.n, test.peak, test.span)
		}
		if l.reopen(now) {
			t.Error("opened twice")
		}
	}
}
