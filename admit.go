package headgate

import (
	"context"
	"errors"
	"time"
)

// admit waits for a permit. If the upstream has none to give while its breaker
// is open or its line is full, the call goes on to the fallbacks.
func (c *call) admit() error {
	if c.began = c.entered; c.attempts > 0 {
		c.began = time.Now()
	}
	c.waiter.stood, c.waiter.behind = false, ""
	err := c.admitAnywhere()
	if err != nil {
		now := time.Now()
		c.waited += now.Sub(c.began)
		c.traceWait(ForPermit, c.began, now, err)
		return err
	}
	c.inLine = c.waiter.admitted.Sub(c.began)
	c.waited += c.inLine
	c.attempts++
	c.tried++
	c.upstream = c.waiter.upstream // another one if it was reloaded while the call waited
	c.traceWait(ForPermit, c.began, c.waiter.admitted, nil)
	return nil
}

func (c *call) admitAnywhere() error {
	c.upstream = c.gate.current(c.upstream)
	first, tried := c.upstream, c.tried
	elsewhere := len(first.fallback) > 0
	err := c.admitTo(elsewhere)
	if !elsewhere || !goesElsewhere(err) {
		return err
	}
	waited := c.waiter.waited
	if taken, e := c.admitElsewhere(first); taken {
		return e
	}
	c.moveTo(first)
	c.tried, c.waiter.waited = tried, waited
	if !errors.Is(err, ErrBreakerOpen) {
		return err
	}
	return c.admitTo(false) // nobody takes it: perhaps the first is worth waiting for
}

// admitElsewhere asks the fallbacks of an upstream, and theirs. It is false if
// all of them refuse.
func (c *call) admitElsewhere(u *upstream) (taken bool, err error) {
	for _, name := range u.fallback {
		next := c.gate.upstream(name)
		if next == nil {
			continue // a reload took it away
		}
		c.moveTo(next)
		err := c.admitTo(true)
		if refused := (*RefusedError)(nil); !errors.As(err, &refused) {
			return true, err
		}
		if taken, err := c.admitElsewhere(next); taken {
			return true, err
		}
	}
	return false, nil
}

// moveTo turns the call to another upstream.
func (c *call) moveTo(u *upstream) {
	c.upstream, c.tried, c.backoff, c.spend = u, 0, 0, spend{}
	c.waiter = waiter{ready: c.waiter.ready}
}

// admitTo waits for a permit of the upstream that the call has turned to.
func (c *call) admitTo(elsewhere bool) error {
	u, w := c.upstream, &c.waiter
	w.upstream = u
	w.keys = u.keys
	if len(w.keys) == 0 {
		w.own[0] = u.passedThrough(c.req.Header)
		w.keys = w.own[:]
	}
	w.method, w.path, w.attempts = c.req.Method, c.req.URL.Path, c.attempts
	w.said = c.cost
	w.expected = c.estimate(u)
	w.ask.Cost = u.weigh(c.cost, c.req.ContentLength, w.expected)
	w.ask.Model, w.modelled = "", false
	c.nameModel()
	w.deadline = c.permitBy(c.began)
	w.elsewhere = elsewhere
	w.final = c.tried+1 >= u.policy.Attempts
	e := &w.entry // joining once more it keeps its place, so it is not made anew
	e.Client, e.Weight, e.Priority = c.caller.Name, c.caller.Weight, c.caller.Priority
	e.Bytes = c.req.ContentLength
	e.Arrived = c.entered
	e.Value = w
	err := u.desk.admit(c.req.Context(), w, c.tried > 0)
	if err != nil || !c.nameModel() {
		return err
	}
	// A model was paused while the call was in line: its own, perhaps.
	u.desk.end(w.seat, w.grant)
	return u.desk.admit(c.req.Context(), w, true)
}

// nameModel has the desk know which model the call asks for, if some model or
// route is paused alone. It reports whether that is news.
func (c *call) nameModel() bool {
	w := &c.waiter
	if w.modelled || !c.upstream.desk.narrow.Load() {
		return false
	}
	w.ask.Model, w.modelled = c.model(), true
	return w.ask.Model != ""
}

// goesElsewhere says whether a refusal is one that another upstream may not
// have.
func goesElsewhere(err error) bool {
	return errors.Is(err, ErrBreakerOpen) || errors.Is(err, ErrLineFull)
}

// hold waits until a moment, outside the line, in the name of a call that will
// be repeated.
func (c *call) hold(until time.Time) (err error) {
	started := time.Now()
	d := until.Sub(started)
	if d <= 0 {
		return nil
	}
	defer func() {
		now := time.Now()
		c.waited += now.Sub(started)
		c.traceWait(ForBackoff, started, now, err)
	}()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-c.gate.closed:
		return ErrClosed
	case <-c.req.Context().Done():
		return context.Cause(c.req.Context())
	}
}
