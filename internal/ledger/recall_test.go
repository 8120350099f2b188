package ledger

import (
	"math"
	"testing"
	"time"
)

func TestGuessIsRecalledWithItsAge(t *testing.T) {
	for _, test := range []struct {
		age        time.Duration
		inForce    int64 // of 100 a second, in 10 s
		confidence Confidence
		recalled   bool
	}{
		{0, 940, Medium, true},
		{-time.Hour, 940, Medium, true}, // the clock was set back
		{59 * time.Minute, 940, Medium, true},
		{2 * time.Hour, 500, Low, true},
		{29 * 24 * time.Hour, 500, Low, true},
		{31 * 24 * time.Hour, int64(startRate * 10), Low, false},
	} {
		b := learning(Options{})
		recalled := b.Recall(t0, Learned{PerSecond: 100, At: t0.Add(-test.age)})
		s := b.Status(t0)[0]
		if recalled != test.recalled || s.InForce != test.inForce || s.Confidence != test.confidence {
			t.Errorf("%v old: recalled %v, %d in force, confidence %v, want %+v", test.age, recalled, s.InForce, s.Confidence, test)
		}
	}
}

func TestOnlyAGuessThatIsFreshRecalls(t *testing.T) {
	what := Learned{PerSecond: 100, At: t0}
	for _, bad := range []float64{0, -1, math.NaN(), math.Inf(1), 1e300} {
		if learning(Options{}).Recall(t0, Learned{PerSecond: bad, At: t0}) {
			t.Errorf("%v a second was recalled", bad)
		}
	}
	if newBook(t, Options{}, "10/1s").Recall(t0, what) {
		t.Error("a configured limit gave way to what was recalled")
	}
	b := learning(Options{})
	if _, ok := b.Learned(); ok {
		t.Error("a fresh book has learned something")
	}
	if !b.Recall(t0, what) || b.Recall(t0, Learned{PerSecond: 7, At: t0}) {
		t.Error("what was recalled gave way to another, or was not recalled")
	}
	if got, ok := b.Learned(); !ok || got != what {
		t.Errorf("learned %+v, %v, want what was recalled", got, ok)
	}
	used := learning(Options{})
	mustGrant(t, used, t0, Ask{}, 1)
	if used.Recall(t0, what) {
		t.Error("a book that is in use began anew")
	}
}
