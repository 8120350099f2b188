package ledger

import (
	"testing"
	"time"

	"github.com/headgate/headgate/internal/limit"
)

func TestLatencyIsTheFastestAnswerOfLate(t *testing.T) {
	const ms = time.Millisecond
	var l latency
	if d, known := l.most(); known {
		t.Errorf("before any answer: %v is known, want nothing", d)
	}
	for _, step := range []struct {
		at, took, want time.Duration
	}{
		{0, 80 * ms, 80 * ms},
		{1 * time.Second, 60 * ms, 60 * ms},
		{2 * time.Second, 90 * ms, 60 * ms},
		{61 * time.Second, 90 * ms, 60 * ms}, // of the span before
		{62 * time.Second, 50 * ms, 50 * ms},
		{122 * time.Second, 300 * ms, 50 * ms},
		{183 * time.Second, 200 * ms, 200 * ms}, // the way got longer: 300 ms, then 200
		{184 * time.Second, 0, 1},
	} {
		l.heard(t0.Add(step.at), step.took)
		if got, known := l.most(); got != step.want || !known {
			t.Errorf("at %v, after an answer in %v: %v, %v, want %v", step.at, step.took, got, known, step.want)
		}
	}
}

// TestFixedWindowCountsOnBothSidesOfABoundaryThatTheWayMayCross writes one
// attempt 50 ms before a boundary, over a way known to take up to 100 ms.
func TestFixedWindowCountsOnBothSidesOfABoundaryThatTheWayMayCross(t *testing.T) {
	rules := []Rule{{Limit: limit.Limit{Dimension: limit.Requests, N: 10, Window: time.Second, Kind: limit.Fixed}}}
	start := time.Unix(1_700_000_000, 0)
	at := func(d time.Duration) time.Time { return start.Add(d) }
	b := New(rules, Options{}, start).Book("", start)
	send := func(written, answered time.Duration) {
		id := b.Grant(at(written), &Ask{})
		b.Written(at(written), id)
		b.Answered(at(answered), id)
		b.End(at(answered), id)
	}
	used := func(d time.Duration) int64 { return b.Status(at(d))[0].Used }

	send(100*time.Millisecond, 200*time.Millisecond)
	id := b.Grant(at(950*time.Millisecond), &Ask{})
	b.Written(at(950*time.Millisecond), id)
	if got := used(1010 * time.Millisecond); got != 1 {
		t.Errorf("just after the boundary %d are used, want the one on its way", got)
	}
	b.Answered(at(1020*time.Millisecond), id)
	b.End(at(1020*time.Millisecond), id)
	if got := used(1030 * time.Millisecond); got != 1 {
		t.Errorf("answered after the boundary: %d are used in the new window, want 1", got)
	}
	send(1100*time.Millisecond, 1200*time.Millisecond)
	if got := used(1300 * time.Millisecond); got != 2 {
		t.Errorf("%d are used in the window, want 2", got)
	}
	if got := used(2010 * time.Millisecond); got != 0 {
		t.Errorf("%d are used in the window after, want 0", got)
	}
}
