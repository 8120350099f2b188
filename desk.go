package headgate

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/headgate/headgate/internal/breaker"
	"github.com/headgate/headgate/internal/lease"
	"github.com/headgate/headgate/internal/ledger"
	"github.com/headgate/headgate/internal/line"
)

// desk is where the calls of one quota wait and are let through. One lock
// guards the line, the ledger and the breakers, so that a permit is taken from
// all of them or from none. Nothing is done under it but arithmetic.
type desk struct {
	fleet *fleet // nil: this process is alone
	quota string
	stock atomic.Pointer[stock] // permits taken ahead of need; nil: none. Set under the lock

	// narrow is whether some model or route is paused alone: calls then have to
	// say what they ask for. Set under the lock.
	narrow atomic.Bool

	// tokens is whether answers told of a limit on tokens: calls then have to be
	// weighed.
	tokens atomic.Bool

	mu struct {
		sync.Mutex
		line      *line.Line
		ledger    *ledger.Ledger
		upstreams map[string]*upstream      // that are in front of it or were, by name
		accounts  map[*ledger.Book]*account // nil is that of the limits that all share; only in a fleet
		joined    bool                      // seats may share limits
		seats     map[seatKey]*seat
		sweepAt   int       // seats at which unused ones are looked for
		lanes     uint64    // last number given to a seat
		spaced    time.Time // when Space was asked for; zero: it was not
		held      held      // serveLocked's own, between its calls
		alarm     *time.Timer
		rings     time.Time   // when alarm is due; zero: it is not set
		clerk     *time.Timer // looks after the stock
		rush      struct {    // permits that were there at once, of late
			since   time.Time
			permits int
		}
		byHand map[string]byHand // by upstream; rarely any
		closed bool
	}
}

// grant is a permit, of the ledger and of the breaker.
type grant struct {
	id     ledger.ID
	ticket breaker.Ticket
}

// waiter is a call in front of a desk. While it is in line the desk's lock
// guards it.
type waiter struct {
	entry     line.Entry
	upstream  *upstream
	keys      []credentialKey // of those it may use
	own       [1]credentialKey
	method    string // "": not an HTTP call
	path      string
	attempts  int  // that its call has made
	modelled  bool // ask says which model it asks for, if it does
	seat      *seat
	said      Cost  // what the caller said that it costs
	expected  int64 // tokens, if it did not say; 0: nobody knows
	ask       ledger.Ask
	deadline  time.Time     // for the permit; zero: none
	elsewhere bool          // it has somewhere else to go while the breaker is open
	waited    bool          // it has been in line
	stood     bool          // in line, for the permit that is asked for now
	behind    string        // the limit that held it back last; "": none that is known
	final     bool          // it would be the call's last attempt
	bare      bool          // not an HTTP call: its permit may come from a stock
	ready     chan struct{} // nil: it has never been in line

	// Set by the desk before ready is told.
	grant grant
	err   error

	admitted time.Time // when admit returned with a permit
}

func newDesk(quota string, f *fleet) *desk {
	d := &desk{fleet: f, quota: quota}
	d.mu.upstreams = make(map[string]*upstream)
	d.mu.accounts = make(map[*ledger.Book]*account)
	d.mu.seats = make(map[seatKey]*seat)
	d.mu.byHand = make(map[string]byHand)
	d.mu.sweepAt = seatsKept
	d.mu.held.last = make(map[*ledger.Book]int)
	return d
}

// configure puts rules and bounds in force. Counts, line and pauses stay; those
// who wait are measured by the new rules.
func (d *desk) configure(u *upstream) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	d.closeStockLocked(now)
	if d.mu.ledger == nil {
		d.mu.ledger = ledger.New(u.rules, u.ledgerOptions, now)
		d.mu.line = line.New(u.bounds)
	} else {
		d.mu.ledger.Configure(u.rules, u.ledgerOptions, now)
		d.mu.line.SetBounds(u.bounds)
	}
	d.mu.upstreams[u.name] = u
	d.mu.joined = len(d.mu.upstreams) > 1
	for _, r := range u.rules {
		d.mu.joined = d.mu.joined || r.Scope == ledger.PerUpstream
	}
	for key, s := range d.mu.seats {
		if key.upstream == u.name {
			s.breaker.Configure(u.breaker)
		}
	}
	d.shareLocked(now, u)
	for e := range d.mu.line.All() {
		w := e.Value.(*waiter)
		if w.upstream.name == u.name {
			w.adopt(u)
		}
		d.moveLocked(now, w)
		if limit := w.seat.book.TooHeavy(&w.ask); limit != "" {
			d.refuseLocked(w, &RefusedError{Upstream: w.upstream.name, Limit: limit, Err: ErrTooHeavy})
		}
	}
	d.serveLocked(now)
}

// adopt has a call that waits go by another configuration of its upstream.
func (w *waiter) adopt(u *upstream) {
	if len(w.upstream.keys) > 0 && len(u.keys) > 0 {
		w.keys = u.keys
	}
	w.upstream = u
	w.ask.Cost = u.weigh(w.said, w.entry.Bytes, w.expected)
}

// moveLocked finds a place once more for a call that is in line. Its turn among
// those it then waits with is by its arrival.
func (d *desk) moveLocked(now time.Time, w *waiter) {
	d.mu.line.Leave(&w.entry)
	w.seat.left()
	d.placeLocked(now, w)
	d.mu.line.Rejoin(now, &w.entry)
	w.seat.joined(now)
}

// admit blocks until w has a permit, is refused, or gives up. back says that w
// has been let through before: it keeps its place, and the line's bounds are
// not held against it.
func (d *desk) admit(ctx context.Context, w *waiter, back bool) error {
	if err := causeOf(ctx); err != nil {
		return err
	}
	w.err = nil
	if granted, err := d.enter(w, back); granted || err != nil {
		return err
	}
	w.stood = true
	var late <-chan time.Time
	if end, ok := ctx.Deadline(); !w.deadline.IsZero() && (!ok || w.deadline.Before(end)) {
		timer := time.NewTimer(time.Until(w.deadline))
		defer timer.Stop()
		late = timer.C
	}
	select {
	case <-w.ready:
		w.admitted = time.Now()
		if w.err == nil && d.lapsed(w) {
			return d.admit(ctx, w, true)
		}
		return w.err
	case <-late:
		w.admitted = time.Now()
		return d.expire(w)
	case <-ctx.Done():
		d.leave(w)
		return context.Cause(ctx)
	}
}

// enter lets w through, or puts it in line, or refuses it. If it returns false
// and nil, w.ready will be told.
func (d *desk) enter(w *waiter, back bool) (granted bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now() // under the lock: moments never go back
	if d.mu.closed {
		return false, ErrClosed
	}
	if w.entry.Arrived.IsZero() {
		w.entry.Arrived = now
	}
	d.placeLocked(now, w)
	if limit := w.seat.book.TooHeavy(&w.ask); limit != "" {
		return false, &RefusedError{Upstream: w.upstream.name, Limit: limit, Err: ErrTooHeavy}
	}
	if d.mu.line.Len() == 0 {
		if g, _, ok := d.takeLocked(now, w); ok {
			w.grant, w.admitted = g, now
			if w.bare {
				d.rushLocked(now, w)
			}
			return true, nil
		}
		d.closeStockLocked(now) // nobody waits while permits lie about
	}
	if err := d.hopelessLocked(now, w, back); err != nil {
		return false, err
	}
	if w.ready == nil {
		w.ready = make(chan struct{}, 1)
	}
	var full bool
	if back {
		d.mu.line.Rejoin(now, &w.entry)
	} else if full = d.mu.line.Join(now, &w.entry) != nil; full {
		// It may yet need none of what the others wait for.
		d.mu.line.Rejoin(now, &w.entry)
	}
	w.seat.joined(now)
	w.waited = true
	d.serveLocked(now)
	select {
	case <-w.ready:
		w.admitted = now
		return w.err == nil, w.err
	default:
	}
	w.seat.wantLocked(now, w)
	if full {
		retry := d.forecastLocked(now, w).At
		d.leaveLocked(w)
		return false, &RefusedError{Upstream: w.upstream.name, RetryAt: retry, Err: ErrLineFull}
	}
	return false, nil
}

// hopelessLocked says no to a call that would wait in vain. An upstream that
// throttles is worth waiting for; one that fails is left alone, and new calls
// are told so at once.
func (d *desk) hopelessLocked(now time.Time, w *waiter, back bool) error {
	if a := w.seat.account; a != nil && a.refuses(now) {
		return &RefusedError{Upstream: w.upstream.name, Err: ErrStoreLost}
	}
	open := w.seat.breaker.Until(now)
	failing := !back && !w.waited && w.seat.breaker.Cause() != breaker.ByThrottling
	if !open.IsZero() && (failing || w.elsewhere || !w.deadline.IsZero() && open.After(w.deadline)) {
		return &RefusedError{Upstream: w.upstream.name, RetryAt: open, Err: ErrBreakerOpen}
	}
	if w.deadline.IsZero() {
		return nil
	}
	f := d.forecastLocked(now, w)
	w.behind = f.Limit
	if f.At.After(w.deadline) {
		return &RefusedError{Upstream: w.upstream.name, Limit: f.Limit, RetryAt: f.At, Err: ErrDeadline}
	}
	return nil
}

// forecastLocked returns a moment before which w cannot be let through.
func (d *desk) forecastLocked(now time.Time, w *waiter) ledger.Wait {
	f := w.seat.book.Forecast(now, &w.ask, d.mu.line.Ahead(now, &w.entry))
	if until := w.seat.breaker.Until(now); until.After(f.At) && !w.elsewhere {
		f = ledger.Wait{At: until}
	}
	return f
}

// earliest returns a moment before which w, which comes back, cannot be let
// through.
func (d *desk) earliest(w *waiter) time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	d.placeLocked(now, w)
	return d.forecastLocked(now, w).At
}

// leave takes a call that gives up out of the line. If it has been let through
// in the meantime, its permit goes back.
func (d *desk) leave(w *waiter) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	if !d.leaveLocked(w) {
		<-w.ready
		if w.err == nil {
			d.endLocked(now, w.seat, w.grant)
		}
	}
	d.serveSeatLocked(now, w.seat) // those behind move up
}

// expire takes a call out of the line whose deadline has come, unless it has
// been let through in the meantime.
func (d *desk) expire(w *waiter) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	f := d.forecastLocked(now, w)
	if !d.leaveLocked(w) {
		<-w.ready
		return w.err
	}
	d.serveSeatLocked(now, w.seat)
	return &RefusedError{Upstream: w.upstream.name, Limit: f.Limit, RetryAt: f.At, Err: ErrDeadline}
}

// lapsed takes back the permit of a call if the instance has lost its lease
// since: the process may have stood still, and others use the quota by now.
func (d *desk) lapsed(w *waiter) bool {
	if d.fleet == nil {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	a, common := w.seat.account, d.mu.accounts[nil]
	if a.holder.Standing(now) != lease.Lapsed && (common == nil || common.holder.Standing(now) != lease.Lapsed) {
		return false
	}
	d.endLocked(now, w.seat, w.grant)
	return true
}

// leaveLocked is false if w is not in line any more.
func (d *desk) leaveLocked(w *waiter) bool {
	if !d.mu.line.Leave(&w.entry) {
		return false
	}
	w.seat.left()
	return true
}

// refuseLocked takes a call that waits out of the line, and tells it why.
func (d *desk) refuseLocked(w *waiter, err error) {
	d.leaveLocked(w)
	w.err = err
	w.ready <- struct{}{} // has room for it
}

// busy says whether anything of the desk would be lost with it.
func (d *desk) busy() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	for _, s := range d.mu.seats {
		if !s.unused(now) {
			return true
		}
		for _, l := range s.book.Status(now) {
			if l.Used != 0 {
				return true // of limits that all credentials share
			}
		}
	}
	return false
}

// close refuses everyone who waits, and everyone who comes.
func (d *desk) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mu.closed = true
	d.closeStockLocked(time.Now())
	if d.mu.clerk != nil {
		d.mu.clerk.Stop()
	}
	if d.mu.alarm != nil {
		d.mu.alarm.Stop()
	}
	for e := range d.mu.line.All() {
		d.refuseLocked(e.Value.(*waiter), ErrClosed)
	}
}
