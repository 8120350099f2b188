package ledger

import (
	"fmt"
	"testing"
	"time"
)

func TestExtentCovers(t *testing.T) {
	model, route := Extent{Model: "a"}, func(s string) Extent { return Extent{Route: s} }
	for _, c := range []struct {
		extent Extent
		ask    Ask
		want   bool
	}{
		{model, Ask{Model: "a", Path: "/x"}, true},
		{model, Ask{Model: "b"}, false},
		{model, Ask{}, false},
		{route("/x/y"), Ask{Path: "/x/y"}, true},
		{route("/x/y"), Ask{Path: "/x/y/z"}, true},
		{route("/x/y"), Ask{Path: "/x/yz"}, false},
		{route("/x/y"), Ask{Path: "/x"}, false},
		{route("/x/*/y"), Ask{Path: "/x/1/y"}, true},
		{route("/x/*/y"), Ask{Path: "/x//y"}, false},
		{route("/x/*"), Ask{Path: "/x"}, false},
		{route("/"), Ask{Path: "/x"}, false},
		{Extent{}, Ask{Model: "a", Path: "/x"}, true},
	} {
		if got := c.extent.Covers(&c.ask); got != c.want {
			t.Errorf("%+v covers %+v: %t, want %t", c.extent, c.ask, got, c.want)
		}
	}
}

func TestNarrowPauseHoldsBackWhatItCoversAlone(t *testing.T) {
	b := newBook(t, Options{}, "concurrent:10")
	one, other := Ask{Model: "a"}, Ask{Model: "b"}
	id := mustGrant(t, b, t0, one, 1)[0]
	n := b.Narrow(t0, Extent{Model: "a"})
	n.Throttled(t0, id, 3*time.Second)
	wantWait(t, b, t0, one, 3*time.Second, "")
	if f := b.Forecast(t0, &one, 0); f.At.Sub(t0) != 3*time.Second {
		t.Errorf("forecast %v, want 3s", f.At.Sub(t0))
	}
	b.End(t0, id)
	mustGrant(t, b, t0, other, 5)
	if b.Apart(&one) == 0 || b.Apart(&other) != 0 || b.StrikesOf(&one) != 1 || b.StrikesOf(&other) != 0 || !b.PausedUntil(t0).IsZero() {
		t.Error("others are taken for what is paused, or the other way round")
	}

	// The ramp: one, and after its answer the next two.
	now := t0.Add(3 * time.Second)
	probe := mustGrant(t, b, now, one, 1)[0]
	wantUnknown(t, b, now, one, "")
	b.Answered(now, probe)
	b.Accepted(now, probe)
	b.End(now, probe)
	if b.StrikesOf(&one) != 0 {
		t.Errorf("%d strikes after a good answer, want none", b.StrikesOf(&one))
	}
	mustGrant(t, b, now, one, 2)
	wantUnknown(t, b, now, one, "")
}

func TestNarrowRefusalsOfOneBurstStrikeOnce(t *testing.T) {
	b := newBook(t, Options{}, "10/1s")
	ids := mustGrant(t, b, t0, Ask{Model: "a"}, 10)
	for _, id := range ids {
		b.Narrow(t0, Extent{Model: "a"}).Throttled(t0, id, time.Second)
	}
	if n := b.Narrow(t0, Extent{Model: "a"}); n.Strikes() != 1 || b.tallies[0].spread.d != 60*ms {
		t.Errorf("%d strikes, spread %v, want 1 and 60ms", n.Strikes(), b.tallies[0].spread.d)
	}
}

func TestNarrowRefusalBlamesTheLimitsOnlyWhileNoOtherFaresWell(t *testing.T) {
	b := newBook(t, Options{}, "10/1s")
	n := b.Narrow(t0, Extent{Model: "a"})
	n.Throttled(t0, mustGrant(t, b, t0, Ask{Model: "a"}, 1)[0], ms)
	good := mustGrant(t, b, t0, Ask{Model: "b"}, 1)[0]
	b.Answered(t0, good)
	b.Accepted(t0, good)
	if !n.Others() {
		t.Error("another model was answered well, and nobody noticed")
	}
	before := b.tallies[0].spread.d
	now := t0.Add(time.Second)
	n.Throttled(now, mustGrant(t, b, now, Ask{Model: "a"}, 1)[0], ms)
	if n.Strikes() != 2 || b.tallies[0].spread.d != before {
		t.Errorf("%d strikes, spread %v, want 2 and still %v", n.Strikes(), b.tallies[0].spread.d, before)
	}
}

func TestNarrowPausesAreBoundedAndForgotten(t *testing.T) {
	b := newBook(t, Options{}, "concurrent:100")
	for i := range mostNarrow {
		e := Extent{Model: fmt.Sprint(i)}
		b.Narrow(t0, e).Throttled(t0, mustGrant(t, b, t0, Ask{Model: e.Model}, 1)[0], time.Second)
	}
	if n := b.Narrow(t0, Extent{Model: "more"}); n != nil {
		t.Errorf("pause of one more model = %+v, want none: the book holds", n)
	}
	if n := b.Narrow(t0, Extent{}); n != nil {
		t.Errorf("pause of nothing = %+v, want none", n)
	}
	if b.tidy(t0.Add(time.Second + remembered)); b.Narrows() {
		t.Errorf("%d pauses are remembered long after their end", len(b.narrow))
	}
}

// Where nothing shows that others fare better, the limits of all are learned from
// the refusals of one model as from any.
func TestNarrowRefusalsGoOnTeachingWhatNobodyTold(t *testing.T) {
	b := New(nil, Options{Learn: true}, t0).Book("key", t0)
	ask, now := Ask{Model: "a"}, t0
	answer := func(refused bool) {
		id := mustGrant(t, b, now, ask, 1)[0]
		b.Answered(now, id)
		if refused {
			b.Narrow(now, Extent{Model: "a"}).Throttled(now, id, 0)
		} else {
			b.Accepted(now, id)
		}
		b.End(now, id)
		now = now.Add(10 * time.Second)
	}
	for i := range int64(3) {
		answer(false)
		answer(true)
		if got := b.tallies[0].learn.strikes; got != i+1 {
			t.Errorf("lowered %d times after %d refusals, with good answers in between", got, i+1)
		}
		answer(false)
		if got := b.Narrow(now, Extent{Model: "a"}).Backoff(now); got != firstLook {
			t.Errorf("after refusal %d and a good answer: back off for %v, want %v", i+1, got, firstLook)
		}
	}
}

// Those of several models that were in flight together say one thing.
func TestNarrowRefusalsOfOneRoundTeachOnce(t *testing.T) {
	b := newBook(t, Options{}, "10/1s")
	var ids []ID
	for i := range 5 {
		ids = append(ids, mustGrant(t, b, t0, Ask{Model: fmt.Sprint(i)}, 1)...)
	}
	for i, id := range ids {
		b.Narrow(t0, Extent{Model: fmt.Sprint(i)}).Throttled(t0, id, 0)
	}
	if s := b.Status(t0)[0]; s.InForce != 10 {
		t.Errorf("%d of 10/1s in force, want what five refusals at once would leave if they named nothing", s.InForce)
	}
	same := newBook(t, Options{}, "10/1s")
	for _, id := range mustGrant(t, same, t0, Ask{}, 5) {
		same.Throttled(t0, id, 0)
	}
	if got := same.Status(t0)[0].InForce; got != 10 {
		t.Errorf("%d of 10/1s in force after five refusals that name nothing, want 10", got)
	}
}
