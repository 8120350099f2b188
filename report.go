package headgate

import (
	"time"

	"github.com/headgate/headgate/internal/breaker"
	"github.com/headgate/headgate/internal/ledger"
	"github.com/headgate/headgate/internal/limit"
)

// verdict is what an answer means to the desk.
type verdict struct {
	outcome breaker.Outcome
	told    bool                            // the answer itself asked for the pause
	pause   func(strikes int) time.Duration // of a throttled answer, the strikes-th in a row
	extent  ledger.Extent                   // of a throttled answer: what it is about
	limits  []ledger.Fact                   // that the answer tells of
}

// news is what others may want to hear of a report.
type news struct {
	paused  time.Time     // end of the pause, if the report began or extended one
	extent  ledger.Extent // of it
	aside   bool          // others of the credential fare well: the breaker does not hear of it
	changed bool          // the breaker changed its state, to:
	state   breaker.State
	until   time.Time // of an open one
	learned []ledger.Status
}

// written says that the attempt was handed to its connection.
func (d *desk) written(s *seat, g grant) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	s.book.Written(now, g.id)
	d.serveSeatLocked(now, s)
}

// answered says that the attempt was answered, and how.
func (d *desk) answered(s *seat, g grant, v verdict) news {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	n := d.answeredLocked(now, s, g, v)
	d.serveSeatLocked(now, s)
	return n
}

// finish is answered and end in one step. It does nothing for a permit that has
// ended.
func (d *desk) finish(s *seat, g grant, v verdict) news {
	d.mu.Lock()
	defer d.mu.Unlock()
	if s.book.Ended(g.id) {
		return news{}
	}
	now := time.Now()
	n := d.answeredLocked(now, s, g, v)
	d.endLocked(now, s, g)
	d.serveSeatLocked(now, s)
	return n
}

func (d *desk) answeredLocked(now time.Time, s *seat, g grant, v verdict) (n news) {
	s.book.Answered(now, g.id)
	if len(v.limits) > 0 && s.book.Tell(now, v.limits) {
		if _, counts := s.book.Room(limit.Tokens); counts {
			d.tokens.Store(true)
		}
		if s.account != nil {
			s.account.configureLocked(now)
		}
	}
	if d.mu.ledger.Learns() && (len(v.limits) > 0 || v.outcome == breaker.Throttled) {
		defer func() { n.learned = s.book.News(now) }()
	}
	switch v.outcome {
	case breaker.Throttled:
		if narrow := d.narrowLocked(now, s, v.extent); narrow == nil {
			n.paused = pauseFor(now, s.book, g, v)
		} else {
			n.paused, n.extent = pauseFor(now, narrow, g, v), v.extent
			n.aside = narrow.Others()
		}
	case breaker.Success:
		s.book.Accepted(now, g.id)
		if d.narrow.Load() && !s.book.Narrows() {
			d.narrow.Store(d.narrowsLocked())
		}
	}
	d.reportLocked(now, s, g, v.outcome, &n)
	return n
}

// narrowLocked returns the pause of a part of what a seat holds, nil for all of
// it. Instances that share a quota pause as one: the store knows no parts.
func (d *desk) narrowLocked(now time.Time, s *seat, e ledger.Extent) *ledger.Narrow {
	if s.account != nil {
		return nil
	}
	narrow := s.book.Narrow(now, e)
	if narrow != nil {
		d.narrow.Store(true)
	}
	return narrow
}

// narrowsLocked says whether any seat has a narrow pause.
func (d *desk) narrowsLocked() bool {
	for _, s := range d.mu.seats {
		if s.book.Narrows() {
			return true
		}
	}
	return false
}

// pausable is what a throttled answer pauses: a book, or a part of it.
type pausable interface {
	PausedUntil(now time.Time) time.Time
	Strikes() int
	Throttled(now time.Time, id ledger.ID, d time.Duration) time.Time
	Eased() bool
	Backoff(now time.Time) time.Duration
	Pause(until time.Time)
}

// pauseFor holds back after a throttled answer. It returns the pause's end, zero
// if it stays as it was. Attempts that were let through before a pause tell
// nothing new by being throttled too: only what their answers ask for can extend
// it.
func pauseFor(now time.Time, p pausable, g grant, v verdict) time.Time {
	before, strikes := p.PausedUntil(now), p.Strikes()
	if v.told {
		p.Throttled(now, g.id, v.pause(strikes+1))
	} else if p.Throttled(now, g.id, 0); p.Strikes() > strikes && !p.Eased() {
		p.Pause(now.Add(min(v.pause(strikes+1), p.Backoff(now))))
	}
	if until := p.PausedUntil(now); until.After(before) {
		return until
	}
	return time.Time{}
}

// failed says that the attempt ended without an answer. sent is false if
// nothing of it can have reached the upstream; its permit then goes back.
// cancelled says that it was not the upstream's fault.
func (d *desk) failed(s *seat, g grant, sent, cancelled bool) (n news) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if s.book.Ended(g.id) {
		return n
	}
	now := time.Now()
	if sent {
		s.book.Written(now, g.id)
	}
	if !cancelled {
		d.reportLocked(now, s, g, breaker.Failed, &n)
	}
	d.endLocked(now, s, g)
	d.serveSeatLocked(now, s)
	return n
}

// reportLocked tells the breaker, and those who wait for the seat what a pause
// or an open breaker means to them.
func (d *desk) reportLocked(now time.Time, s *seat, g grant, o breaker.Outcome, n *news) {
	if o != breaker.Success {
		d.closeStockLocked(now) // what was laid in knows nothing of this
	}
	if !n.aside {
		n.changed = s.breaker.Report(now, g.ticket, o)
	}
	if s.account != nil {
		s.fleetwide.outcome(o, n.changed)
		if !n.paused.IsZero() {
			s.account.told = n.paused
		}
		if n.changed || !n.paused.IsZero() || o == breaker.Throttled && s.book.Eased() {
			s.account.syncLocked(now, now) // everybody must hear of it
		}
	}
	n.state, n.until = s.breaker.State(now), s.breaker.Until(now)
	if !n.paused.IsZero() || n.changed && !n.until.IsZero() {
		d.disperseLocked(now, s)
	}
}

// disperseLocked looks at those who wait for a seat that has just been paused
// or whose breaker has opened: other credentials may be free, other upstreams
// may be open, and who cannot be let through in time is told so.
func (d *desk) disperseLocked(now time.Time, s *seat) {
	if s.waiting == 0 {
		return
	}
	for e := range d.mu.line.All() {
		w := e.Value.(*waiter)
		if w.seat != s {
			continue
		}
		if len(w.keys) > 1 || s.book.Apart(&w.ask) != 0 {
			d.moveLocked(now, w)
		}
		paused, open := w.seat.book.HeldUntil(now, &w.ask), w.seat.breaker.Until(now)
		late := func(t time.Time) bool { return !w.deadline.IsZero() && t.After(w.deadline) }
		switch {
		case !open.IsZero() && (w.elsewhere || late(open)):
			d.refuseLocked(w, &RefusedError{Upstream: w.upstream.name, RetryAt: open, Err: ErrBreakerOpen})
		case late(paused):
			d.refuseLocked(w, &RefusedError{Upstream: w.upstream.name, RetryAt: paused, Err: ErrDeadline})
		}
	}
	d.serveLocked(now)
}

// end gives back what the attempt still holds, and returns when. A second end
// does nothing.
func (d *desk) end(s *seat, g grant) time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	d.endLocked(now, s, g)
	d.serveSeatLocked(now, s)
	return now
}

func (d *desk) endLocked(now time.Time, s *seat, g grant) {
	s.book.End(now, g.id)
	if s.account != nil {
		s.account.endedLocked(now)
	}
	s.breaker.Cancel(now, g.ticket) // does nothing if an outcome was reported
}

// settle corrects what the attempt weighs.
func (d *desk) settle(s *seat, g grant, actual Cost) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	s.book.Settle(now, g.id, actual)
	if s.account != nil {
		s.account.endedLocked(now)
	}
	d.serveSeatLocked(now, s)
}
