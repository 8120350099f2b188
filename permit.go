package headgate

import (
	"context"
	"fmt"
	"time"

	"github.com/headgate/headgate/internal/breaker"
)

// Outcome is how an attempt that is not HTTP ended.
type Outcome uint8

// The outcomes.
const (
	OK         Outcome = iota // done, or refused for good: the upstream lives
	Throttled                 // the upstream said "too many": all pause for a backoff
	Overloaded                // the upstream said "not now", or did not answer
	Cancelled                 // never sent: everything goes back
)

// String returns the outcome as logs write it.
func (o Outcome) String() string {
	switch o {
	case Throttled:
		return OutcomeThrottled
	case Overloaded:
		return OutcomeOverloaded
	case Cancelled:
		return OutcomeCancelled
	default:
		return OutcomeOK
	}
}

// Permit is the right to make one attempt now. Done ends it; the copies of a
// permit are one permit. The zero Permit has ended.
type Permit struct {
	gate     *shared
	upstream *upstream
	seat     *seat
	grant    grant
	stock    *stock // that it is a part of; nil: none
	part     int64
}

// Acquire waits for a permit to call an upstream by other means than HTTP, for
// as long as ctx and line.max_wait allow. The attempt counts as long as the
// permit is held, so Done must be called.
//
//	permit, err := gate.Acquire(ctx, "openai", headgate.Cost{"tokens": 1200})
//	if err != nil {
//		return err
//	}
//	defer permit.Done(headgate.OK)
func (g *Gate) Acquire(ctx context.Context, upstream string, cost Cost) (Permit, error) {
	u := g.upstream(upstream)
	if u == nil {
		return Permit{}, fmt.Errorf("%w %q", ErrUnknownUpstream, upstream)
	}
	if cost == nil && ctx.Err() == nil {
		if p, ok := u.desk.stock.Load().take(u); ok {
			p.gate = g.shared
			return p, nil
		}
	}
	return u.acquire(ctx, g.shared, cost)
}

func (u *upstream) acquire(ctx context.Context, gate *shared, cost Cost) (Permit, error) {
	if err := checkCost(cost); err != nil {
		return Permit{}, err
	}
	caller := callerFrom(ctx)
	w, _ := gate.waiters.Get().(*waiter)
	if w == nil {
		w = new(waiter)
	}
	defer gate.waiters.Put(w)
	*w = waiter{upstream: u, keys: u.keys, bare: true, ready: w.ready}
	if len(w.keys) == 0 {
		w.keys = nobody
	}
	w.said, w.ask.Cost = cost, cost
	w.entry.Client, w.entry.Weight, w.entry.Priority = caller.Name, caller.Weight, caller.Priority
	w.entry.Value = w
	if u.maxWait > 0 {
		w.deadline = time.Now().Add(u.maxWait)
	}
	if by, ok := ctx.Deadline(); ok {
		w.deadline = earliest(w.deadline, by)
	}
	if err := u.desk.admit(ctx, w, false); err != nil {
		return Permit{}, err
	}
	return Permit{gate: gate, upstream: u, seat: w.seat, grant: w.grant}, nil
}

// nobody is the credential of those who carry none.
var nobody = make([]credentialKey, 1)

// Settle corrects what the attempt weighs to what it really took: more than was
// there is debt. It must come before Done. What no call may say of itself, such
// as that it was no request, is ignored.
func (p Permit) Settle(actual Cost) {
	if p.seat == nil || checkCost(actual) != nil {
		return
	}
	d := p.upstream.desk
	if p.stock != nil {
		var ok bool
		if p.grant, ok = p.stock.permit(d, p.part); !ok {
			return
		}
	}
	d.settle(p.seat, p.grant, actual)
}

// Done ends the permit. Only the first Done of a permit counts.
func (p Permit) Done(o Outcome) {
	if p.seat == nil {
		return
	}
	d := p.upstream.desk
	if p.stock != nil {
		if o == OK {
			p.stock.done(d, p.part)
			return
		}
		var ok bool
		if p.grant, ok = p.stock.takeAlone(d, p.part); !ok {
			return
		}
	}
	v := verdict{outcome: breaker.Success}
	switch o {
	case Cancelled:
		d.end(p.seat, p.grant)
		return
	case Throttled:
		v.outcome = breaker.Throttled
		v.pause = func(strikes int) time.Duration {
			return p.upstream.policy.Backoff(strikes, 0, p.gate.random)
		}
	case Overloaded:
		v.outcome = breaker.Failed
	}
	p.gate.events.news(p.upstream.name, p.seat, d.finish(p.seat, p.grant, v), o.String)
}
