package headgate

import (
	"slices"
	"time"

	"github.com/headgate/headgate/internal/ledger"
)

// accountLocked gives a new seat its account. rests says that it gives
// everything back when it is idle.
func (d *desk) accountLocked(now time.Time, s *seat, rests bool) {
	if d.fleet == nil {
		return
	}
	s.account = d.openAccountLocked(now, s.credential, s.book, rests)
	s.account.seats = append(s.account.seats, s)
}

// openAccountLocked returns the account of a book; nil is that of the limits
// that all credentials share.
func (d *desk) openAccountLocked(now time.Time, credential string, b *ledger.Book, rests bool) *account {
	if a := d.mu.accounts[b]; a != nil {
		return a
	}
	a := newAccount(d, d.quota+"/"+credential, b)
	a.rests = rests
	d.mu.accounts[b] = a
	a.configureLocked(now)
	d.fleet.open(a)
	return a
}

// dismissLocked takes a seat that is forgotten from its account.
func (d *desk) dismissLocked(s *seat) {
	a := s.account
	if a == nil {
		return
	}
	a.seats = slices.DeleteFunc(a.seats, func(x *seat) bool { return x == s })
	if len(a.seats) == 0 {
		delete(d.mu.accounts, a.book)
		close(a.ended)
	}
}

// dismissAll gives up all accounts of a desk that nothing is in front of any
// more.
func (d *desk) dismissAll() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for book, a := range d.mu.accounts {
		delete(d.mu.accounts, book)
		close(a.ended)
	}
}

// shareLocked sees to it that the limits of an upstream are shared with other
// instances from the start: who comes first need not wait for the store.
func (d *desk) shareLocked(now time.Time, u *upstream) {
	if d.fleet == nil {
		return
	}
	for _, a := range d.mu.accounts {
		a.configureLocked(now)
	}
	keys := u.keys
	if len(keys) == 0 {
		keys = nobody
	}
	for key, s := range d.mu.seats {
		if key.upstream == u.name && key.credential.hash == 0 && !slices.Contains(keys, key.credential) && s.unused(now) {
			delete(d.mu.seats, key)
			d.dismissLocked(s)
		}
	}
	for _, key := range keys {
		d.seatLocked(now, u, key)
	}
	if len(d.mu.ledger.Parts()) > 0 {
		d.openAccountLocked(now, "*", nil, false)
	}
}

// enforceLocked sees to it that no part is used longer than it is in force.
func (d *desk) enforceLocked(now time.Time, a *account) {
	if !now.Before(a.until) {
		a.enforceLocked(now)
	}
	if common := d.mu.accounts[nil]; common != nil && !now.Before(common.until) {
		common.enforceLocked(now)
	}
}

// wantLocked has the accounts of a call that waits ask for what it needs.
func (s *seat) wantLocked(now time.Time, w *waiter) {
	if s.account == nil {
		return
	}
	s.account.wantLocked(now, w)
	if common := s.account.desk.mu.accounts[nil]; common != nil {
		common.wantLocked(now, w)
	}
}
