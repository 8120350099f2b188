package ledger

import (
	"time"

	"github.com/headgate/headgate/internal/limit"
)

// tally is one rule as it stands in a book: what is counted, how late attempts
// may be counted, and how far apart they are kept.
type tally struct {
	rule    Rule
	text    string // of the limit, as configured
	pathBit uint64 // of a PerPath rule: its bit in Ask.Paths
	meter   limit.Meter
	limit   limit.Limit // the part of it that new attempts may take
	shared  bool        // others hold parts of it
	share   share
	spread  spread
	pace    pace
	uses    uses
	learn   learner
	told    told
	began   time.Time // when any of it was first used; zero: never
	news    news
}

func newTally(r Rule, shared bool, now time.Time) *tally {
	t := &tally{rule: r, text: r.Limit.String(), shared: shared, spread: newSpread(r.Limit.N, r.Limit.Window)}
	t.learn = newLearner(r.Limit.Capacity(), r.Limit.Window, r.Source == Guessed)
	if r.Source == Guessed {
		t.text = "learned"
	}
	t.meter = limit.NewMeter(r.Limit, now, t.spread.burst())
	t.meter.SetSpread(t.spread.d)
	t.pace.window = r.Limit.Window
	t.resize()
	return t
}

// adopt takes the tally that counts for r out of old, or makes a fresh one.
func adopt(old []*tally, r Rule, shared bool, now time.Time) *tally {
	for i, t := range old {
		if t != nil && t.rule.same(r) && t.shared == shared {
			old[i] = nil
			if r.Source == Told {
				return t // answers have the last word
			}
			if r.Limit != t.rule.Limit {
				t.learn.know(r.Limit.Capacity())
			}
			t.rule, t.text = r, r.Limit.String()
			t.resize()
			return t
		}
	}
	return newTally(r, shared, now)
}

func (t *tally) ready(now time.Time, w, keep int64, pressed time.Time) (time.Time, bool) {
	if t.learn.lowered() {
		t.grow(now, pressed)
	}
	if t.shared && t.metered() {
		keep += t.held() - t.target() // goes back as it falls free
	} else {
		w = min(w, t.held()) // what has been lowered may be overdrawn once
	}
	at, known := t.meter.Ready(now, w, keep)
	return later(at, t.paced(now, pressed, t.pace.next)), known
}

// grant takes w, and returns what of it the pace was charged for.
func (t *tally) grant(now time.Time, w int64, pressed time.Time) (paced int64) {
	t.meter.Take(now, w)
	if t.began.IsZero() {
		t.began = now
	}
	if t.rule.Limit.Kind == limit.Concurrent {
		return 0
	}
	if t.spaced(now, pressed) {
		t.pace.passed(now, w)
		paced = w
	}
	t.grow(now, pressed)
	most := t.limit.Capacity()
	if t.spread.quiet(now, t.meter.Used(now) >= most-most/10) {
		t.meter.SetSpread(t.spread.d)
	}
	return paced
}

// grow has what was lowered creep back up, and what nobody told us grow while
// calls wait for it.
func (t *tally) grow(now, pressed time.Time) {
	if t.learn.grow(now, pressed) {
		t.resize()
	}
}

// spaced reports whether attempts are kept apart: under lasting pressure, and
// for a while after a burst was throttled.
func (t *tally) spaced(now, pressed time.Time) bool {
	switch t.rule.Limit.Kind {
	case limit.Sliding, limit.Fixed:
		return t.learned() || t.opening(now) || now.Before(t.pace.until) || t.lasting(now, pressed)
	}
	return false
}

// opening reports whether half of a quota has gone that was never used before.
// The other half is spaced, if that takes no longer than a blink, so that the
// upstream can say first that there is not as much as was thought: somebody else
// may use it. Of a small quota no burst is large.
func (t *tally) opening(now time.Time) bool {
	w, n := t.rule.Limit.Window, t.limit.Capacity()
	return !t.shared && w <= opensIn && n >= opensFrom &&
		(t.began.IsZero() || now.Sub(t.began) < w) && t.meter.Used(now) >= n/2
}

// Bounds of openings.
const (
	opensIn   = 2 * time.Second
	opensFrom = 32
)

// lasting reports whether calls have been waiting for half a window: a burst
// into an idle quota leaves at once, and what it leaves over is spread over the
// next window.
func (t *tally) lasting(now, pressed time.Time) bool {
	return !pressed.IsZero() && now.Sub(pressed) >= t.rule.Limit.Window/2
}

// paced returns until when the pace holds back what it wants at a moment.
func (t *tally) paced(now, pressed, at time.Time) time.Time {
	if !t.spaced(now, pressed) {
		return now
	}
	if t.learned() || t.lasting(now, pressed) {
		return at
	}
	until := t.pace.until
	if t.opening(now) {
		until = later(until, t.began.Add(t.rule.Limit.Window))
	}
	if at.After(until) {
		return until
	}
	return at
}

// throttled says that the upstream refused an attempt although there was room.
// burst says that it was not kept apart from others, and price for how long it
// holds everything back. It reports whether less is sent from now on.
//
// The arrival spread can only be to blame where the quota is nearly used up, and
// a burst may have been too much for a bucket of the upstream's.
func (t *tally) throttled(now time.Time, burst bool, price time.Duration) (lowered bool) {
	if t.rule.Limit.Kind == limit.Concurrent {
		return false
	}
	t.learn.price = price
	full := !t.learns() || t.meter.Used(now) >= t.capacity()-t.capacity()/10
	if t.learns() && t.learn.strike(now, full || burst) {
		opening := t.opening(now)
		t.resize()
		t.pace.hold(now, holdFor)
		if opening {
			t.pace.holdUntil(t.began.Add(t.rule.Limit.Window)) // the half that went at once stays so long
		}
		lowered = true
	} else if full {
		t.spread.widen(now)
		t.meter.SetSpread(t.spread.d)
	}
	t.pace.until = now.Add(spacedFor * t.rule.Limit.Window)
	return lowered
}

// reopen says that something is accepted again after refusals.
func (t *tally) reopen(now time.Time) {
	if t.learn.reopen(now) {
		t.resize()
	}
}

// learns reports whether refusals lower what may be used.
func (t *tally) learns() bool {
	return t.rule.Limit.Kind == limit.Sliding || t.rule.Limit.Kind == limit.Fixed
}

// learned reports whether the number in force is one that was learned: then
// attempts are kept apart, and the pace alone holds them to it.
func (t *tally) learned() bool { return t.learns() && (t.learn.unknown || t.learn.lowered()) }

// idle reports whether a fresh tally would do as well.
func (t *tally) idle(now time.Time) bool {
	return t.meter.Used(now) == 0 && !now.Before(t.pace.until) && !now.Before(t.spread.floorUntil)
}

// holdFor is how many gaps nothing passes after a refusal that lowers what is
// sent: what is on its way already was too much, and has to leave the window.
const holdFor = 3

// spacedFor is for how many windows attempts are kept apart after a throttled
// answer: the upstream may have a bucket smaller than the window.
const spacedFor = 10
