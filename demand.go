package headgate

import (
	"time"

	"github.com/headgate/headgate/internal/lease"
	"github.com/headgate/headgate/internal/ledger"
	"github.com/headgate/headgate/internal/line"
)

// demandMost is how many calls in line are looked at to say what is wanted.
const demandMost = 1000

// demandsLocked returns what is used of each limit, and what calls in line want.
func (a *account) demandsLocked(now time.Time) []lease.Demand {
	demands := make([]lease.Demand, len(a.parts))
	for i := range demands {
		demands[i].Used = a.parts.Used(now, i)
		a.parts.Uses(now, i, &demands[i].Want)
	}
	var first *waiter
	left, looked, class := a.waitingLocked(), 0, lease.Classes
	for e := range a.desk.mu.line.All() {
		if looked++; left == 0 || looked > demandMost {
			break
		}
		w := e.Value.(*waiter)
		if a.book != nil && w.seat.book != a.book {
			continue
		}
		left--
		c := classOf(now, w)
		if first == nil || c < class || c == class && e.Arrived.Before(first.entry.Arrived) {
			first, class = w, c
		}
		for i := range demands {
			demands[i].Want[c] += a.parts.Weight(i, &w.ask)
		}
	}
	a.class = class
	for i := range demands {
		d := &demands[i]
		if first != nil {
			// Whoever waits could use more than what waits at this moment: as
			// much again as it does.
			d.Need = a.parts.Weight(i, &first.ask)
			d.Want[class] += d.Used
			if a.parts.Rule(i).Source == ledger.Guessed {
				d.Want[class] = a.parts.Capacity(i) // a rate: what was used says nothing of it
			}
		}
		if d.Used > 0 || first != nil {
			a.busy = now
		}
		most := a.parts.Capacity(i)
		for c := range d.Want {
			d.Want[c] = min(d.Want[c], most)
		}
	}
	return demands
}

// waitingLocked returns how many calls wait for the account.
func (a *account) waitingLocked() int {
	if a.book == nil {
		return a.desk.mu.line.Len()
	}
	n := 0
	for _, s := range a.seats {
		n += s.waiting
	}
	return n
}

// classOf returns the class of a call that waits: it grows more urgent.
func classOf(now time.Time, w *waiter) int {
	return max(min(max(w.entry.Priority, 0), lease.Classes-1)-int(now.Sub(w.entry.Arrived)/line.AgeStep), 0)
}

// wantLocked has the account sync because a call waits for what this instance
// does not hold, unless the store knows that it wants more than it can have.
func (a *account) wantLocked(now time.Time, w *waiter) {
	wants := a.holder.Standing(now) != lease.Leased || classOf(now, w) < a.class
	for i := range a.parts {
		if a.holder.Satisfied(i) && a.parts.Weight(i, &w.ask) > 0 {
			wants = wants || a.parts.Short(now, i, a.parts.Weight(i, &w.ask))
		}
	}
	if !wants {
		return
	}
	passed := now.Sub(a.asked)
	a.credit = min(a.credit+passed.Seconds()*syncsPerSec, syncBurst)
	at := now
	if passed < syncGap {
		at = a.asked.Add(syncGap)
	}
	if a.credit < 1 {
		if t := now.Add(time.Duration((1 - a.credit) / syncsPerSec * float64(time.Second))); t.After(at) {
			at = t
		}
	}
	if a.due.IsZero() || at.Before(a.due) {
		a.credit = max(a.credit-1, 0)
	}
	a.syncLocked(now, at)
}
