package retry

import (
	"math"
	"time"
)

// Budget bounds the retries of overloaded and unsent calls to a share of the
// attempts, so that an outage does not multiply the traffic. Throttled calls do
// not draw on it: their pace is the ledger's. NewBudget makes one, and it is
// safe for use by one goroutine at a time.
//
// It is a purse. Each attempt, first or not, puts in the share, each second
// puts in ten retries, so that rare calls get theirs, and each retry takes one
// out. A retry that is not covered is lent, and made when time alone has paid
// for it. So of the retries drawn in any span, be it the budget's whole life,
// those whose moments lie in it are
//
//	retries <= share × attempts + 10 × seconds + reserve
//
// Those lent before the span come on top: attempts may have paid for them, and
// for others, in the meantime.
//
// Finagle's RetryBudget and Linkerd's retryBudget do the same with a share of
// 20 % and the same floor (finagle.github.io/blog/2016/02/08/retry-budgets;
// linkerd.io/2/features/retries-and-timeouts). They let deposits expire after
// 10 s and lend nothing; here the reserve bounds what quiet times can save.
type Budget struct {
	// Money is time: a retry costs what the floor puts in meanwhile. So all
	// arithmetic is exact, and what is lacking is how long it takes to come.
	share   time.Duration // put in by each attempt
	among   time.Duration // instances that the floor is for
	reserve time.Duration // the most that is held
	balance time.Duration // at the moment at; negative: lent
	at      time.Time
}

const (
	price     = 100 * time.Millisecond // of a retry: the floor is ten per second
	mostShare = 1000                   // retries per attempt
)

// NewBudget returns a full budget. share is the retries that each attempt
// allows, to eight decimals: 0.2 is one in five. 0, less, or NaN leaves the
// floor of ten per second; more than 1000 counts as 1000. It holds at most
// 10 + 100 × share retries: ten to start with, and the share of the last
// hundred attempts.
func NewBudget(share float64) *Budget {
	if !(share > 0) {
		share = 0
	}
	deposit := time.Duration(math.Round(min(share, mostShare) * float64(price)))
	reserve := 10*price + 100*deposit
	return &Budget{share: deposit, among: 1, reserve: reserve, balance: reserve}
}

// Among has n instances share the floor of ten per second, each with a budget
// of its own. Their attempts put in the share wherever they are made.
func (b *Budget) Among(now time.Time, n int) {
	b.advance(now)
	b.among = time.Duration(max(n, 1))
}

// Attempt notes that an attempt was sent, be it a call's first or a retry.
func (b *Budget) Attempt(now time.Time) {
	b.advance(now)
	b.balance = min(b.balance+b.share, b.reserve)
}

// When returns what Draw would, and takes nothing. It promises nothing: another
// call may draw first. Ask before waiting, so that a call that cannot be
// repeated in time neither waits nor draws.
func (b *Budget) When(now time.Time) time.Time {
	b.advance(now)
	if b.balance >= price {
		return now
	}
	return b.at.Add((price - b.balance) * b.among)
}

// Draw takes out one retry, on credit if need be, and returns the earliest
// moment at which it may be made: now if the balance covers it, else when time
// alone has paid for it. Later attempts do not bring that moment forward, and a
// retry that is not made is not put back. How much is lent is up to the caller,
// who draws only what When says is soon enough.
func (b *Budget) Draw(now time.Time) (at time.Time) {
	at = b.When(now)
	b.balance -= price
	return at
}

// advance puts in what the time since the last moment brought. A moment before
// it brings nothing.
func (b *Budget) advance(now time.Time) {
	passed := now.Sub(b.at)
	if passed <= 0 {
		return
	}
	came := passed / b.among
	b.at = now.Add(came*b.among - passed) // the rest is not lost
	b.balance += min(came, b.reserve-b.balance)
}
