package headgate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"
)

// attempt is one HTTP exchange, from its permit to its last byte.
type attempt struct {
	desk    *desk
	seat    *seat
	grant   grant
	traces  bool // what sends it calls trace hooks
	started time.Time
	trace   httptrace.ClientTrace
	ctx     context.Context
	cancel  context.CancelCauseFunc
	body    *requestBody // nil without
	passed  bool         // its answer has gone to the caller

	traced    atomic.Bool // a trace hook was called
	connected atomic.Bool // the attempt has a connection: bytes may have left
}

// begin takes over the permit that was just granted.
func (c *call) begin() *attempt {
	a := &attempt{
		desk: c.upstream.desk, seat: c.waiter.seat, grant: c.waiter.grant,
		traces: c.upstream.traces, started: time.Now(),
	}
	a.ctx, a.cancel = context.WithCancelCause(c.req.Context())
	a.trace.GetConn = func(string) { a.traced.Store(true) }
	a.trace.GotConn = func(httptrace.GotConnInfo) { a.connected.Store(true) }
	a.trace.WroteRequest = func(info httptrace.WroteRequestInfo) {
		if info.Err == nil {
			a.desk.written(a.seat, a.grant)
		}
	}
	if c.attempts == 1 {
		a.body = newRequestBody(c.req.Body)
	}
	return a
}

// errNoAnswer is what becomes of a Base that breaks its contract.
var errNoAnswer = errors.New("no response and no error")

// send makes the attempt. It returns an answer or an error, never both.
func (c *call) send(a *attempt) (*http.Response, error) {
	u := c.upstream
	req, err := c.request(a)
	if err != nil {
		return nil, err
	}
	u.budget.attempt()
	intime := func() bool { return true }
	if d := time.Duration(u.timeout.Attempt); d > 0 {
		intime = time.AfterFunc(d, func() { a.cancel(ErrAttemptTimeout) }).Stop
	}
	resp, err := u.send.RoundTrip(req)
	if !intime() && err == nil {
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
	} else if broken := a.body.broken(); broken != nil {
		err = &bodyError{broken}
	}
	return nil, err
}

// sent says whether anything of a failed attempt can have reached the upstream.
func (a *attempt) sent() bool {
	return a.connected.Load() || !a.traced.Load() && !a.traces
}

// faulty says whether a failed attempt never came to ask for a connection: the
// request cannot be sent at all.
func (a *attempt) faulty() bool { return a.traces && !a.traced.Load() }

// request returns what the attempt sends. The caller's request is not touched.
func (c *call) request(a *attempt) (*http.Request, error) {
	u := c.upstream
	req := c.req.WithContext(httptrace.WithClientTrace(a.ctx, &a.trace))
	if c.attempts > 1 && c.req.GetBody != nil {
		body, err := c.req.GetBody()
		if err != nil {
			return nil, &bodyError{err}
		}
		a.body = newRequestBody(body)
	}
	if a.body != nil {
		req.Body = a.body
	}
	req.URL = u.address(c.req.URL)
	if u.base != nil {
		req.Host = "" // the upstream's own
	}
	req.Header = u.fields(c.req.Header, a.seat)
	return req, nil
}

// fields returns the header of an attempt: without the door's own fields, and
// with the credential that the permit belongs to.
func (u *upstream) fields(h http.Header, s *seat) http.Header {
	_, maxWait := h[fieldMaxWait]
	_, cost := h[fieldCost]
	if !maxWait && !cost && len(u.credentials) == 0 && h != nil {
		return h
	}
	h = h.Clone()
	if h == nil {
		h = make(http.Header)
	}
	delete(h, fieldMaxWait)
	delete(h, fieldCost)
	for i, key := range u.keys {
		if key == s.credential {
			for _, f := range credentialFields {
				delete(h, f)
			}
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

// newRequestBody returns nil for a body that is empty.
func newRequestBody(body io.ReadCloser) *requestBody {
	if body == nil || body == http.NoBody {
		return nil
	}
	return &requestBody{ReadCloser: body}
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
		b.err.CompareAndSwap(nil, &err)
	}
	return n, err
}

// broken returns what broke the body off; b may be nil.
func (b *requestBody) broken() error {
	if b != nil {
		if err := b.err.Load(); err != nil {
			return *err
		}
	}
	return nil
}

// bodyError reports a request body that could not be read, or not once more.
type bodyError struct{ err error }

func (e *bodyError) Error() string { return fmt.Sprintf("read request body: %v", e.err) }
func (e *bodyError) Unwrap() error { return e.err }
