package ledger

import (
	"slices"
	"time"

	"github.com/headgate/headgate/internal/limit"
)

// pause holds attempts back because the upstream said so, or an operator. Only
// resume ends it early. When it ends, attempts ramp up: one at first, then one more for
// each answer that is not throttled, which doubles them every round trip.
type pause struct {
	until      time.Time
	strikes    int    // pauses in a row
	eased      bool   // see Eased
	round      uint64 // counts strikes: attempts of an earlier one were answered by this pause
	unanswered int64  // attempts of this round
	allowed    int64  // of them, while ramping up; 0: any number
	enough     int64  // allowed at which the ramp ends
}

func (p *pause) ready(now time.Time, times int64) (time.Time, bool) {
	switch {
	case now.Before(p.until):
		return p.until, false
	case p.allowed > 0 && p.unanswered+times > p.allowed:
		return time.Time{}, false
	}
	return time.Time{}, true
}

// idle reports whether the pause is over and its ramp too. Strikes and a ramp
// that nobody goes on with are forgotten after an hour.
func (p *pause) idle(now time.Time) bool {
	if p.strikes > 0 || p.allowed > 0 {
		return !now.Before(p.until.Add(remembered))
	}
	return !now.Before(p.until)
}

// accepted says that an attempt of this round was answered well.
func (p *pause) accepted() {
	p.strikes = 0
	if p.allowed > 0 {
		if p.allowed++; p.allowed >= p.enough {
			p.allowed, p.enough = 0, 0
		}
	}
}

// Strikes returns how many pauses there have been without an answer that was
// not throttled in between.
func (p *pause) Strikes() int { return p.strikes }

// Eased reports whether the last refusal was answered by sending less from now
// on: nothing need stop for it.
func (p *pause) Eased() bool { return p.eased }

// Pause holds back until a moment; an earlier one than that in force changes
// nothing.
func (p *pause) Pause(until time.Time) { p.until = later(p.until, until) }

// PausedUntil returns the end of the pause in force; zero if there is none.
func (p *pause) PausedUntil(now time.Time) time.Time {
	if now.Before(p.until) {
		return p.until
	}
	return time.Time{}
}

// Ample reports whether permits may be taken ahead of need. They may not after a
// refusal, until there was a good answer and attempts have ramped up; nor of a
// limit that was learned, of which a pace alone says how many.
func (b *Book) Ample() bool {
	return b.strikes == 0 && b.allowed == 0 && !b.learned()
}

// learned reports whether a number in force is one that was learned.
func (b *Book) learned() bool { return slices.ContainsFunc(b.tallies, (*tally).learned) }

// Throttled says that the upstream refused an attempt, and pauses the book for
// at least d. Attempts that were granted before the last pause began tell
// nothing new: they can only extend it. It returns the end of the pause.
func (b *Book) Throttled(now time.Time, id ID, d time.Duration) (until time.Time) {
	p := &b.pause
	p.until = later(p.until, now.Add(d))
	permit := b.permits.get(id)
	if permit == nil || permit.round != p.round {
		return p.until
	}
	lowered := b.lower(now, permit, d)
	p.eased = lowered && p.strikes < easedFor
	b.strike(p)
	return p.until
}

// lower tells the limits of a permit that it was refused, for d as the answer
// asked (0 if it did not), and reports whether sending less may be answer enough.
func (b *Book) lower(now time.Time, permit *permit, d time.Duration) bool {
	lowered, starting := false, false
	for i := range permit.holds {
		h := &permit.holds[i]
		starting = starting || h.tally.learn.slow
		lowered = h.tally.throttled(now, h.paced == 0, d) || lowered
	}
	return lowered && !starting
}

// easedFor is for how many refusals in a row sending less is answer enough.
const easedFor = 3

// Backoff returns the most that a pause need last that the upstream did not ask
// for. After some refusals in a row all that was sent has left a short window;
// where nobody knows the window, the next look is taken after as long again as
// it has been refusing.
func (b *Book) Backoff(now time.Time) time.Duration { return b.backoff(now, b.pause.strikes) }

func (b *Book) backoff(now time.Time, strikes int) time.Duration {
	longest := time.Duration(0)
	for _, t := range b.tallies {
		switch {
		case t.rule.Limit.Kind == limit.Concurrent:
		case t.learn.unknown:
			longest = max(longest, t.learn.shutFor(now), firstLook)
		default:
			longest = max(longest, backoff(t.rule.Limit.Window, strikes))
		}
	}
	if longest == 0 {
		return farthest
	}
	return longest
}

// backoff returns the most that a pause of a window's limit need last: up to a
// window, in which all that was sent has left, and longer if that did not help.
func backoff(window time.Duration, strikes int) time.Duration {
	d := window / 8 << min(strikes, 10)
	if strikes <= 5 {
		return min(d, window)
	}
	return d
}

// firstLook is after how long it is seen whether an upstream of which nobody
// knows the window still refuses.
const firstLook = 250 * time.Millisecond

// strike begins a round of a pause: attempts ramp up once it is over. Where they
// are kept apart the ramp is short.
func (b *Book) strike(p *pause) {
	p.round++
	p.unanswered = 0
	p.strikes++
	if p.eased {
		return
	}
	p.allowed = 1
	p.enough = max(p.enough, 2*b.permits.unanswered, rampEnough)
	if b.learned() {
		p.enough = rampPaced
	}
}

// How many attempts in flight end a ramp, if there were not more before the
// pause; and where they are kept apart.
const (
	rampEnough = 32
	rampPaced  = 4
)

// Hear says that another instance was told to pause until a moment. It reports
// whether that is news.
func (b *Book) Hear(now, until time.Time) bool {
	p := &b.pause
	if until.Before(p.until.Add(time.Millisecond)) || !until.After(now) {
		return false
	}
	if !now.Before(p.until) {
		p.eased = false
		b.strike(p)
		for _, t := range b.tallies {
			t.throttled(now, true, until.Sub(now))
		}
	}
	p.until = until
	return true
}

// resume ends the pause, if it is in force.
func (p *pause) resume(now time.Time) {
	if now.Before(p.until) {
		p.until = now
	}
}

// Accepted says that an attempt was answered, and not with a refusal.
func (b *Book) Accepted(now time.Time, id ID) {
	p := &b.pause
	permit := b.permits.get(id)
	if permit == nil {
		return
	}
	for i := range permit.holds {
		h := &permit.holds[i]
		h.tally.learn.accept(now, h.weight, permit.round == p.round && p.allowed == 0)
	}
	b.acceptedIn(now, permit)
	if permit.round != p.round {
		return
	}
	for i := range permit.holds {
		permit.holds[i].tally.reopen(now)
	}
	p.accepted()
}

// Resume ends the pauses in force, narrow ones too. Their ramps stay.
func (b *Book) Resume(now time.Time) {
	b.pause.resume(now)
	for _, n := range b.narrow {
		n.resume(now)
	}
}
