package headgate

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/headgate/headgate/internal/dialect"
)

// Fields that the door adds to an answer.
const (
	fieldAttempts     = "Headgate-Attempts"
	fieldServerTiming = "Server-Timing"
	fieldShouldRetry  = "X-Should-Retry"
)

// pass hands an answer to the caller. The permit lives on until its body has
// been read or closed, or the caller has gone.
func (c *call) pass(a *attempt, resp *http.Response, r dialect.Reading) *http.Response {
	if resp.Header == nil {
		resp.Header = make(http.Header)
	}
	resp.Header[fieldAttempts] = []string{strconv.Itoa(c.attempts)}
	resp.Header[fieldServerTiming] = append(resp.Header[fieldServerTiming], c.serverTiming())
	if r.Class == dialect.Throttled || r.Class == dialect.Overloaded {
		// The attempts are used up: SDKs must not start over.
		resp.Header[fieldShouldRetry] = []string{"false"}
	}
	resp.Request = c.req
	a.passed = true
	b := &body{ReadCloser: resp.Body, call: c, attempt: a, status: resp.StatusCode, outcome: r.Class.String()}
	if resp.Body == http.NoBody {
		b.finish(nil)
		return resp
	}
	b.watch(resp.StatusCode == http.StatusSwitchingProtocols)
	resp.Body = b
	if w, ok := b.ReadCloser.(io.Writer); ok && resp.StatusCode == http.StatusSwitchingProtocols {
		resp.Body = duplexBody{b, w}
	}
	return resp
}

// serverTiming says where the time went, in milliseconds (W3C Server Timing).
func (c *call) serverTiming() string {
	b := make([]byte, 0, 48)
	b = append(b, "line;dur="...)
	b = appendMillis(b, c.waited)
	b = append(b, ", upstream;dur="...)
	b = appendMillis(b, c.upstreamTime)
	return string(b)
}

func appendMillis(b []byte, d time.Duration) []byte {
	return strconv.AppendFloat(b, float64(d)/float64(time.Millisecond), 'f', 1, 64)
}

// body is the body of an answer that is on its way to the caller. The attempt
// ends with its last byte, with Close, or when the caller's context ends:
// exactly once.
type body struct {
	io.ReadCloser
	call    *call
	attempt *attempt
	status  int
	outcome string

	mu struct {
		sync.Mutex
		ended  bool
		forget func() bool // the caller's context; nil without
	}
}

// watch ends the attempt when the caller goes, even if nobody reads or closes
// the body. A connection that has switched protocols knows no context any
// more: it is closed.
func (b *body) watch(switched bool) {
	ctx := b.call.req.Context()
	if ctx.Done() == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mu.forget = context.AfterFunc(ctx, func() {
		if switched {
			b.ReadCloser.Close()
		}
		b.finish(context.Cause(ctx))
	})
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.finish(err)
	}
	return n, err
}

func (b *body) Close() error {
	err := b.ReadCloser.Close()
	b.finish(nil)
	return err
}

// finish ends the attempt and the call.
func (b *body) finish(err error) {
	b.mu.Lock()
	ended, forget := b.mu.ended, b.mu.forget
	b.mu.ended = true
	b.mu.Unlock()
	if ended {
		return
	}
	if forget != nil {
		forget()
	}
	b.attempt.end()
	switch {
	case err == nil || err == io.EOF:
		b.call.ended(b.outcome, b.status, nil)
	case b.call.cause() != nil:
		b.call.ended(OutcomeCancelled, b.status, b.call.cause())
	default:
		b.call.ended(OutcomeOverloaded, b.status, err)
	}
}

// duplexBody is the body of a switched protocol: it is written to as well.
type duplexBody struct {
	*body
	io.Writer
}

// CloseWrite ends the direction to the upstream, if its connection can.
func (b duplexBody) CloseWrite() error {
	if half, ok := b.Writer.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// watch gives up the body of an answer when no byte of it comes for too long.
// A switched protocol is silent as long as it likes.
func (a *attempt) watch(resp *http.Response, idle time.Duration) {
	if resp.Body == nil {
		resp.Body = http.NoBody
	}
	if idle > 0 && resp.Body != http.NoBody && resp.StatusCode != http.StatusSwitchingProtocols {
		resp.Body = &watchedBody{ReadCloser: resp.Body, attempt: a, idle: idle}
	}
}

// watchedBody is a body each of whose reads must end in time. A caller that
// takes its time between them is not the upstream's fault.
type watchedBody struct {
	io.ReadCloser
	attempt *attempt
	idle    time.Duration
	timer   *time.Timer // made by the first read
}

func (b *watchedBody) Read(p []byte) (int, error) {
	if b.timer == nil {
		b.timer = time.AfterFunc(b.idle, func() { b.attempt.cancel(ErrIdleStream) })
	} else {
		b.timer.Reset(b.idle)
	}
	n, err := b.ReadCloser.Read(p)
	b.timer.Stop()
	if err != nil && err != io.EOF {
		if cause := context.Cause(b.attempt.ctx); cause != nil {
			err = cause // rather than what the connection made of it
		}
	}
	return n, err
}

// Bounds on reading an answer that is not passed on, so that its connection
// can be used again. Beyond them another connection is cheaper.
const (
	drainMost = 64 << 10
	drainFor  = 50 * time.Millisecond
)

var errDrained = errors.New("answer is not passed on")

// drop lets go of an attempt whose answer, if there is one, is not passed on.
func (a *attempt) drop(resp *http.Response) {
	if a.body != nil {
		defer a.body.Close()
	}
	if resp == nil {
		a.desk.failed(a.seat, a.grant, a.sent(), true) // nothing new, unless what sends has panicked
	}
	if resp != nil && resp.Body != nil {
		if resp.ContentLength <= drainMost {
			timer := time.AfterFunc(drainFor, func() { a.cancel(errDrained) })
			io.CopyN(io.Discard, resp.Body, drainMost)
			timer.Stop()
		}
		resp.Body.Close()
	}
	a.end()
}

// end gives back what the attempt still holds, and frees its context. A second
// end does nothing.
func (a *attempt) end() {
	a.desk.end(a.seat, a.grant)
	a.cancel(nil)
}

// ended tells how the call ended.
func (c *call) ended(outcome string, status int, err error) {
	c.gate.events.callEnded(CallEnded{
		Upstream: c.upstream.name, Client: c.caller.Name, Outcome: outcome,
		Attempts: c.attempts, Status: status, Waited: c.waited, Took: time.Since(c.entered), Err: err,
	})
}

// tellRetry tells that the call gets another attempt.
func (c *call) tellRetry(resp *http.Response, d decision) {
	if c.gate.events.Retried == nil {
		return
	}
	r := Retried{
		Upstream: c.upstream.name, Client: c.caller.Name,
		Attempt: c.tried, Of: c.upstream.policy.Attempts,
		Delay: max(time.Until(d.at), 0), Reason: d.reason,
	}
	if resp != nil {
		r.Status = resp.StatusCode
		r.RetryAfter = resp.Header.Get("Retry-After")
		for _, field := range requestIDFields {
			if r.RequestID = resp.Header.Get(field); r.RequestID != "" {
				break
			}
		}
	}
	c.gate.events.Retried(r)
}

// requestIDFields are where upstreams name an attempt.
var requestIDFields = []string{"X-Request-Id", "Request-Id", "X-Amzn-Requestid", "X-Github-Request-Id", "Apim-Request-Id", "Cf-Ray"}
