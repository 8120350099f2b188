package headgate

import (
	"math"
	"time"

	"github.com/headgate/headgate/internal/breaker"
	"github.com/headgate/headgate/internal/ledger"
)

// seat is what a desk keeps of one credential of one upstream.
type seat struct {
	credential string // its name
	lane       uint64
	book       *ledger.Book
	breaker    *breaker.Breaker
	waiting    int
}

type seatKey struct{ upstream, credential string }

// seatsKept is how many seats a desk keeps before it looks for unused ones.
const seatsKept = 1024

// laneOf returns the lane of the calls that need the same limits of a seat.
func (s *seat) laneOf(paths uint64) uint64 { return s.lane*0x9e3779b97f4a7c15 ^ paths }

// unused says whether forgetting the seat would lose nothing.
func (s *seat) unused(now time.Time) bool {
	return s.waiting == 0 && s.book.Idle(now) && s.breaker.State(now) == breaker.Closed
}

// placeLocked finds the limits, the seat and the lane of a call that is not in
// line.
func (d *desk) placeLocked(now time.Time, w *waiter) {
	w.ask.Paths = d.mu.ledger.Paths(w.path)
	w.seat = d.pickLocked(now, w)
	w.entry.Lane = w.seat.laneOf(w.ask.Paths)
}

// pickLocked returns the seat that lets a call through soonest, and among
// equals the one with the least to do.
func (d *desk) pickLocked(now time.Time, w *waiter) *seat {
	if len(w.keys) == 1 {
		return d.seatLocked(now, w.upstream, w.keys[0])
	}
	var best *seat
	var bestAt time.Time
	bestLoad := math.MaxInt
	for _, key := range w.keys {
		s := d.seatLocked(now, w.upstream, key)
		at := s.book.Forecast(now, &w.ask, s.waiting).At
		if until := s.breaker.Until(now); until.After(at) {
			at = until
		}
		load := s.waiting + s.book.InFlight()
		if best == nil || at.Before(bestAt) || at.Equal(bestAt) && load < bestLoad {
			best, bestAt, bestLoad = s, at, load
		}
	}
	return best
}

// seatLocked returns the seat of a credential.
func (d *desk) seatLocked(now time.Time, u *upstream, credential string) *seat {
	key := seatKey{u.name, credential}
	if s := d.mu.seats[key]; s != nil {
		return s
	}
	if len(d.mu.seats) >= d.mu.sweepAt {
		d.sweepLocked(now)
	}
	d.mu.lanes++
	s := &seat{
		credential: credential,
		lane:       d.mu.lanes,
		book:       d.mu.ledger.Book(credential, now),
		breaker:    breaker.New(u.breaker),
	}
	d.mu.seats[key] = s
	return s
}

// sweepLocked forgets seats that nothing hangs on: callers who pass their own
// credentials may bring any number of them.
func (d *desk) sweepLocked(now time.Time) {
	used := make(map[string]bool)
	for key, s := range d.mu.seats {
		if s.unused(now) {
			delete(d.mu.seats, key)
		} else {
			used[key.credential] = true
		}
	}
	d.mu.ledger.Keep(func(credential string) bool { return used[credential] }, now)
	// Seats in use are not looked at again for each one that comes.
	d.mu.sweepAt = max(seatsKept, 2*len(d.mu.seats))
}
