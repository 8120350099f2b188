package headgate

import (
	"fmt"
	"time"

	"github.com/headgate/headgate/internal/breaker"
)

// byHandReason is the reason of what an operator did.
const byHandReason = "by hand"

// byHand is what an operator asked of an upstream. It holds for credentials that
// come later too.
type byHand struct{ pausedUntil, openUntil time.Time }

// Pause has nothing sent to an upstream for a while, with any credential, as if
// it had said so itself. A pause in force is only ever extended; Resume ends it.
// Calls whose deadlines come first are refused. Upstreams of one quota that use
// the same credentials pause together, and so do instances that share quotas.
func (g *Gate) Pause(upstream string, d time.Duration) error {
	if d <= 0 {
		return fmt.Errorf("pause of %v: want more than 0", d)
	}
	u := g.upstream(upstream)
	if u == nil {
		return fmt.Errorf("%w %q", ErrUnknownUpstream, upstream)
	}
	until := u.desk.pauseByHand(u, d)
	g.events.byHandPaused(upstream, until, byHandReason)
	return nil
}

// Resume ends the pauses of an upstream now, made or told, those of models and
// routes included. If the upstream had asked for one it may refuse what is sent;
// attempts ramp up as after any pause.
//
// Of instances that share quotas only this one resumes: the store keeps a pause
// until its end, the others hold to it, and until then this one heeds no
// shorter one of theirs.
func (g *Gate) Resume(upstream string) error {
	u := g.upstream(upstream)
	if u == nil {
		return fmt.Errorf("%w %q", ErrUnknownUpstream, upstream)
	}
	now := u.desk.resumeByHand(u)
	g.events.byHandPaused(upstream, now, "lifted "+byHandReason)
	return nil
}

// OpenBreaker opens the breakers of an upstream, of all its credentials. They
// turn half-open by themselves after breaker.open_for, and close with the first
// attempt that goes well. Instances that share quotas follow.
func (g *Gate) OpenBreaker(upstream string) error { return g.forceBreaker(upstream, breaker.Open) }

// CloseBreaker closes the breakers of an upstream, of all its credentials.
// Instances that share quotas follow.
func (g *Gate) CloseBreaker(upstream string) error { return g.forceBreaker(upstream, breaker.Closed) }

func (g *Gate) forceBreaker(upstream string, to breaker.State) error {
	u := g.upstream(upstream)
	if u == nil {
		return fmt.Errorf("%w %q", ErrUnknownUpstream, upstream)
	}
	until := u.desk.forceBreakers(u, to)
	if g.events.BreakerChanged != nil {
		g.events.BreakerChanged(BreakerChanged{Upstream: upstream, State: to, Until: until, Reason: byHandReason})
	}
	return nil
}

// pauseByHand returns until when it pauses.
func (d *desk) pauseByHand(u *upstream, span time.Duration) time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	until := now.Add(span)
	h := d.mu.byHand[u.name]
	h.pausedUntil = later(h.pausedUntil, until)
	d.mu.byHand[u.name] = h
	d.closeStockLocked(now)
	seats := d.seatsOfLocked(now, u)
	for _, s := range seats {
		s.pauseLocked(now, until)
	}
	for _, s := range seats { // once none of them is a way out
		d.disperseLocked(now, s)
	}
	return until
}

// pauseLocked pauses what a seat holds because an operator wants it.
func (s *seat) pauseLocked(now, until time.Time) {
	s.book.Pause(until)
	if s.account == nil {
		return
	}
	s.account.lifted = time.Time{}
	s.account.told = later(s.account.told, until)
	s.account.syncLocked(now, now)
}

// resumeByHand returns when.
func (d *desk) resumeByHand(u *upstream) time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	h := d.mu.byHand[u.name]
	h.pausedUntil = time.Time{}
	d.mu.byHand[u.name] = h
	for _, s := range d.seatsOfLocked(now, u) {
		if a := s.account; a != nil {
			a.lifted, a.told = later(a.lifted, s.book.PausedUntil(now)), time.Time{}
		}
		s.book.Resume(now)
	}
	d.serveLocked(now)
	return now
}

// forceBreakers returns until when they are open; zero if they are closed.
func (d *desk) forceBreakers(u *upstream, to breaker.State) (until time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	d.closeStockLocked(now)
	if to == breaker.Open {
		until = now.Add(u.breaker.OpenFor)
	}
	h := d.mu.byHand[u.name]
	h.openUntil = until
	d.mu.byHand[u.name] = h
	seats := d.seatsOfLocked(now, u)
	for _, s := range seats {
		s.breaker.Force(now, to)
		if s.account != nil {
			s.fleetwide.begin(s.fleetwide.generation + 1)
			s.account.syncLocked(now, now)
		}
	}
	for _, s := range seats { // once none of them is a way out
		d.disperseLocked(now, s)
	}
	d.serveLocked(now)
	return until
}

// seatsOfLocked returns the seats of an upstream, those that a configuration
// names although nobody has used them yet included.
func (d *desk) seatsOfLocked(now time.Time, u *upstream) []*seat {
	keys := u.keys
	if len(keys) == 0 {
		keys = nobody
	}
	for _, key := range keys {
		d.seatLocked(now, u, key)
	}
	var seats []*seat
	for key, s := range d.mu.seats {
		if key.upstream == u.name {
			seats = append(seats, s)
		}
	}
	return seats
}

// heedHandLocked has a new seat follow what an operator asked of its upstream.
func (d *desk) heedHandLocked(now time.Time, s *seat) {
	h, asked := d.mu.byHand[s.upstream]
	if !asked {
		return
	}
	if h.pausedUntil.After(now) {
		s.pauseLocked(now, h.pausedUntil)
	}
	if h.openUntil.After(now) {
		s.breaker.Adopt(true, h.openUntil, breaker.ByForce)
	}
}

// byHandPaused tells of a pause of all credentials.
func (e *Events) byHandPaused(upstream string, until time.Time, reason string) {
	if e.Paused != nil {
		e.Paused(Paused{Upstream: upstream, Until: until, Reason: reason})
	}
}
