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
	added := [...]string{strconv.Itoa(c.attempts), c.serverTiming()}
	resp.Header[fieldAttempts] = added[:1:1]
	if theirs := resp.Header[fieldServerTiming]; len(theirs) > 0 {
		resp.Header[fieldServerTiming] = append(theirs, added[1])
	} else {
		resp.Header[fieldServerTiming] = added[1:]
	}
	if r.Class == dialect.Throttled || r.Class == dialect.Overloaded {
		// The attempts are used up: SDKs must not start over.
		resp.Header[fieldShouldRetry] = []string{"false"}
	}
	resp.Request = c.req
	c.count(a, resp)
	a.passed = true
	b := &a.answer
	b.ReadCloser, b.call, b.attempt = resp.Body, c, a
	b.status, b.outcome = resp.StatusCode, r.Class.String()
	if resp.Body == http.NoBody {
		b.finish(nil)
		return resp
	}
	switched := resp.StatusCode == http.StatusSwitchingProtocols
	if switched || !c.unwatched {
		b.watch(switched)
	}
	resp.Body = b
	if w, ok := b.ReadCloser.(io.Writer); ok && switched {
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
	const tenth = time.Millisecond / 10
	n := int64(d.Round(tenth) / tenth)
	return append(strconv.AppendInt(b, n/10, 10), '.', byte('0'+n%10))
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
	b.finish(b.call.cause())
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
	if err == io.EOF {
		err = nil
	}
	now := b.attempt.end(err)
	switch {
	case err == nil:
		b.call.ended(now, b.outcome, b.status, nil)
	case b.call.cause() != nil:
		b.call.ended(now, OutcomeCancelled, b.status, b.call.cause())
	default:
		b.call.ended(now, OutcomeOverloaded, b.status, err)
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
		a.watched = watchedBody{ReadCloser: resp.Body, attempt: a, idle: idle}
		resp.Body = &a.watched
	}
}

// watchedBody is a body each of whose reads must end in time. A caller that
// takes its time between them is not the upstream's fault.
type watchedBody struct {
	io.ReadCloser
	attempt *attempt
	idle    time.Duration
}

func (b *watchedBody) Read(p []byte) (int, error) {
	b.attempt.arm(b.idle)
	n, err := b.ReadCloser.Read(p)
	b.attempt.disarm()
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
	a.end(nil)
}

// end gives back what the attempt still holds, frees its context, and returns
// the moment. err is what broke its answer off. A second end does nothing.
func (a *attempt) end(err error) (now time.Time) {
	if a.over {
		now = time.Now()
	} else {
		now = a.desk.end(a.seat, a.grant)
	}
	a.cancel(nil)
	if a.follows != nil {
		a.follows.Ended(err)
	}
	return now
}
