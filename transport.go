package headgate

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/headgate/headgate/config"
	"github.com/headgate/headgate/internal/dialect"
)

// Transport returns an http.RoundTripper that holds requests to the given
// limits, kept in this process. It panics if a limit does not parse: limits
// that come from users belong in a config.Config, and Open returns the error.
func Transport(opts ...Option) http.RoundTripper {
	o := newOptions(opts)
	defaults := config.Config{Upstreams: map[string]config.Upstream{"default": o.upstream}}.WithDefaults()
	u, err := newUpstream("default", defaults.Upstreams["default"], o.base)
	if err != nil {
		panic("headgate: " + err.Error())
	}
	s := newShared(o)
	s.adopt(u, defaults.Upstreams["default"], newDesk("", nil), nil)
	return &roundTripper{gate: s, name: u.name, fixed: u}
}

// roundTripper is the way to one upstream.
type roundTripper struct {
	gate  *shared
	name  string
	fixed *upstream // of a Transport; nil: whatever the gate has under the name

	unwatched bool // see Unwatched
}

// Unwatched returns rt for callers who close the body of every answer soon after
// their request's context has ended. A round tripper of a Gate then need not
// watch the context itself while a body is not read, which costs each call a
// little. Any other round tripper is returned as it is.
func Unwatched(rt http.RoundTripper) http.RoundTripper {
	t, ok := rt.(*roundTripper)
	if !ok {
		return rt
	}
	closing := *t
	closing.unwatched = true
	return &closing
}

// RoundTrip implements http.RoundTripper.
func (t *roundTripper) RoundTrip(req *http.Request) (*http.Response, error) {
	u := t.fixed
	if u == nil {
		if u = t.gate.upstream(t.name); u == nil {
			closeBody(req)
			return nil, fmt.Errorf("%w %q", ErrUnknownUpstream, t.name)
		}
	}
	c, err := u.enter(t.gate, req)
	if err != nil {
		closeBody(req)
		return nil, err
	}
	c.unwatched = t.unwatched
	c.traceCall()
	return c.run()
}

// CloseIdleConnections closes the connections that no attempt uses.
func (t *roundTripper) CloseIdleConnections() { t.gate.closeIdle() }

// run takes a call through the door, as often as it takes.
func (c *call) run() (*http.Response, error) {
	for {
		if err := c.admit(); err != nil {
			if c.attempts == 0 {
				closeBody(c.req)
			}
			return nil, c.fail(err)
		}
		resp, again, err := c.try()
		if err != nil {
			return nil, c.fail(err)
		}
		if resp != nil {
			return resp, nil
		}
		if err := c.hold(again.hold); err != nil {
			return nil, c.fail(err)
		}
	}
}

// try makes one attempt with the permit that was just granted. It returns the
// answer for the caller, or an error, or that the call gets another attempt.
func (c *call) try() (answer *http.Response, again decision, err error) {
	a := c.begin()
	var resp *http.Response
	defer func() {
		if !a.passed { // not wanted, or an event or what sends has panicked
			a.drop(resp)
		}
	}()
	c.tellWaited()
	resp, err = c.send(a)
	var reading dialect.Reading
	if err != nil {
		c.observeFailure(a, err)
	} else {
		reading = c.observe(a, resp)
	}
	again = c.decide(a, err, reading)
	if !again.again {
		if err == nil {
			answer = c.pass(a, resp, reading)
		}
		return answer, again, err
	}
	c.tellRetry(resp, again)
	return nil, again, nil
}

// fail ends a call without an answer, and says so in the caller's terms.
func (c *call) fail(err error) error {
	outcome := OutcomeUnreachable
	switch refused := (*RefusedError)(nil); {
	case c.cause() != nil:
		outcome, err = OutcomeCancelled, c.cause()
	case isCallers(err):
		outcome = OutcomeCancelled
	case errors.As(err, &refused), errors.Is(err, ErrClosed):
		outcome = OutcomeRefused
	default:
		err = &UnreachableError{Upstream: c.upstream.name, Attempts: c.attempts, Err: err}
	}
	c.ended(time.Now(), outcome, 0, err)
	return err
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		req.Body.Close()
	}
}
