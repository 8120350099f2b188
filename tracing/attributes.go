package tracing

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"

	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/headgate/headgate"
)

// methods are those that spans may be named after (RFC 9110 and RFC 5789): others
// a caller can invent without end.
var methods = []string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
	http.MethodOptions, http.MethodTrace, http.MethodConnect,
}

// method is a request's, as the conventions want it recorded.
type method struct {
	name       string // of a span; "HTTP" if it is not a known one
	attributes []attribute.KeyValue
}

func methodOf(m string) method {
	if m == "" {
		m = http.MethodGet // as in http.Request
	}
	if slices.Contains(methods, m) {
		return method{m, []attribute.KeyValue{semconv.HTTPRequestMethodKey.String(m)}}
	}
	return method{"HTTP", []attribute.KeyValue{semconv.HTTPRequestMethodOther, semconv.HTTPRequestMethodOriginal(m)}}
}

func callAttributes(m method, c headgate.CallStarted) []attribute.KeyValue {
	all := append(m.attributes, attribute.String(UpstreamKey, c.Upstream))
	if c.Client != "" {
		all = append(all, attribute.String(ClientKey, c.Client))
	}
	return all
}

// endAttributes are those that a call has once it has ended. Its upstream may be
// another one than it began at.
func endAttributes(e headgate.CallEnded) []attribute.KeyValue {
	all := []attribute.KeyValue{
		attribute.String(UpstreamKey, e.Upstream),
		attribute.String(OutcomeKey, e.Outcome),
		attribute.Int(AttemptsKey, e.Attempts),
	}
	if e.Status != 0 {
		all = append(all, semconv.HTTPResponseStatusCode(e.Status))
	}
	if refused := (*headgate.RefusedError)(nil); errors.As(e.Err, &refused) && refused.Limit != "" {
		all = append(all, attribute.String(LimitKey, refused.Limit))
	}
	if e.Outcome != headgate.OutcomeOK && e.Outcome != headgate.OutcomeCancelled {
		all = append(all, semconv.ErrorTypeKey.String(e.Outcome))
	}
	return all
}

func waitAttributes(w headgate.WaitEnded) []attribute.KeyValue {
	all := []attribute.KeyValue{attribute.String(UpstreamKey, w.Upstream), attribute.String(WaitKey, w.For)}
	if w.Limit != "" {
		all = append(all, attribute.String(LimitKey, w.Limit))
	}
	return all
}

func attemptAttributes(m method, a headgate.AttemptStarted) []attribute.KeyValue {
	all := append(m.attributes,
		attribute.String(UpstreamKey, a.Upstream),
		semconv.ServerAddress(a.URL.Hostname()),
		semconv.ServerPort(portOf(a)),
		semconv.URLScheme(a.URL.Scheme),
	)
	if a.Attempt > 1 {
		all = append(all, semconv.HTTPRequestResendCount(a.Attempt-1))
	}
	return all
}

func portOf(a headgate.AttemptStarted) int {
	if port, err := strconv.Atoi(a.URL.Port()); err == nil {
		return port
	}
	if a.URL.Scheme == "https" {
		return 443
	}
	return 80
}

func answerAttributes(e headgate.AttemptEnded) []attribute.KeyValue {
	if e.Status == 0 {
		return nil
	}
	all := []attribute.KeyValue{
		semconv.HTTPResponseStatusCode(e.Status),
		attribute.String(ReadingKey, e.Reading.Class.String()),
	}
	if e.Status >= 400 {
		all = append(all, semconv.ErrorTypeKey.String(strconv.Itoa(e.Status)))
	}
	return all
}

// errorType is the kind of an error, of which there are few.
func errorType(err error) attribute.KeyValue {
	kind := "connection"
	switch {
	case errors.Is(err, headgate.ErrAttemptTimeout), errors.Is(err, headgate.ErrIdleStream), errors.Is(err, context.DeadlineExceeded):
		kind = "timeout"
	}
	return semconv.ErrorTypeKey.String(kind)
}
