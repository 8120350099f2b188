package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/headgate/headgate"
	"github.com/headgate/headgate/internal/job"
)

const problemType = "https://headgate.dev/problems/" // and a name

var (
	errUnauthorized = errors.New("no client key, or an unknown one")
	errForbidden    = errors.New("this client may not call this upstream")
	errBodyTooLarge = errors.New("the request body is too large")
	errBodyBroken   = errors.New("the request body broke off")
)

func tooLarge(bound int64) error {
	return fmt.Errorf("%w: at most %d bytes", errBodyTooLarge, bound)
}

// problems says how errors are answered. The first row that matches counts:
// what the caller did comes before what it led to further down.
var problems = []struct {
	is     error
	status int
	name   string
	title  string
}{
	{errBadRequest, http.StatusBadRequest, "bad-request", "Bad request"},
	{errBodyBroken, http.StatusBadRequest, "bad-request", "Bad request"},
	{errMethod, http.StatusMethodNotAllowed, "method-not-allowed", "Method not allowed"},
	{errUnauthorized, http.StatusUnauthorized, "unauthorized", "Unauthorized"},
	{errForbidden, http.StatusForbidden, "forbidden", "Forbidden"},
	{headgate.ErrUnknownUpstream, http.StatusNotFound, "unknown-upstream", "Unknown upstream"},
	{errBodyTooLarge, http.StatusRequestEntityTooLarge, "body-too-large", "Request body too large"},
	{job.ErrNotFound, http.StatusNotFound, "unknown-job", "Unknown job"},
	{errNoSuchPart, http.StatusNotFound, "not-found", "Not found"},
	{job.ErrNoResponse, http.StatusNotFound, "no-response", "No response"},
	{job.ErrNotEnded, http.StatusConflict, "job-not-ended", "Job has not ended"},
	{job.ErrEnded, http.StatusConflict, "job-ended", "Job has ended"},
	{job.ErrOtherCall, http.StatusUnprocessableEntity, "idempotency-mismatch", "Idempotency-Key of another request"},
	{errClientLimit, http.StatusTooManyRequests, "client-limit", "Client limit reached"},
	{headgate.ErrTooHeavy, http.StatusBadRequest, "too-heavy", "Cost above the limit"},
	{errShuttingDown, http.StatusServiceUnavailable, "shutting-down", "Shutting down"},
	{headgate.ErrClosed, http.StatusServiceUnavailable, "shutting-down", "Shutting down"},
	{job.ErrFull, http.StatusServiceUnavailable, "jobs-unavailable", "Jobs cannot be stored"},
	{job.ErrUnavailable, http.StatusServiceUnavailable, "jobs-unavailable", "Job store away"},
	{errJobFailed, http.StatusBadGateway, "job-failed", "Job ended without an answer"},
	{headgate.ErrLineFull, http.StatusTooManyRequests, "line-full", "Waiting line full"},
	{headgate.ErrBreakerOpen, http.StatusServiceUnavailable, "breaker-open", "Circuit breaker open"},
	{headgate.ErrStoreLost, http.StatusServiceUnavailable, "store-lost", "Store of the quotas lost"},
	{headgate.ErrDeadline, http.StatusGatewayTimeout, "deadline", "Deadline out of reach"},
	{errAny, http.StatusBadGateway, "unreachable", "Upstream unreachable"},
}

var errAny = errors.New("any other error")

// problem is an answer of the gateway's own (RFC 9457).
type problem struct {
	Type     string     `json:"type"`
	Title    string     `json:"title"`
	Status   int        `json:"status"`
	Detail   string     `json:"detail"`
	Upstream string     `json:"upstream,omitempty"`
	Limit    string     `json:"limit,omitempty"`    // the limit that refused, as configured
	RetryAt  *time.Time `json:"retry_at,omitempty"` // when a permit may be had
}

// newProblem describes an error to the caller.
func newProblem(err error) problem {
	p := problem{Detail: err.Error()}
	for _, row := range problems {
		if errors.Is(err, row.is) || row.is == errAny {
			p.Type, p.Title, p.Status = problemType+row.name, row.title, row.status
			break
		}
	}
	var refused *headgate.RefusedError
	if errors.As(err, &refused) {
		p.Upstream, p.Limit = refused.Upstream, refused.Limit
		if !refused.RetryAt.IsZero() {
			at := refused.RetryAt.UTC().Round(time.Millisecond)
			p.RetryAt = &at
		}
		if p.Upstream == "" { // a client's limit: RefusedError words it for upstreams
			p.Detail = fmt.Sprintf("%v (%s)", refused.Err, refused.Limit)
		}
	}
	return p
}

// fail answers the call with a problem. If the caller has gone there is nobody
// to answer, and the connection is let go.
func (c *call) fail(err error) {
	ctx := c.in.Context()
	if ctx.Err() != nil && !errors.Is(context.Cause(ctx), errShuttingDown) {
		panic(http.ErrAbortHandler)
	}
	p := newProblem(err)
	if c.route != nil {
		p.Upstream = c.route.upstream
	}
	h := c.w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	c.addQuota(h)
	switch p.Status {
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", "Bearer")
	case http.StatusMethodNotAllowed:
		if refused, ok := errors.AsType[*methodError](err); ok {
			h.Set("Allow", refused.allow)
		}
	}
	if s, ok := retryAfter(err, p, time.Now()); ok {
		h.Set("Retry-After", strconv.FormatInt(s, 10))
	}
	text, _ := json.Marshal(p) // strings and a time: it cannot fail
	h.Set("Content-Length", strconv.Itoa(len(text)))
	c.w.WriteHeader(p.Status)
	c.w.Write(text) // a caller who has gone meanwhile
}

// retryAfter returns the seconds after which to come back, if waiting helps
// and the moment is known. A client's own limit always says something: a call
// in flight that stands in the way may end at any time. So may a job, and a store
// that is away may be back.
func retryAfter(err error, p problem, now time.Time) (seconds int64, ok bool) {
	switch {
	case p.RetryAt != nil:
		return wholeSeconds(p.RetryAt.Sub(now)), true
	case errors.Is(err, errClientLimit), errors.Is(err, job.ErrNotEnded), errors.Is(err, job.ErrUnavailable):
		return 1, true
	case errors.Is(err, job.ErrFull): // somebody has to make room, or the retention does
		return 60, true
	}
	return 0, false
}

// addQuota adds the RateLimit fields of a client with limits, in place of the
// upstream's, which speak of a quota that is not the client's.
func (c *call) addQuota(h http.Header) {
	if c.client == nil || c.client.limits == nil {
		return
	}
	if c.quota == "" {
		c.quota = c.client.limits.field(time.Now())
	}
	h["Ratelimit-Policy"] = []string{c.client.limits.policy}
	h["Ratelimit"] = []string{c.quota}
}
