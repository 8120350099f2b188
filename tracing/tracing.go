// Package tracing makes OpenTelemetry spans of the calls that go through a gate:
// one for each call, and below it one for each wait and each attempt.
//
//	gate, err := headgate.Open(ctx, cfg, headgate.WithTracer(tracing.New(provider, tracing.Options{})))
//
// A call's span is a child of the one in its request's context or, if there is
// none, of the one that the request's header names (W3C Trace Context). The
// upstream is sent the span of the attempt, so that what it records stands below
// that.
//
// Attributes follow the semantic conventions for HTTP. Of a URL only scheme, host
// and port are recorded: some APIs take credentials in the path or the query.
// Neither header fields nor bodies are. What becomes of spans, and which are kept,
// is the provider's business.
package tracing

import (
	"cmp"
	"context"
	"net/http"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/headgate/headgate"
)

// Attributes that no convention has a name for.
const (
	UpstreamKey = "headgate.upstream" // of every span
	ClientKey   = "headgate.client"   // of a call's; not there if it has no name
	OutcomeKey  = "headgate.outcome"  // of a call's, as headgate.CallEnded has it
	AttemptsKey = "headgate.attempts" // of a call's: how many were made
	ReadingKey  = "headgate.reading"  // of an attempt's: ok, throttled, overloaded or fatal
	LimitKey    = "headgate.limit"    // of a wait's or a refused call's: the limit that held it back
	WaitKey     = "headgate.wait"     // of a wait's: permit or backoff
)

// Options of New. The zero value is for a library.
type Options struct {
	// Propagator reads and writes what crosses processes; nil: W3C Trace Context
	// and Baggage.
	Propagator propagation.TextMapPropagator

	// Kind is that of calls; 0: internal. Those of a gateway are
	// trace.SpanKindServer.
	Kind trace.SpanKind

	// Version is that of the instrumented program, for the scope of its spans.
	Version string
}

// Scope is the instrumentation scope of all spans.
const Scope = "github.com/headgate/headgate"

// New returns a tracer whose spans are made by p, for headgate.WithTracer.
func New(p trace.TracerProvider, o Options) headgate.Tracer {
	if o.Propagator == nil {
		o.Propagator = propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{})
	}
	return &tracer{
		spans:      p.Tracer(Scope, trace.WithInstrumentationVersion(o.Version)),
		propagator: o.Propagator,
		kind:       cmp.Or(o.Kind, trace.SpanKindInternal),
	}
}

type tracer struct {
	spans      trace.Tracer
	propagator propagation.TextMapPropagator
	kind       trace.SpanKind
}

// TraceCall is as in headgate.Tracer.
func (t *tracer) TraceCall(req *http.Request, c headgate.CallStarted) headgate.CallTrace {
	ctx := req.Context()
	if !trace.SpanContextFromContext(ctx).IsValid() {
		ctx = t.propagator.Extract(ctx, propagation.HeaderCarrier(req.Header))
	}
	method := methodOf(req.Method)
	ctx, span := t.spans.Start(ctx, method.name+" "+c.Upstream,
		trace.WithTimestamp(c.At), trace.WithSpanKind(t.kind), trace.WithAttributes(callAttributes(method, c)...))
	return &call{tracer: t, ctx: ctx, span: span}
}

// inject has h say which span the upstream's are below. What the caller said of
// that goes, even if it was malformed; of baggage nothing does.
func (t *tracer) inject(ctx context.Context, h http.Header) {
	for _, field := range t.propagator.Fields() {
		if field != "baggage" {
			h.Del(field)
		}
	}
	t.propagator.Inject(ctx, propagation.HeaderCarrier(h))
}
