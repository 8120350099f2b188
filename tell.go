package headgate

import (
	"net/http"
	"time"
)

// tellWaited tells that the call has a permit.
func (c *call) tellWaited() {
	x := Waited{Upstream: c.upstream.name, Client: c.caller.Name, Took: c.inLine}
	c.gate.events.waited(x)
	c.caller.Events.waited(x)
}

// tellAttempt tells how an attempt ended.
func (c *call) tellAttempt(a *attempt, x AttemptEnded) {
	x.Upstream, x.Client, x.Attempt = c.upstream.name, c.caller.Name, c.attempts
	c.gate.events.attemptEnded(x)
	c.caller.Events.attemptEnded(x)
	if a.follows != nil {
		a.follows.Answered(x)
	}
}

// ended tells how the call ended.
func (c *call) ended(now time.Time, outcome string, status int, err error) {
	x := CallEnded{
		Upstream: c.upstream.name, Client: c.caller.Name, Outcome: outcome,
		Attempts: c.attempts, Status: status, Waited: c.waited, Took: now.Sub(c.entered), Err: err,
	}
	c.gate.events.callEnded(x)
	c.caller.Events.callEnded(x)
	if c.trace != nil {
		c.trace.Ended(x)
	}
}

// tellRetry tells that the call gets another attempt.
func (c *call) tellRetry(resp *http.Response, d decision) {
	own := c.caller.Events != nil && c.caller.Events.Retried != nil
	if c.gate.events.Retried == nil && !own {
		return
	}
	x := Retried{
		Upstream: c.upstream.name, Client: c.caller.Name,
		Attempt: c.tried, Of: c.upstream.policy.Attempts,
		Delay: max(time.Until(d.at), 0), Reason: d.reason,
	}
	if resp != nil {
		x.Status = resp.StatusCode
		x.RetryAfter = resp.Header.Get("Retry-After")
		for _, field := range requestIDFields {
			if x.RequestID = resp.Header.Get(field); x.RequestID != "" {
				break
			}
		}
	}
	c.gate.events.retried(x)
	c.caller.Events.retried(x)
}

// requestIDFields are where upstreams name an attempt.
var requestIDFields = []string{"X-Request-Id", "Request-Id", "X-Amzn-Requestid", "X-Github-Request-Id", "Apim-Request-Id", "Cf-Ray"}
