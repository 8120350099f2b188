package headgate

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/headgate/headgate/internal/breaker"
	"github.com/headgate/headgate/internal/dialect"
	"github.com/headgate/headgate/internal/ledger"
)

// observe reads an answer and tells the desk what it means.
func (c *call) observe(a *attempt, resp *http.Response) dialect.Reading {
	now := time.Now()
	took := now.Sub(a.started)
	c.upstreamTime += took
	r := c.read(a, resp, now)
	v := verdict{outcome: breaker.Success, limits: factsOf(r.Limits)}
	switch r.Class {
	case dialect.Throttled:
		v.outcome, v.told, v.extent = breaker.Throttled, r.HasWait, c.extentOf(r)
		v.pause = func(strikes int) time.Duration {
			return c.upstream.policy.Wait(strikes, 0, r.Wait, r.HasWait, c.gate.random)
		}
	case dialect.Overloaded:
		v.outcome = breaker.Failed
	}
	var n news
	if resp.Body == http.NoBody {
		n = a.desk.finish(a.seat, a.grant, v)
		a.over = true
	} else {
		n = a.desk.answered(a.seat, a.grant, v)
	}
	c.tellAttempt(a, AttemptEnded{Status: resp.StatusCode, Reading: r, Took: took})
	c.gate.events.news(c.upstream.name, a.seat, n, r.Why)
	return r
}

// extentOf returns which calls a refusal is about. A model is named as this call
// names it, whatever the answer calls it: that is how others of its kind are
// known.
func (c *call) extentOf(r dialect.Reading) ledger.Extent {
	var e ledger.Extent
	if strings.HasPrefix(r.Scope, dialect.ModelScope) {
		e.Model = c.model()
	} else if route, ok := strings.CutPrefix(r.Scope, dialect.RouteScope); ok {
		e.Route = route
	}
	if !e.Covers(&ledger.Ask{Model: e.Model, Path: c.req.URL.Path}) {
		return ledger.Extent{} // a route that is written oddly
	}
	return e
}

// factsOf returns what a reading tells of limits, as the ledger takes it.
func factsOf(limits []dialect.Limit) []ledger.Fact {
	if len(limits) == 0 {
		return nil
	}
	facts := make([]ledger.Fact, len(limits))
	for i, l := range limits {
		facts[i] = ledger.Fact{Dimension: l.Dimension, N: l.Limit, Remaining: l.Remaining, Reset: l.Reset, Window: l.Window}
	}
	return facts
}

// observeFailure tells the desk of an attempt without an answer. Who goes away,
// or sends what cannot be sent, says nothing about the upstream.
func (c *call) observeFailure(a *attempt, err error) {
	took := time.Since(a.started)
	c.upstreamTime += took
	n := a.desk.failed(a.seat, a.grant, a.sent(), c.cause() != nil || isCallers(err) || a.faulty())
	c.tellAttempt(a, AttemptEnded{Took: took, Err: err})
	c.gate.events.news(c.upstream.name, a.seat, n, err.Error)
}

// isCallers says whether an attempt failed by the request's own body.
func isCallers(err error) bool {
	var body *bodyError
	return errors.As(err, &body)
}

// read has the dialect read an answer. What it looks at of the body is put
// back in front.
func (c *call) read(a *attempt, resp *http.Response, now time.Time) dialect.Reading {
	a.watch(resp, time.Duration(c.upstream.timeout.IdleStream))
	answer := dialect.Answer{
		Method: c.req.Method,
		Host:   c.host(),
		Path:   c.req.URL.Path,
		Status: resp.StatusCode,
		Header: resp.Header,
		HasKey: firstOf(c.req.Header, fieldKey) != "",
	}
	if answer.Status == http.StatusTooManyRequests {
		answer.Model = c.model()
	}
	d := c.upstream.dialectFor(answer, c.req)
	if n := d.BodyMaxOf(answer); n > 0 {
		answer.Body = peek(resp, n, c.upstream.peekFor(), nil)
	}
	reading := d.Read(answer, now)
	if reading.Class == dialect.OK && resp.StatusCode == http.StatusOK && dialect.IsEventStream(resp.Header) {
		return c.readFirstEvent(resp, answer, reading)
	}
	return reading
}

// host returns the host that answers.
func (c *call) host() string {
	if c.upstream.base != nil {
		return c.upstream.base.Host
	}
	return c.req.URL.Host
}
