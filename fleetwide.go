package headgate

import (
	"time"

	"github.com/headgate/headgate/internal/breaker"
	"github.com/headgate/headgate/internal/lease"
)

// fleetwide is what a seat's breaker shares with those of other instances.
type fleetwide struct {
	generation int64         // of what all know
	own        breakerCounts // this instance's outcomes in it
	said       breakerCounts // of them, those in the last report
	others     breakerCounts // those of the others that were heard of
	asks       bool          // the store knows that it wants to probe
	leave      bool          // it may
}

type breakerCounts struct{ throttled, failed, succeeded count }

// count only rises: who has died takes nothing back.
type count int64

// rise brings the count to n, and returns by how much it rose.
func (c *count) rise(n count) int64 {
	by := max(n-*c, 0)
	*c += by
	return int64(by)
}

// report returns what to tell of a seat's breaker.
func (f *fleetwide) report(now time.Time, s *seat) lease.Breaker {
	f.said = f.own
	b := lease.Breaker{
		Upstream: s.upstream, Generation: f.generation,
		Throttled: int64(f.own.throttled), Failed: int64(f.own.failed), Succeeded: int64(f.own.succeeded),
		Cause: int(s.breaker.Cause()),
	}
	switch s.breaker.State(now) {
	case breaker.Open:
		b.Open, b.Left = true, s.breaker.Until(now).Sub(now)
	case breaker.HalfOpen:
		b.Open, b.Probing = true, s.waiting > 0 || s.breaker.Probing()
	}
	f.asks = b.Probing
	return b
}

// outcome counts an outcome of this instance. changed says that the breaker
// changed its state by it: then a generation begins.
func (f *fleetwide) outcome(o breaker.Outcome, changed bool) {
	switch o {
	case breaker.Throttled:
		f.own.throttled++
	case breaker.Failed:
		f.own.failed++
	default:
		f.own.succeeded++
	}
	if changed {
		f.begin(f.generation + 1)
	}
}

func (f *fleetwide) begin(generation int64) {
	*f = fleetwide{generation: generation}
}

// hearBreakerLocked takes in what all know of a seat's breaker.
func (s *seat) hearBreakerLocked(now time.Time, b lease.Breaker) (told []func()) {
	f, d := &s.fleetwide, s.account.desk
	before := s.breaker.State(now)
	switch {
	case b.Generation > f.generation:
		f.begin(b.Generation)
		s.breaker.Adopt(b.Open, now.Add(b.Left), breaker.Cause(b.Cause))
	case b.Generation < f.generation:
		return nil // what was reported since is on its way
	default:
		throttled := f.others.throttled.rise(count(b.Throttled) - f.said.throttled)
		failed := f.others.failed.rise(count(b.Failed) - f.said.failed)
		succeeded := f.others.succeeded.rise(count(b.Succeeded) - f.said.succeeded)
		if s.breaker.Hear(now, throttled, failed, succeeded) {
			f.begin(f.generation + 1)
			s.account.syncLocked(now, now)
		}
	}
	f.leave = b.Probing
	if state := s.breaker.State(now); state != before {
		d.closeStockLocked(now)
		d.disperseLocked(now, s)
		return []func(){s.tellLocked(s.account.fleet, news{changed: true, state: state, until: s.breaker.Until(now)})}
	}
	return nil
}

// tellLocked returns what tells of news that came from another instance.
func (s *seat) tellLocked(f *fleet, n news) func() {
	return func() {
		f.events.news(s.upstream, s, n, func() string { return "told by another instance" })
	}
}

// mayProbe says whether the seat's breaker, half-open, may be probed by this
// instance. Of many, one at a time does.
func (s *seat) mayProbe(now time.Time) bool {
	return s.account == nil || s.fleetwide.leave || s.account.holder.Standing(now) == lease.Lost
}
