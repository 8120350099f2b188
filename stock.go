package headgate

import (
	"sync/atomic"
	"time"

	"github.com/headgate/headgate/internal/breaker"
	"github.com/headgate/headgate/internal/ledger"
)

// stock is permits taken ahead of need, so that where they are asked for by the
// thousand the desk's lock is taken once for many. It exists only while nobody
// waits and every limit has room for many times as many, and what is not used
// goes back within stockFor.
//
// To the ledger it is one permit for several attempts. A part is handed out by
// one atomic step, and ended by two; the desk settles those that have ended all
// at once.
type stock struct {
	upstream *upstream
	seat     *seat
	common   *account // of the limits that all credentials share; nil: there are none
	grant    grant
	size     int64
	next     atomic.Int64 // parts that were asked for
	ended    atomic.Int64 // parts sent and ended, that the desk does not know of yet
	closed   atomic.Bool  // no more parts; whoever ends one tells the desk
	parts    [stockMost]atomic.Uint32

	// Guarded by the desk's lock.
	left  int64           // parts that have not ended
	seen  int64           // next, when the desk last looked
	alone map[int64]grant // permits of parts that stand alone
}

// A part's state moves up only.
const (
	partOut   = iota // in the stock, or in somebody's hand
	partAlone        // it has a permit of its own
	partEnded
)

const (
	stockMost = 256
	stockRoom = 8                // times its size must be free of every limit
	stockFor  = time.Millisecond // how long a part waits to be used
	stockRush = 8                // permits within stockFor that make it worth it
)

// stockSizes are what a stock may hold, the most that room allows.
var stockSizes = [...]int64{stockMost, 64, 16}

// take hands out a part, if there is one.
func (s *stock) take(u *upstream) (Permit, bool) {
	if s == nil || s.upstream != u || s.lapsed() {
		return Permit{}, false
	}
	i := s.next.Add(1) - 1
	if i >= s.size {
		return Permit{}, false
	}
	return Permit{upstream: u, seat: s.seat, stock: s, part: i}, true
}

// lapsed reports whether what the stock was taken from is not in force any more.
func (s *stock) lapsed() bool {
	a := s.seat.account
	return a != nil && (a.lapsed() || s.common != nil && s.common.lapsed())
}

// done ends a part that went well.
func (s *stock) done(d *desk, i int64) {
	if !s.parts[i].CompareAndSwap(partOut, partEnded) {
		if g, ok := s.takeAlone(d, i); ok {
			d.finish(s.seat, g, verdict{outcome: breaker.Success})
		}
		return
	}
	s.ended.Add(1)
	if s.closed.Load() {
		d.settleStock(s)
	}
}

// permit gives a part a permit of its own, for whatever is more than Done(OK).
// It is false if the part has ended.
func (s *stock) permit(d *desk, i int64) (grant, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if s.parts[i].CompareAndSwap(partOut, partAlone) {
		now := time.Now()
		s.seat.book.Part(now, s.grant.id, 1, false)
		s.left--
		if s.alone == nil {
			s.alone = make(map[int64]grant)
		}
		s.alone[i] = grant{s.seat.book.Grant(now, &ledger.Ask{}), s.grant.ticket}
		d.settleStockLocked(now, s)
	}
	g, ok := s.alone[i]
	return g, ok
}

// takeAlone is permit for whoever ends the part.
func (s *stock) takeAlone(d *desk, i int64) (grant, bool) {
	g, ok := s.permit(d, i)
	return g, ok && s.parts[i].CompareAndSwap(partAlone, partEnded)
}

// rushLocked is told of permits that were there at once, and lays in a stock if
// there are many and room is ample.
func (d *desk) rushLocked(now time.Time, w *waiter) {
	if now.Sub(d.mu.rush.since) > stockFor {
		d.mu.rush.since, d.mu.rush.permits = now, 0
	}
	d.mu.rush.permits++
	if d.mu.rush.permits < stockRush && d.stock.Load() == nil {
		return
	}
	d.closeStockLocked(now)
	if w.ask.Cost != nil || w.ask.Paths != 0 || w.upstream.ledgerOptions.Reserve > 0 || len(w.keys) != 1 || w.seat.breaker.State(now) != breaker.Closed {
		return
	}
	size := w.seat.roomFor(now)
	if size == 0 || !w.seat.book.Ample() {
		return
	}
	ticket, ok := w.seat.breaker.Admit(now)
	if !ok {
		return
	}
	s := &stock{upstream: w.upstream, seat: w.seat, common: d.mu.accounts[nil], size: size, left: size}
	s.grant = grant{w.seat.book.Grant(now, &ledger.Ask{Times: size}), ticket}
	d.stock.Store(s)
	if d.mu.clerk == nil {
		d.mu.clerk = time.AfterFunc(stockFor, d.tendStock)
	} else {
		d.mu.clerk.Reset(stockFor)
	}
}

// roomFor returns how large a stock may be; 0 for none.
func (s *seat) roomFor(now time.Time) int64 {
	for _, size := range stockSizes {
		if _, ok := s.book.Ready(now, &ledger.Ask{Times: size * stockRoom}); ok {
			return size
		}
	}
	return 0
}

// tendStock settles what has ended of the stock, and lets go of it if nobody
// asked for any of it since the last time.
func (d *desk) tendStock() {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.stock.Load()
	if s == nil {
		return
	}
	now := time.Now()
	next := s.next.Load()
	if next == s.seen || next >= s.size {
		d.closeStockLocked(now)
		return
	}
	s.seen = next
	d.settleStockLocked(now, s)
	d.mu.clerk.Reset(stockFor)
}

// closeStockLocked gives back what was not handed out. Parts in somebody's hand
// are settled as they end.
func (d *desk) closeStockLocked(now time.Time) {
	s := d.stock.Swap(nil)
	if s == nil {
		return
	}
	s.closed.Store(true)
	unused := s.size - min(s.next.Swap(s.size), s.size)
	s.seat.book.Part(now, s.grant.id, unused, false)
	s.left -= unused
	d.settleStockLocked(now, s)
}

func (d *desk) settleStock(s *stock) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	d.settleStockLocked(now, s)
	d.serveSeatLocked(now, s.seat)
}

// settleStockLocked tells ledger and breaker of the parts that have ended.
func (d *desk) settleStockLocked(now time.Time, s *stock) {
	if k := s.ended.Swap(0); k > 0 {
		s.seat.book.Part(now, s.grant.id, k, true)
		s.seat.book.Accepted(now, s.grant.id)
		s.seat.breaker.Succeeded(now, s.grant.ticket, int(k))
		s.left -= k
	}
	if s.left == 0 {
		s.left = -1
		s.seat.book.End(now, s.grant.id)
	}
}
