package tracing

import (
	"context"
	"errors"
	"unicode/utf8"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/headgate/headgate"
)

// call is a call's span.
type call struct {
	tracer *tracer
	ctx    context.Context // with the span
	span   trace.Span
}

// WaitEnded is as in headgate.CallTrace.
func (c *call) WaitEnded(w headgate.WaitEnded) {
	if !c.span.IsRecording() {
		return
	}
	_, span := c.tracer.spans.Start(c.ctx, "wait for "+w.For, trace.WithTimestamp(w.From), trace.WithAttributes(waitAttributes(w)...))
	if w.Err != nil {
		fail(span, w.Err.Error())
	}
	span.End(trace.WithTimestamp(w.To))
}

// TraceAttempt is as in headgate.CallTrace. The attempt's context is not the
// call's: it is that of its request, which ends sooner. An attempt of a call that
// is not recorded is not either: the upstream is told so.
func (c *call) TraceAttempt(ctx context.Context, a headgate.AttemptStarted) (context.Context, headgate.AttemptTrace) {
	if !c.span.IsRecording() {
		c.tracer.inject(c.ctx, a.Header)
		return trace.ContextWithSpan(ctx, c.span), unrecorded{}
	}
	method := methodOf(a.Method)
	spanned, span := c.tracer.spans.Start(c.ctx, method.name,
		trace.WithTimestamp(a.At), trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(attemptAttributes(method, a)...))
	c.tracer.inject(spanned, a.Header)
	return trace.ContextWithSpan(ctx, span), &attempt{span: span}
}

// Ended is as in headgate.CallTrace. A caller that has gone away is no fault.
func (c *call) Ended(e headgate.CallEnded) {
	defer c.span.End()
	if !c.span.IsRecording() {
		return
	}
	c.span.SetAttributes(endAttributes(e)...)
	switch {
	case e.Outcome == headgate.OutcomeOK || e.Outcome == headgate.OutcomeCancelled:
	case e.Err != nil:
		fail(c.span, e.Err.Error())
	default:
		fail(c.span, e.Outcome)
	}
}

// unrecorded is an attempt without a span.
type unrecorded struct{}

// Answered does nothing.
func (unrecorded) Answered(headgate.AttemptEnded) {}

// Ended does nothing.
func (unrecorded) Ended(error) {}

// attempt is an attempt's span.
type attempt struct {
	span trace.Span
}

// Answered is as in headgate.AttemptTrace.
func (a *attempt) Answered(e headgate.AttemptEnded) {
	if !a.span.IsRecording() {
		return
	}
	a.span.SetAttributes(answerAttributes(e)...)
	switch {
	case e.Err != nil:
		a.broken(e.Err)
	case e.Status >= 400 || e.Reading.Class.String() != headgate.OutcomeOK:
		fail(a.span, e.Reading.Why())
	}
}

// Ended is as in headgate.AttemptTrace.
func (a *attempt) Ended(err error) {
	if err != nil && a.span.IsRecording() {
		a.broken(err)
	}
	a.span.End()
}

// broken notes what ended the attempt early. That its caller has gone away is no
// fault.
func (a *attempt) broken(err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	a.span.SetAttributes(errorType(err))
	fail(a.span, err.Error())
}

// fail gives a span the status of an error. The text may be an upstream's: it is
// bounded.
func fail(span trace.Span, why string) {
	const most = 256 // bytes
	if len(why) > most {
		end := most
		for end > 0 && !utf8.RuneStart(why[end]) {
			end--
		}
		why = why[:end] + "…"
	}
	span.SetStatus(codes.Error, why)
}
