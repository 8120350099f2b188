package headgate

import (
	"time"

	"github.com/headgate/headgate/internal/breaker"
	"github.com/headgate/headgate/internal/ledger"
	"github.com/headgate/headgate/internal/line"
)

// serveLocked lets through whoever may go, most deserving first, and sets the
// alarm for the next one.
func (d *desk) serveLocked(now time.Time) {
	var next time.Time
	for again := d.mu.line.Len() > 0; again; {
		again, next = d.offerLocked(now)
	}
	if d.mu.line.Len() > 0 {
		d.alarmLocked(now, next)
	}
}

// serveSeatLocked is serveLocked, unless nobody who waits can want what one
// seat gave back.
func (d *desk) serveSeatLocked(now time.Time, s *seat) {
	if s.waiting > 0 || s.choice || d.mu.joined {
		d.serveLocked(now)
	}
}

// offerLocked offers a permit to the first call of each lane. It returns true
// if somebody took one, so that those behind must be asked; else the earliest
// moment at which another may be had, zero if none is known.
func (d *desk) offerLocked(now time.Time) (again bool, next time.Time) {
	d.mu.held.reset()
	d.mu.line.Heads(now, func(e *line.Entry) bool {
		w := e.Value.(*waiter)
		if d.mu.held.back(w) {
			return true
		}
		w = d.proberLocked(now, w)
		waitedFor := w.seat
		g, wait, ok := d.takeAnyLocked(now, w)
		if !ok {
			d.holdBackLocked(w, wait)
			if !wait.At.IsZero() && (next.IsZero() || wait.At.Before(next)) {
				next = wait.At
			}
			return true
		}
		w.grant = g
		d.mu.line.Take(now, &w.entry)
		waitedFor.left()
		again = true
		// The next of its lane may be more deserving than all others who need
		// the same limits.
		d.mu.held.served(w)
		w.ready <- struct{}{} // has room for it; from here on w is its caller's
		return !d.mu.joined
	})
	return again, next
}

// proberLocked returns who goes instead of w, the next of its lane. While an
// upstream goes on throttling, single attempts find out whether it still does.
// Were that always the first in line, one call would use up all its attempts;
// so its last one is left to when others have found the upstream well.
func (d *desk) proberLocked(now time.Time, w *waiter) *waiter {
	if !w.final || w.seat.book.StrikesOf(&w.ask) == 0 || w.seat.waiting == 1 {
		return w
	}
	if _, ready := w.seat.book.Ready(now, &w.ask); !ready {
		return w // who it is does not matter yet, and to look costs time
	}
	other := w
	for e := range d.mu.line.All() {
		x := e.Value.(*waiter)
		if e.Lane != w.entry.Lane || x.final {
			continue
		}
		if other == w || e.Arrived.Before(other.entry.Arrived) {
			other = x
		}
	}
	return other
}

// takeAnyLocked takes a permit for w from the seat that it waits for, or else
// from another that it may use and that nobody waits for.
func (d *desk) takeAnyLocked(now time.Time, w *waiter) (grant, ledger.Wait, bool) {
	g, wait, ok := d.takeLocked(now, w)
	if ok || len(w.keys) == 1 {
		return g, wait, ok
	}
	own := w.seat
	for _, key := range w.keys {
		w.seat = d.seatLocked(now, w.upstream, key)
		if w.seat.waiting > 0 {
			continue
		}
		g, other, ok := d.takeLocked(now, w)
		if ok {
			return g, other, true
		}
		if wait.At.IsZero() || !other.At.IsZero() && other.At.Before(wait.At) {
			wait.At = other.At // to be asked again
		}
	}
	w.seat = own
	return grant{}, wait, false
}

// takeLocked takes a permit for w, or says what it has to wait for.
func (d *desk) takeLocked(now time.Time, w *waiter) (grant, ledger.Wait, bool) {
	w.ask.Pressed = w.seat.pressed
	w.ask.Modest = w.upstream.modest(w.entry.Priority, now.Sub(w.entry.Arrived))
	if a := w.seat.account; a != nil {
		w.ask.Class = classOf(now, w)
		a.desk.enforceLocked(now, a)
		if w.seat.breaker.State(now) == breaker.HalfOpen && !w.seat.mayProbe(now) {
			if !w.seat.fleetwide.asks {
				a.syncLocked(now, now)
			}
			return grant{}, ledger.Wait{}, false // whoever probes, everybody hears how it ends
		}
	}
	if wait, ok := w.seat.book.Ready(now, &w.ask); !ok {
		w.behind = wait.Limit
		return grant{}, wait, false
	}
	ticket, ok := w.seat.breaker.Admit(now)
	if !ok {
		return grant{}, ledger.Wait{At: w.seat.breaker.Until(now)}, false
	}
	return grant{w.seat.book.Grant(now, &w.ask), ticket}, ledger.Wait{}, true
}

// holdBackLocked notes what w waits for.
func (d *desk) holdBackLocked(w *waiter, wait ledger.Wait) {
	if wait.Limit == "" {
		return // a pause or a breaker: every call of the seat sees it
	}
	if d.mu.joined {
		for _, other := range d.mu.seats {
			if other.book == w.seat.book {
				continue
			}
			if wait.Shares(other.book, &w.ask) {
				d.mu.held.common = append(d.mu.held.common, wait)
				return
			}
			break // one tells for all
		}
	}
	d.mu.held.add(w, wait)
}

// held is what the calls that were asked in one round wait for: a light call
// must not starve a heavy one that is more deserving. Those of one book are a
// list, so that many credentials don't look through each other's.
type held struct {
	common []ledger.Wait // by limits that books share
	own    []heldBack
	last   map[*ledger.Book]int // index in own, plus 1; taken: somebody of it was let through
}

type heldBack struct {
	wait   ledger.Wait
	before int // as in held.last
}

const taken = -1

func (h *held) reset() {
	h.common, h.own = h.common[:0], h.own[:0]
	clear(h.last)
}

func (h *held) add(w *waiter, wait ledger.Wait) {
	h.own = append(h.own, heldBack{wait, h.last[w.seat.book]})
	h.last[w.seat.book] = len(h.own)
}

func (h *held) served(w *waiter) { h.last[w.seat.book] = taken }

// back says whether w must not be let through in this round.
func (h *held) back(w *waiter) bool {
	for _, wait := range h.common {
		if wait.Shares(w.seat.book, &w.ask) {
			return true
		}
	}
	i := h.last[w.seat.book]
	for ; i > 0; i = h.own[i-1].before {
		if h.own[i-1].wait.Shares(w.seat.book, &w.ask) {
			return true
		}
	}
	return i == taken
}

// alarmLocked has the line served at t, unless it will be sooner. Alarms that
// are early cost little; the timer is only moved when it would ring late.
func (d *desk) alarmLocked(now, t time.Time) {
	if t.IsZero() || d.mu.closed {
		return
	}
	if !d.mu.rings.IsZero() && !t.Before(d.mu.rings) {
		return
	}
	d.mu.rings = t
	if d.mu.alarm == nil {
		d.mu.alarm = time.AfterFunc(t.Sub(now), d.ring)
	} else {
		d.mu.alarm.Reset(t.Sub(now))
	}
}

func (d *desk) ring() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mu.rings = time.Time{}
	d.serveLocked(time.Now())
}
