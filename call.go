package headgate

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/dunglas/httpsfv"
)

// Fields of a request that the door understands. Those of its own it does not
// pass on.
const (
	fieldMaxWait  = "Headgate-Max-Wait" // a duration: "30s"
	fieldCost     = "Headgate-Cost"     // "tokens=1200"
	fieldPriority = "Priority"          // RFC 9218: "u=0"
	fieldTimeout  = "X-Stainless-Timeout"
	fieldKey      = "Idempotency-Key"
)

// call is what a caller wants: one or more attempts.
type call struct {
	gate     *shared
	home     *upstream // that the caller turned to
	upstream *upstream // that the call is at: home, or a fallback
	req      *http.Request
	caller   Caller
	trace    CallTrace     // nil: nothing follows the call
	cost     Cost          // as the caller said
	maxWait  time.Duration // in line and between attempts, all together; 0: no bound
	deadline time.Time     // for the answer to begin; zero: none

	entered      time.Time
	began        time.Time     // of the wait for the attempt that is made
	inLine       time.Duration // that it took
	waited       time.Duration // in line and between attempts, so far
	upstreamTime time.Duration // in attempts, so far
	attempts     int           // at all upstreams together
	tried        int           // at this one
	backoff      time.Duration // the last one at this one
	unwatched    bool          // the caller closes the answer's body, whatever happens
	waiter       waiter
	spend        spend
	first        attempt // most calls make no other: memory is taken once
}

// enter reads what a request says about itself.
func (u *upstream) enter(gate *shared, req *http.Request) (*call, error) {
	if req.URL == nil {
		return nil, errors.New("request has no URL")
	}
	c := &call{
		gate:     gate,
		home:     u,
		upstream: u,
		req:      req,
		caller:   callerFrom(req.Context()),
		maxWait:  u.maxWait,
		entered:  time.Now(),
	}
	if d, ok := req.Context().Deadline(); ok {
		c.deadline = d
	}
	h := req.Header
	if v := firstOf(h, fieldMaxWait); v != "" {
		d, err := time.ParseDuration(v)
		if err != nil || d < 0 {
			return nil, fmt.Errorf("%s %q: want a duration such as 30s", fieldMaxWait, v)
		}
		c.maxWait = max(d, 1) // 0 waits for nothing
	}
	if v := firstOf(h, fieldCost); v != "" {
		cost, err := ParseCost(v)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", fieldCost, err)
		}
		c.cost = cost
	}
	if v := h[fieldPriority]; len(v) > 0 {
		c.caller.Priority = urgency(v, c.caller.Priority)
	}
	if v := firstOf(h, fieldTimeout); v != "" {
		if s, err := strconv.ParseFloat(v, 64); err == nil && s > 0 && s < 1e9 {
			c.deadline = earliest(c.deadline, c.entered.Add(time.Duration(s*float64(time.Second))))
		}
	}
	return c, nil
}

// firstOf returns the first value of a field, "" if there is none. Unlike Get it
// takes the name as it is: in canonical form.
func firstOf(h http.Header, field string) string {
	if v := h[field]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// urgency reads Priority (RFC 9218, section 4.1). A field that is malformed is
// ignored, as the RFC asks.
func urgency(values []string, otherwise int) int {
	dict, err := httpsfv.UnmarshalDictionary(values)
	if err != nil {
		return otherwise
	}
	member, ok := dict.Get("u")
	if !ok {
		return otherwise
	}
	item, ok := member.(httpsfv.Item)
	if !ok {
		return otherwise
	}
	if u, ok := item.Value.(int64); ok && u >= 0 && u <= 7 {
		return int(u)
	}
	return otherwise
}

// permitBy returns the moment after which a permit is of no use; zero if there
// is none.
func (c *call) permitBy(now time.Time) time.Time {
	by := c.deadline
	if c.maxWait > 0 {
		by = earliest(by, now.Add(c.maxWait-c.waited))
	}
	return by
}

// repeatable says whether the request can be sent once more.
func (c *call) repeatable() bool {
	return c.req.Body == nil || c.req.Body == http.NoBody || c.req.GetBody != nil
}

// cause returns why the caller's context ended, nil if it has not.
func (c *call) cause() error { return causeOf(c.req.Context()) }

// causeOf is context.Cause, but cheap while the context goes on.
func causeOf(ctx context.Context) error {
	if ctx.Err() == nil {
		return nil
	}
	return context.Cause(ctx)
}

// earliest returns the earlier of two moments of which either may be zero.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// later returns the later of two moments.
func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
