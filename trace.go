package headgate

import (
	"context"
	"maps"
	"net/http"
	"net/url"
	"time"
)

// Tracer follows single calls, which Events cannot: it knows where a call comes
// from, and may add to what an attempt sends. Package tracing makes one for
// OpenTelemetry. Its methods are called as those of Events are.
type Tracer interface {
	// TraceCall returns what follows a call that enters; nil: nothing does. It
	// must not change req.
	TraceCall(req *http.Request, c CallStarted) CallTrace
}

// CallTrace follows a call. Its methods are called one after the other, and
// Ended last.
type CallTrace interface {
	// WaitEnded is told of each wait, and of a permit that was refused at once.
	WaitEnded(WaitEnded)

	// TraceAttempt is told that an attempt is about to be sent. Its request will
	// have the context that is returned, which must come from ctx. The trace is
	// not nil.
	TraceAttempt(ctx context.Context, a AttemptStarted) (context.Context, AttemptTrace)

	// Ended is told what CallEnded of Events is.
	Ended(CallEnded)
}

// AttemptTrace follows an attempt.
type AttemptTrace interface {
	// Answered is told what AttemptEnded of Events is.
	Answered(AttemptEnded)

	// Ended says that the attempt holds nothing any more: its answer has been
	// read to its end, or is not wanted. err says what broke it off on the way.
	Ended(err error)
}

// CallStarted says that a call has entered.
type CallStarted struct {
	Upstream, Client string
	At               time.Time
}

// AttemptStarted says that an attempt is about to be sent.
type AttemptStarted struct {
	Upstream string
	Attempt  int // from 1, at all upstreams together
	At       time.Time
	Method   string
	URL      *url.URL    // that it is sent to, query and all; not to be changed
	Header   http.Header // that is sent; it may be added to
}

// What a call waited for, as WaitEnded tells it.
const (
	ForPermit  = "permit"  // in line
	ForBackoff = "backoff" // out of it, before another attempt
)

// WaitEnded says that a call has waited.
type WaitEnded struct {
	Upstream string
	For      string // ForPermit or ForBackoff
	From, To time.Time
	Limit    string // that held it back last; "" if that was a pause or a breaker, or nobody looked
	Err      error  // why the wait was in vain
}

// traceCall has the gate's tracer follow the call.
func (c *call) traceCall() {
	if t := c.gate.tracer; t != nil {
		c.trace = t.TraceCall(c.req, CallStarted{Upstream: c.upstream.name, Client: c.caller.Name, At: c.entered})
	}
}

// traceWait tells of a wait that has just ended.
func (c *call) traceWait(what string, from, to time.Time, err error) {
	if c.trace == nil {
		return
	}
	w := WaitEnded{Upstream: c.upstream.name, For: what, From: from, To: to, Err: err}
	if what == ForPermit {
		if !c.waiter.stood && err == nil {
			return
		}
		w.Limit = c.waiter.behind
	}
	c.trace.WaitEnded(w)
}

// traceAttempt has an attempt followed, and returns the context and the header to
// send it with in place of those given.
func (c *call) traceAttempt(ctx context.Context, a *attempt, h http.Header) (context.Context, http.Header) {
	h = maps.Clone(h) // it may be the caller's own
	if h == nil {
		h = make(http.Header)
	}
	ctx, a.follows = c.trace.TraceAttempt(ctx, AttemptStarted{
		Upstream: c.upstream.name, Attempt: c.attempts, At: a.started,
		Method: c.req.Method, URL: &a.url, Header: h,
	})
	return ctx, h
}
