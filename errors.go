package headgate

import (
	"errors"
	"fmt"
	"time"
)

// Why a call was not sent. Errors of this package are compared with errors.Is.
var (
	ErrLineFull        = errors.New("waiting line is full")             // our own backpressure
	ErrDeadline        = errors.New("no permit before deadline")        // said at once when known
	ErrBreakerOpen     = errors.New("circuit breaker is open")          // the upstream is being left alone
	ErrTooHeavy        = errors.New("cost is above the limit")          // can never be sent
	ErrUnknownUpstream = errors.New("unknown upstream")                 // the gate has none of that name
	ErrClosed          = errors.New("gate is closed")                   // after Close
	ErrStoreLost       = errors.New("the store of the quotas is lost")  // and on_store_loss is fail
	ErrAttemptTimeout  = errors.New("no answer within timeout.attempt") // the attempt was given up
	ErrIdleStream      = errors.New("no byte within timeout.idle_stream")
)

// RefusedError reports a call that was not sent. Err says why; compare it
// with errors.Is.
type RefusedError struct {
	Upstream string
	Limit    string    // the limit that refused, as configured; "" if none did
	RetryAt  time.Time // when a permit may be had; zero if unknown
	Err      error     // ErrLineFull, ErrDeadline, ErrBreakerOpen, ErrTooHeavy or ErrStoreLost
}

func (e *RefusedError) Error() string {
	s := fmt.Sprintf("upstream %s: %v", e.Upstream, e.Err)
	if e.Limit != "" {
		s += " (" + e.Limit + ")"
	}
	return s
}

func (e *RefusedError) Unwrap() error { return e.Err }

// UnreachableError reports a call whose every attempt failed below HTTP.
type UnreachableError struct {
	Upstream string
	Attempts int
	Err      error // of the last attempt
}

func (e *UnreachableError) Error() string {
	return fmt.Sprintf("upstream %s: unreachable after %d attempts: %v", e.Upstream, e.Attempts, e.Err)
}

func (e *UnreachableError) Unwrap() error { return e.Err }
