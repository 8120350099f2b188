package ledger

import (
	"time"

	"github.com/headgate/headgate/internal/limit"
)

// Book is all limits of one credential.
type Book struct {
	ledger  *Ledger
	tallies []*tally // in the order of the ledger's rules
	permits permits
	latency latency
	pause
	narrow []*Narrow // pauses of parts of it; rarely any
}

// Ask is what an attempt needs.
type Ask struct {
	Cost    Cost
	Paths   uint64    // from Ledger.Paths
	Path    string    // of the request
	Model   string    // that it asks for; "" if none is known
	Times   int64     // so many attempts like this at once, each of the cost; 0 means 1
	Modest  bool      // leaves the reserve to urgent calls
	Class   int       // of priority, 0 to 7
	Pressed time.Time // since when calls have been waiting without a break; zero: none is
}

// covers reports whether the attempt counts under t, whatever it weighs.
func (a *Ask) covers(t *tally) bool {
	return t.rule.Scope != PerPath || a.Paths&t.pathBit != 0
}

// weight returns what the attempt takes from t: 0 if t does not cover it.
func (a *Ask) weight(t *tally) int64 {
	if !a.covers(t) {
		return 0
	}
	times := max(a.Times, 1)
	if w, ok := a.Cost[t.rule.Limit.Dimension]; ok {
		return max(w, 0) * times
	}
	return times
}

// Wait says how long an attempt has to be held back, and by what.
type Wait struct {
	At    time.Time // earliest moment; zero: once an attempt in flight has been answered or has ended
	Limit string    // the limit that holds it back, as configured; "": a pause
	tally *tally
}

// Shares reports whether w holds back ask too, so that the one must not
// overtake the other.
func (w Wait) Shares(b *Book, ask *Ask) bool {
	if w.tally == nil {
		return false
	}
	for _, t := range b.tallies {
		if t == w.tally {
			return ask.weight(t) != 0
		}
	}
	return false
}

// TooHeavy returns the limit that ask can never fit into, or "".
func (b *Book) TooHeavy(ask *Ask) string {
	for _, t := range b.tallies {
		if t.rule.Source != Guessed && ask.weight(t) > t.rule.Limit.Capacity() {
			return t.text
		}
	}
	return ""
}

// Room returns the most of a dimension that an attempt can ever take; counts is
// false if no limit counts it.
func (b *Book) Room(dimension string) (most int64, counts bool) {
	for _, t := range b.tallies {
		if t.rule.Limit.Dimension == dimension && (!counts || t.rule.Limit.Capacity() < most) {
			most, counts = t.rule.Limit.Capacity(), true
		}
	}
	return most, counts
}

// Ready reports whether an attempt may start now, and if not, what it has to
// wait for. Several at once may have to wait for the end of a ramp where one
// would be ready.
func (b *Book) Ready(now time.Time, ask *Ask) (Wait, bool) {
	if at, ok := b.pause.ready(now, max(ask.Times, 1)); !ok {
		return Wait{At: at}, false
	}
	if at, ok := b.readyIn(now, ask); !ok {
		return Wait{At: at}, false
	}
	var wait Wait
	ready := true
	for _, t := range b.tallies {
		w := ask.weight(t)
		if w == 0 {
			continue
		}
		at, known := t.ready(now, w, b.ledger.keep(t, ask, w), ask.Pressed)
		switch {
		case !known:
			return Wait{Limit: t.text, tally: t}, false
		case at.After(now) && (ready || at.After(wait.At)):
			wait, ready = Wait{At: at, Limit: t.text, tally: t}, false
		}
	}
	return wait, ready
}

// keep returns what a modest attempt has to leave in t.
func (l *Ledger) keep(t *tally, ask *Ask, w int64) int64 {
	if !ask.Modest || l.opts.Reserve == 0 {
		return 0
	}
	n := t.limit.Capacity()
	return max(min(int64(l.opts.Reserve*float64(n)), n-w), 0)
}

// Forecast returns a moment before which an attempt cannot start that has
// ahead others like it in front of it, and what holds it back. It holds unless
// some of what is taken now is given back or settled for less.
func (b *Book) Forecast(now time.Time, ask *Ask, ahead int) Wait {
	wait := Wait{At: later(now, b.HeldUntil(now, ask))}
	for _, t := range b.tallies {
		w := ask.weight(t)
		if w == 0 {
			continue
		}
		at := t.forecast(now, w, ahead, ask.Pressed)
		if at.After(wait.At) {
			wait = Wait{At: at, Limit: t.text, tally: t}
		}
	}
	return wait
}

// Grant takes a permit. The caller has just been told that it is Ready.
func (b *Book) Grant(now time.Time, ask *Ask) ID {
	times := max(ask.Times, 1)
	id, p := b.permits.add(now, times)
	p.round = b.pause.round
	b.pause.unanswered += times
	if len(b.narrow) > 0 {
		b.enter(ask, p)
	}
	for _, t := range b.tallies {
		if ask.covers(t) { // with a weight of 0 too: it may be settled for more
			w := ask.weight(t)
			p.holds = append(p.holds, hold{tally: t, weight: w, paced: t.grant(now, w, ask.Pressed)})
			if t.shared {
				t.uses.add(now, t.rule.Limit.Window, ask.Class, w)
			}
		}
	}
	return id
}

// Written says that the attempt was handed to its connection. Limits that
// count per window let go of it when its arrival spread and a window have
// passed, or a window after its answer if that comes sooner.
func (b *Book) Written(now time.Time, id ID) {
	p := b.permits.get(id)
	if p == nil || p.state != granted {
		return
	}
	p.state = written
	p.written = now
	for i := range p.holds {
		h := &p.holds[i]
		span, known := b.arrival(now, p, h)
		if b.ledger.opts.Strict || !known {
			h.span = span // for an end without an answer
		} else {
			h.count(now, span)
		}
	}
}

// arrival returns when an attempt that is written now may be counted. It is
// false if that is only known once it is answered.
//
// Attempts that leave in a burst are less punctual than those that are kept
// apart: they dial, they compete for the same cores, here and there, and a whole
// burst may be late. None of that was learned from those before, so they get
// all the time there is, unless they are answered sooner.
func (b *Book) arrival(now time.Time, p *permit, h *hold) (limit.Span, bool) {
	t := h.tally
	to := now.Add(t.spread.d)
	if h.paced == 0 && t.rule.Limit.Kind != limit.Bucket {
		to = now.Add(t.spread.burst())
	}
	if t.rule.Limit.Kind != limit.Fixed {
		return limit.Span{From: p.granted, To: to}, true
	}
	way, known := b.latency.most()
	return limit.Span{From: p.granted, To: to.Add(min(way, t.rule.Limit.Window))}, known
}

// Answered says that the answer's first bytes were seen: the upstream has
// counted the attempt by now.
func (b *Book) Answered(now time.Time, id ID) {
	p := b.permits.get(id)
	if p == nil || p.state == answered {
		return
	}
	if p.state == written {
		b.latency.heard(now, now.Sub(p.written))
	}
	b.resolve(p, p.times)
	p.state = answered
	for i := range p.holds {
		p.holds[i].count(now, limit.Span{From: p.granted, To: now})
	}
}

// resolve says that k attempts of a permit have been answered, or have ended.
func (b *Book) resolve(p *permit, k int64) {
	if p.state == answered {
		return
	}
	b.permits.unanswered -= k
	if p.round == b.pause.round {
		b.pause.unanswered -= k
	}
	for _, in := range p.narrow {
		if in.round == in.narrow.round {
			in.narrow.unanswered -= k
		}
	}
}

// Settle corrects the weight of an attempt to what it really took. Dimensions
// that are not named stay as they were. What is more than there was is debt.
func (b *Book) Settle(now time.Time, id ID, actual Cost) {
	p := b.permits.get(id)
	if p == nil {
		return
	}
	for i := range p.holds {
		h := &p.holds[i]
		if w, ok := actual[h.tally.rule.Limit.Dimension]; ok && w >= 0 {
			h.settle(now, p.granted, min(w, max(h.weight, maxDebt)))
		}
	}
}

// maxDebt bounds what an answer can say that its attempt weighed: sums of it
// must not overflow, and no honest answer comes near.
const maxDebt = 1 << 48

// End gives back what the attempt still holds: everything if it was never
// written, else its place among those in flight. A second End does nothing.
func (b *Book) End(now time.Time, id ID) {
	p := b.permits.get(id)
	if p == nil {
		return
	}
	b.resolve(p, p.times)
	for i := range p.holds {
		h := &p.holds[i]
		if p.state == written && !h.counted { // under Strict: it may still be on its way
			h.count(now, limit.Span{From: p.granted, To: later(now, h.span.To)})
		}
		h.end(now, p.granted)
	}
	b.permits.remove(id)
}

// Part ends k attempts of a permit that was granted for several. Those that
// were sent have been counted by now; the others are given back, unless the
// permit was written as a whole. End is for what is left.
func (b *Book) Part(now time.Time, id ID, k int64, sent bool) {
	p := b.permits.get(id)
	if p == nil || k <= 0 || k > p.times {
		return
	}
	b.resolve(p, k)
	for i := range p.holds {
		p.holds[i].part(now, k, p.times, sent, limit.Span{From: p.granted, To: now})
	}
	p.times -= k
	b.permits.open -= k
}

// Ended reports whether a permit has ended.
func (b *Book) Ended(id ID) bool { return b.permits.get(id) == nil }

// InFlight returns how many attempts have not ended.
func (b *Book) InFlight() int { return int(b.permits.open) }

// configure puts the ledger's rules in force.
func (b *Book) configure(now time.Time) {
	old := b.tallies
	b.tallies = make([]*tally, 0, len(b.ledger.rules))
	bit := uint64(1)
	for i, r := range b.ledger.rules {
		t := b.ledger.shared[i]
		if t == nil {
			t = adopt(old, r, b.ledger.opts.Shared, now)
		}
		if r.Scope == PerPath {
			t.pathBit = bit
			bit <<= 1
		}
		b.tallies = append(b.tallies, t)
	}
	b.learns(now, old)
}

// Idle reports whether forgetting the book would lose nothing.
func (b *Book) Idle(now time.Time) bool {
	if b.permits.open > 0 || !b.pause.idle(now) {
		return false
	}
	if b.tidy(now); len(b.narrow) > 0 {
		return false
	}
	for _, t := range b.tallies {
		if t.rule.Scope != PerUpstream && !t.idle(now) {
			return false
		}
	}
	return true
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}
