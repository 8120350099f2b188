package ledger

import (
	"testing"
	"time"
)

func TestPauseIsOnlyExtended(t *testing.T) {
	b := newBook(t, Options{}, "10/1s")
	b.Pause(t0.Add(3 * time.Second))
	b.Pause(t0.Add(time.Second))
	wantWait(t, b, t0, Ask{}, 3*time.Second, "")
	id := b.Grant(t0, &Ask{})
	if got := b.Throttled(t0, id, time.Second).Sub(t0); got != 3*time.Second {
		t.Errorf("a shorter pause ends after %v, want 3s", got)
	}
	if got := b.Throttled(t0, id, 5*time.Second).Sub(t0); got != 5*time.Second {
		t.Errorf("a longer pause ends after %v, want 5s", got)
	}
	end := t0.Add(5 * time.Second)
	if got := b.PausedUntil(end.Add(-1)); !got.Equal(end) {
		t.Errorf("paused until %v, want %v", got, end)
	}
	if got := b.PausedUntil(end); !got.IsZero() {
		t.Errorf("paused until %v when it is over, want zero", got)
	}
	b.End(end, id)
	mustGrant(t, b, end, Ask{}, 1)
}

func TestAttemptsGrantedBeforeAPauseDoNotStrikeTwice(t *testing.T) {
	b := newBook(t, Options{}, "10/1s")
	ids := mustGrant(t, b, t0, Ask{}, 10)
	for i, id := range ids {
		now := t0.Add(time.Duration(i+1) * ms)
		b.Answered(now, id)
		b.Throttled(now, id, time.Second)
		b.End(now, id)
		b.Throttled(now, id, time.Hour) // it has ended: an extension, no strike
		b.pause.until = now.Add(time.Second)
	}
	if b.Strikes() != 1 || b.tallies[0].spread.d != 60*ms {
		t.Errorf("%d strikes, spread %v, want 1 and 60ms", b.Strikes(), b.tallies[0].spread.d)
	}
	now := t0.Add(2 * time.Second)
	old := ids[0]
	b.Accepted(now, old)
	if b.Strikes() != 1 {
		t.Error("an attempt from before the pause ended it")
	}
	id := mustGrant(t, b, now, Ask{}, 1)[0]
	b.Answered(now, id)
	b.Throttled(now, id, time.Second)
	b.End(now, id)
	if b.Strikes() != 2 {
		t.Errorf("%d strikes after a second pause, want 2", b.Strikes())
	}
	now = now.Add(time.Second)
	id = mustGrant(t, b, now, Ask{}, 1)[0]
	b.Answered(now, id)
	b.Accepted(now, id)
	if b.Strikes() != 0 {
		t.Errorf("%d strikes after an answer, want 0", b.Strikes())
	}
}

// ramped returns a book right after a pause, at the moment it ended.
func ramped(t *testing.T) (*Book, time.Time) {
	b := newBook(t, Options{}, "1000/1s")
	id := mustGrant(t, b, t0, Ask{}, 1)[0]
	b.Answered(t0, id)
	b.Throttled(t0, id, time.Minute)
	b.End(t0, id)
	return b, t0.Add(time.Minute)
}

// roundTrip sends as many as may be in flight, spaced or not, and answers them.
func roundTrip(b *Book, now time.Time, answered bool) int {
	var ids []ID
	for len(ids) < 100 {
		b.tallies[0].pace = pace{}
		if _, ok := b.Ready(now, &Ask{}); !ok {
			break
		}
		ids = append(ids, b.Grant(now, &Ask{}))
	}
	for _, id := range ids {
		if answered {
			b.Answered(now, id)
			b.Accepted(now, id)
		}
		b.End(now, id)
	}
	return len(ids)
}

func TestRampDoublesEachRoundTripAndEnds(t *testing.T) {
	b, now := ramped(t)
	for i, want := range []int{1, 2, 4, 8, 16, 100} {
		if got := roundTrip(b, now, true); got != want {
			t.Errorf("round trip %d: %d in flight, want %d", i+1, got, want)
		}
	}
}

func TestRampStaysWhileAttemptsEndUnanswered(t *testing.T) {
	b, now := ramped(t)
	for range 50 {
		if got := roundTrip(b, now, false); got != 1 {
			t.Fatalf("%d in flight, want 1 at a time", got)
		}
		id := mustGrant(t, b, now, Ask{}, 1)[0]
		b.Written(now, id)
		wantUnknown(t, b, now, Ask{}, "")
		b.End(now, id)
	}
	roundTrip(b, now, true)
	if got := roundTrip(b, now, true); got < 2 {
		t.Errorf("%d in flight after an answer, want the ramp to go on", got)
	}
}

func TestRampBeginsAnewWhenThrottled(t *testing.T) {
	b, now := ramped(t)
	roundTrip(b, now, true)
	roundTrip(b, now, true)
	id := mustGrant(t, b, now, Ask{}, 1)[0]
	b.Answered(now, id)
	b.Throttled(now, id, time.Second)
	b.End(now, id)
	if got := roundTrip(b, now.Add(time.Second), true); got != 1 {
		t.Errorf("%d in flight after the second pause, want 1", got)
	}
}

func TestRampIsAsLongAsTrafficWasWide(t *testing.T) {
	b := newBook(t, Options{}, "1000/1s")
	ids := mustGrant(t, b, t0, Ask{}, 41)
	b.Answered(t0, ids[0])
	b.Throttled(t0, ids[0], time.Minute)
	for _, id := range ids {
		b.End(t0, id)
	}
	if b.pause.enough != 80 {
		t.Errorf("the ramp ends at %d in flight, want twice the 40 that were unanswered", b.pause.enough)
	}
}

func TestRampIsNotHeldUpByAttemptsOfBeforeThePause(t *testing.T) {
	b := newBook(t, Options{}, "1000/1s")
	old := mustGrant(t, b, t0, Ask{}, 20) // slow, or held for long
	id := mustGrant(t, b, t0, Ask{}, 1)[0]
	b.Answered(t0, id)
	b.Throttled(t0, id, time.Minute)
	b.End(t0, id)
	now := t0.Add(time.Minute)
	for i, want := range []int{1, 2, 4, 8} {
		b.End(now, old[i]) // makes no room
		if got := roundTrip(b, now, true); got != want {
			t.Errorf("round trip %d: %d in flight besides the old ones, want %d", i+1, got, want)
		}
	}
}

func TestRampCountsAttemptsNotPermits(t *testing.T) {
	b, now := ramped(t)
	for range 3 {
		roundTrip(b, now, true)
	}
	b.tallies[0].pace = pace{}
	wantUnknown(t, b, now, Ask{Times: 9}, "") // 8 are allowed
	id := mustGrant(t, b, now, Ask{Times: 7}, 1)[0]
	more := func(want int) {
		t.Helper()
		var ids []ID
		for len(ids) < 100 {
			b.tallies[0].pace = pace{}
			if _, ok := b.Ready(now, &Ask{}); !ok {
				break
			}
			ids = append(ids, b.Grant(now, &Ask{}))
		}
		if len(ids) != want {
			t.Errorf("%d more may start, want %d", len(ids), want)
		}
		for _, id := range ids {
			b.End(now, id)
		}
	}
	more(1)
	b.Part(now, id, 2, true)
	more(3)
	b.Part(now, id, 1, false)
	more(4)
	b.Answered(now, id)
	more(8)
	b.Part(now, id, 4, true)
	b.End(now, id)
	more(8)
	if b.permits.unanswered != 0 || b.pause.unanswered != 0 || b.InFlight() != 0 {
		t.Errorf("%d and %d unanswered, %d in flight, want none", b.permits.unanswered, b.pause.unanswered, b.InFlight())
	}
}

func TestNothingIsAmpleUntilTheRampHasEnded(t *testing.T) {
	b := newBook(t, Options{}, "1000/1s")
	if !b.Ample() {
		t.Error("not ample before a pause")
	}
	b, now := ramped(t)
	for i, want := range []bool{false, false, false, false, false, true} {
		if got := b.Ample(); got != want {
			t.Errorf("after %d round trips: ample %v, want %v", i, got, want)
		}
		roundTrip(b, now, true)
	}
	if New(nil, Options{Learn: true}, t0).Book("key", t0).Ample() {
		t.Error("a guess is ample")
	}
}

func TestHeardPauseIsOnlyExtended(t *testing.T) {
	b := newBook(t, Options{}, "10/1s")
	for _, test := range []struct {
		now, until time.Duration
		news       bool
		paused     time.Duration // until then, after it was heard
		strikes    int           // in all
	}{
		{0, 0, false, 0, 0}, // it is over
		{time.Second, time.Second - 1, false, 0, 0},
		{time.Second, 3 * time.Second, true, 3 * time.Second, 1},
		{time.Second, 3 * time.Second, false, 3 * time.Second, 1}, // again
		{time.Second, 2 * time.Second, false, 3 * time.Second, 1},
		{time.Second, 3*time.Second + ms - 1, false, 3 * time.Second, 1}, // no more than clocks and networks are off
		{2 * time.Second, 5 * time.Second, true, 5 * time.Second, 1},     // an extension is no strike
		{5 * time.Second, 6 * time.Second, true, 6 * time.Second, 2},
	} {
		now := t0.Add(test.now)
		news := b.Hear(now, t0.Add(test.until))
		var paused time.Duration
		if until := b.PausedUntil(now); !until.IsZero() {
			paused = until.Sub(t0)
		}
		if news != test.news || paused != test.paused || b.Strikes() != test.strikes {
			t.Errorf("%+v: news %v, paused until %v, %d strikes", test, news, paused, b.Strikes())
		}
	}
}

func TestHeardPauseHoldsBackAndRampsUp(t *testing.T) {
	b := newBook(t, Options{}, "1000/1s", "concurrent:500")
	old := mustGrant(t, b, t0, Ask{}, 1)[0]
	end := t0.Add(time.Minute)
	b.Hear(t0, end)
	wantWait(t, b, t0, Ask{}, time.Minute, "")
	if got := b.Status(t0); got[0].Spread != 30*ms || got[1].Spread != 5*ms {
		t.Errorf("spreads of %v and %v, want 30ms and 5ms: next to nothing is used here", got[0].Spread, got[1].Spread)
	}
	b.Answered(t0, old)
	b.Throttled(t0, old, time.Second) // granted before: it tells nothing new
	b.Accepted(t0, old)
	b.End(t0, old)
	if b.Strikes() != 1 || !b.PausedUntil(t0).Equal(end) || b.Status(t0)[0].Spread != 30*ms {
		t.Errorf("%d strikes, paused until %v, spread %v, want one pause of a minute", b.Strikes(), b.PausedUntil(t0), b.Status(t0)[0].Spread)
	}
	for i, want := range []int{1, 2, 4, 8} {
		if got := roundTrip(b, end, true); got != want {
			t.Errorf("round trip %d after it: %d in flight, want %d", i+1, got, want)
		}
	}
	if b.Strikes() != 0 {
		t.Errorf("%d strikes after answers, want 0", b.Strikes())
	}
}

// Who was told to pause itself hears of its own pause, and of a longer one.
func TestOwnPauseHeardAgainIsNoStrike(t *testing.T) {
	b := newBook(t, Options{}, "10/1s")
	id := mustGrant(t, b, t0, Ask{}, 1)[0]
	b.Answered(t0, id)
	until := b.Throttled(t0, id, time.Second)
	if b.Hear(t0, until) || b.Strikes() != 1 {
		t.Errorf("%d strikes, want the own pause to be no news", b.Strikes())
	}
	if !b.Hear(t0, until.Add(time.Second)) || b.Strikes() != 1 || b.tallies[0].spread.d != 30*ms {
		t.Errorf("%d strikes, spread %v, want a longer pause to be news, and no strike", b.Strikes(), b.tallies[0].spread.d)
	}
}
