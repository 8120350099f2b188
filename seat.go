package headgate

import (
	"math"
	"strconv"
	"time"

	"github.com/headgate/headgate/internal/breaker"
	"github.com/headgate/headgate/internal/ledger"
	"github.com/headgate/headgate/internal/limit"
)

// seat is what a desk keeps of one credential of one upstream.
type seat struct {
	upstream   string   // its name
	credential string   // its name
	account    *account // that keeps the book in step with other instances; nil: there are none
	fleetwide  fleetwide
	lane       uint64
	book       *ledger.Book
	breaker    *breaker.Breaker
	choice     bool      // calls that wait for another seat may take this one
	waiting    int       // calls in line
	pressed    time.Time // since when calls have been waiting without a break; zero: none is
}

type seatKey struct {
	upstream   string
	credential credentialKey
}

// credentialKey tells the credentials of an upstream apart. The zero key is that
// of calls that carry none.
type credentialKey struct {
	name string // of a configured one
	hash uint64 // of one that a caller brings along: this process's own, so that it says nothing about it
}

// String returns the credential's name, "" if there is none.
func (k credentialKey) String() string {
	if k.hash != 0 {
		return "caller's " + strconv.FormatUint(k.hash, 36)
	}
	return k.name
}

// seatsKept is how many seats a desk keeps before it looks for unused ones.
const seatsKept = 1024

// laneOf returns the lane of the calls that need the same limits of a seat.
func (s *seat) laneOf(paths uint64) uint64 { return s.lane*0x9e3779b97f4a7c15 ^ paths }

// joined notes that a call waits for the seat.
func (s *seat) joined(now time.Time) {
	if s.waiting == 0 {
		s.pressed = now
	}
	s.waiting++
}

// left notes that a call waits no more.
func (s *seat) left() {
	if s.waiting--; s.waiting == 0 {
		s.pressed = time.Time{}
	}
}

// unused says whether forgetting the seat would lose nothing.
func (s *seat) unused(now time.Time) bool {
	return s.waiting == 0 && s.book.Idle(now) && s.breaker.State(now) == breaker.Closed
}

// placeLocked finds the limits, the seat and the lane of a call that is not in
// line.
func (d *desk) placeLocked(now time.Time, w *waiter) {
	w.ask.Paths, w.ask.Path = d.mu.ledger.Paths(w.path), w.path
	w.seat = d.pickLocked(now, w)
	w.fitLocked()
	w.entry.Lane = w.seat.laneOf(w.ask.Paths) + w.seat.book.Apart(&w.ask)*0x9e6c63d0876a9a35
}

// fitLocked lowers a guess to what the limits that answers told can hold. What
// would never fit is for the upstream to refuse.
func (w *waiter) fitLocked() {
	if _, said := w.said[limit.Tokens]; said {
		return
	}
	guess, ok := w.ask.Cost[limit.Tokens]
	if !ok {
		return
	}
	if room, counts := w.seat.book.Room(limit.Tokens); counts && guess > room {
		w.ask.Cost[limit.Tokens] = room // weigh made it for this call
	}
}

// pickLocked returns the seat that lets a call through soonest, and among
// equals the one with the least to do.
func (d *desk) pickLocked(now time.Time, w *waiter) *seat {
	if len(w.keys) == 1 {
		d.sweepLocked(now)
		return d.seatLocked(now, w.upstream, w.keys[0])
	}
	d.sweepLocked(now) // not between the seats: none must go that was picked
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
func (d *desk) seatLocked(now time.Time, u *upstream, credential credentialKey) *seat {
	key := seatKey{u.name, credential}
	if s := d.mu.seats[key]; s != nil {
		return s
	}
	d.mu.lanes++
	name := credential.String()
	s := &seat{
		upstream:   u.name,
		credential: name,
		lane:       d.mu.lanes,
		book:       d.mu.ledger.Book(name, now),
		breaker:    breaker.New(u.breaker),
		choice:     len(u.keys) > 1,
	}
	d.mu.seats[key] = s
	if !d.mu.spaced.IsZero() {
		s.book.Space(d.mu.spaced)
	}
	d.accountLocked(now, s, credential.hash != 0)
	d.heedHandLocked(now, s)
	return s
}

// sweepLocked forgets seats that nothing hangs on: callers who pass their own
// credentials may bring any number of them.
func (d *desk) sweepLocked(now time.Time) {
	if len(d.mu.seats) < d.mu.sweepAt {
		return
	}
	used := make(map[string]bool)
	for key, s := range d.mu.seats {
		if s.unused(now) {
			delete(d.mu.seats, key)
			d.dismissLocked(s)
		} else {
			used[s.credential] = true
		}
	}
	d.mu.ledger.Keep(func(credential string) bool { return used[credential] }, now)
	// Seats in use are not looked at again for each one that comes.
	d.mu.sweepAt = max(seatsKept, 2*len(d.mu.seats))
}
