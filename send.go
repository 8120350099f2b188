package headgate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"reflect"
	"strings"
	"sync/atomic"
	"time"
)

// attempt is one HTTP exchange, from its permit to its last byte. What it needs
// lies in it by value, and with the first attempt in its call, so that memory is
// taken once for all of it.
type attempt struct {
	desk    *desk
	seat    *seat
	grant   grant
	traces  bool         // what sends it calls trace hooks
	follows AttemptTrace // nil: nothing does
	started time.Time
	over    bool // nothing is held any more
	passed  bool // its answer has gone to the caller
	ctx     context.Context
	cancel  context.CancelCauseFunc

	req   http.Request // what is sent
	url   url.URL      // of req
	trace httptrace.ClientTrace
	body  io.ReadCloser // of req; nil without
	guard requestBody   // is body, unless that cannot fail

	watched watchedBody // of the answer
	answer  body        // the answer's as the caller gets it

	timer     *time.Timer // of the timeouts, one after the other; nil: none was needed yet
	answered  atomic.Bool // timeout.attempt was kept
	traced    atomic.Bool // a trace hook was called
	connected atomic.Bool // the attempt has a connection: bytes may have left
}

// begin takes over the permit that was just granted.
func (c *call) begin() *attempt {
	a := &c.first
	if c.attempts > 1 {
		a = new(attempt) // hooks may still be called for the one before
	}
	a.desk, a.seat, a.grant = c.upstream.desk, c.waiter.seat, c.waiter.grant
	a.traces, a.started = c.upstream.traces, c.waiter.admitted
	a.ctx, a.cancel = context.WithCancelCause(c.req.Context())
	a.trace.GetConn = func(string) { a.traced.Store(true) }
	a.trace.GotConn = func(httptrace.GotConnInfo) { a.connected.Store(true) }
	a.trace.WroteRequest = func(info httptrace.WroteRequestInfo) {
		if info.Err == nil {
			a.desk.written(a.seat, a.grant)
		}
	}
	if c.attempts == 1 {
		a.carry(c.req.Body)
	}
	return a
}

// carry takes over a body that the attempt is to send; it may be empty.
func (a *attempt) carry(body io.ReadCloser) {
	switch {
	case body == nil || body == http.NoBody:
	case inMemory(body):
		a.body = body
	default:
		a.guard.ReadCloser = body
		a.body = &a.guard
	}
}

// errNoAnswer is what becomes of a Base that breaks its contract.
var errNoAnswer = errors.New("no response and no error")

// send makes the attempt. It returns an answer or an error, never both.
func (c *call) send(a *attempt) (*http.Response, error) {
	u := c.upstream
	if err := c.prepare(a); err != nil {
		return nil, err
	}
	u.budget.attempt(a.started)
	a.arm(time.Duration(u.timeout.Attempt))
	resp, err := u.send.RoundTrip(&a.req)
	if a.disarm() {
		a.answered.Store(true)
	} else if err == nil {
		err = ErrAttemptTimeout // its context ended just as it was answered
	}
	if err == nil && resp == nil {
		err = errNoAnswer
	}
	if err == nil {
		return resp, nil
	}
	if resp != nil && resp.Body != nil {
		resp.Body.Close()
	}
	if cause := context.Cause(a.ctx); cause != nil {
		err = cause
	} else if broken := a.guard.broken(); broken != nil {
		err = &bodyError{broken}
	}
	return nil, err
}

// arm has the attempt given up unless it is disarmed in time; 0: whenever that
// is.
func (a *attempt) arm(in time.Duration) {
	switch {
	case in <= 0:
	case a.timer == nil:
		a.timer = time.AfterFunc(in, a.giveUp)
	default:
		a.timer.Reset(in)
	}
}

// disarm is false if it comes too late.
func (a *attempt) disarm() bool { return a.timer == nil || a.timer.Stop() }

func (a *attempt) giveUp() {
	if a.answered.Load() {
		a.cancel(ErrIdleStream)
	} else {
		a.cancel(ErrAttemptTimeout)
	}
}

// sent says whether anything of a failed attempt can have reached the upstream.
func (a *attempt) sent() bool {
	return a.connected.Load() || !a.traced.Load() && !a.traces
}

// faulty says whether a failed attempt never came to ask for a connection: the
// request cannot be sent at all.
func (a *attempt) faulty() bool { return a.traces && !a.traced.Load() }

// prepare makes the request that the attempt sends. The caller's is not touched.
func (c *call) prepare(a *attempt) error {
	u := c.upstream
	if c.attempts > 1 && c.req.GetBody != nil {
		body, err := c.req.GetBody()
		if err != nil {
			return &bodyError{err}
		}
		a.carry(body)
	}
	a.url = u.address(c.req.URL)
	header, ctx := u.fields(c.req.Header, a.seat, c.abroad()), a.ctx
	if c.trace != nil {
		ctx, header = c.traceAttempt(ctx, a, header)
	}
	a.req = *c.req.WithContext(httptrace.WithClientTrace(ctx, &a.trace))
	if a.body != nil {
		a.req.Body = a.body
	}
	a.req.URL, a.req.Header = &a.url, header
	if u.base != nil {
		a.req.Host = "" // the upstream's own
	}
	return nil
}

// abroad says whether the call is at a fallback on another host. What
// authenticates the caller to the one is none of the other's business.
func (c *call) abroad() bool {
	return c.upstream.name != c.home.name && c.upstream.base.Host != c.home.base.Host
}

// fields returns the header of an attempt: without the door's own fields, and
// with the credential that the permit belongs to. bare says that the caller's
// own is not for this upstream. Values are shared with h.
func (u *upstream) fields(h http.Header, s *seat, bare bool) http.Header {
	_, maxWait := h[fieldMaxWait]
	_, cost := h[fieldCost]
	if !maxWait && !cost && !bare && len(u.credentials) == 0 && h != nil {
		return h
	}
	h = maps.Clone(h)
	if h == nil {
		h = make(http.Header)
	}
	delete(h, fieldMaxWait)
	delete(h, fieldCost)
	if bare || len(u.credentials) > 0 {
		for _, f := range credentialFields {
			delete(h, f)
		}
	}
	for i, key := range u.keys {
		if key.name == s.credential {
			h.Set(u.credentials[i].Header, u.credentials[i].Value.Reveal())
		}
	}
	return h
}

// requestBody is a request's body on its way to the upstream. It remembers
// what broke it off: that is the caller's fault.
type requestBody struct {
	io.ReadCloser
	closed atomic.Bool
	err    atomic.Pointer[error]
}

// Close closes the body once, however often it is called.
func (b *requestBody) Close() error {
	if b.closed.Swap(true) {
		return nil
	}
	return b.ReadCloser.Close()
}

func (b *requestBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF && !b.closed.Load() {
		why := err // its own, so that reads that go well take no memory
		b.err.CompareAndSwap(nil, &why)
	}
	return n, err
}

// broken returns what broke the body off, nil if nothing did.
func (b *requestBody) broken() error {
	if err := b.err.Load(); err != nil {
		return *err
	}
	return nil
}

// What io.NopCloser makes of a reader, and of one that is an io.WriterTo.
var (
	nopCloser         = reflect.TypeOf(io.NopCloser(nil))
	nopCloserWriterTo = reflect.TypeOf(io.NopCloser(new(bytes.Reader)))
)

// inMemory says whether a body lies in memory, as http.NewRequest makes them:
// reading it cannot fail, and Close does nothing. net/http looks for the same,
// and then sends head and body in one piece.
func inMemory(body io.ReadCloser) bool {
	if t := reflect.TypeOf(body); t != nopCloser && t != nopCloserWriterTo {
		return false
	}
	switch reflect.ValueOf(body).Field(0).Interface().(type) {
	case *bytes.Buffer, *bytes.Reader, *strings.Reader:
		return true
	}
	return false
}

// bodyError reports a request body that could not be read, or not once more.
type bodyError struct{ err error }

func (e *bodyError) Error() string { return fmt.Sprintf("read request body: %v", e.err) }
func (e *bodyError) Unwrap() error { return e.err }
