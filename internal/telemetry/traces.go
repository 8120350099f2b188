package telemetry

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/headgate/headgate"
	"github.com/headgate/headgate/tracing"
)

// Traces are the spans of a process on their way to a collector.
type Traces struct {
	provider   *sdk.TracerProvider
	propagator propagation.TextMapPropagator
	version    string
}

// Getenv returns a variable of the environment, "" if it is not set.
type Getenv func(name string) string

// OpenTraces returns the traces that the OTEL_* variables of the OpenTelemetry
// specification ask for; nil if they ask for none:
//
//   - OTEL_SDK_DISABLED is true, or
//   - OTEL_TRACES_EXPORTER is none, or
//   - it is not set, and neither is OTEL_EXPORTER_OTLP_ENDPOINT or
//     OTEL_EXPORTER_OTLP_TRACES_ENDPOINT.
//
// The exporter, the batches and the sampler read theirs (OTEL_EXPORTER_OTLP_*,
// OTEL_BSP_*, OTEL_TRACES_SAMPLER…) from the environment themselves. A value that
// is not understood is told to log and ignored, as the specification asks; so are
// spans that cannot be delivered, once a minute at most. What is told is told to
// log for the whole process.
func OpenTraces(ctx context.Context, getenv Getenv, log *slog.Logger, version string) (*Traces, error) {
	if !tracesWanted(getenv, log) {
		return nil, nil
	}
	otel.SetErrorHandler(&exportFaults{log: log})
	exporter, err := newExporter(ctx, getenv, log)
	if err != nil {
		return nil, fmt.Errorf("open the exporter of traces: %w", err)
	}
	about, err := resource.New(ctx,
		resource.WithTelemetrySDK(),
		resource.WithHost(),
		resource.WithAttributes(semconv.ServiceName("headgate"), semconv.ServiceVersion(version)),
		resource.WithFromEnv(), // OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win
	)
	if err != nil {
		log.Warn("some of what traces say of the process is missing", "error", clip(err.Error()))
	}
	return &Traces{
		provider:   sdk.NewTracerProvider(sdk.WithBatcher(exporter), sdk.WithResource(about)),
		propagator: newPropagator(getenv, log),
		version:    version,
	}, nil
}

// Tracer returns what follows the calls of a gateway's gate; nil if t is nil.
func (t *Traces) Tracer() headgate.Tracer {
	if t == nil {
		return nil
	}
	return tracing.New(t.provider, tracing.Options{Propagator: t.propagator, Kind: trace.SpanKindServer, Version: t.version})
}

// Close delivers what has not been delivered yet, until ctx ends. t may be nil.
func (t *Traces) Close(ctx context.Context) error {
	if t == nil {
		return nil
	}
	if err := t.provider.Shutdown(ctx); err != nil {
		return fmt.Errorf("deliver the last traces: %w", err)
	}
	return nil
}

// What variables are ignored with, as the log says it.
const ignored = "variable is not understood, and ignored"

func tracesWanted(getenv Getenv, log *slog.Logger) bool {
	const variable = "OTEL_TRACES_EXPORTER"
	if strings.EqualFold(getenv("OTEL_SDK_DISABLED"), "true") {
		return false
	}
	switch v := getenv(variable); v {
	case "otlp":
		return true
	case "none":
		return false
	default:
		log.Warn(ignored, "variable", variable, "value", clip(v), "want", "otlp or none")
		fallthrough
	case "":
		return getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "" || getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") != ""
	}
}

// newExporter returns an exporter that has connected to nothing yet.
func newExporter(ctx context.Context, getenv Getenv, log *slog.Logger) (*otlptrace.Exporter, error) {
	const general, own = "OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"
	switch v := cmp.Or(getenv(own), getenv(general)); v {
	case "grpc":
		return otlptracegrpc.New(ctx)
	default:
		log.Warn(ignored, "variable", own, "value", clip(v), "want", "http/protobuf or grpc")
		fallthrough
	case "", "http/protobuf":
		return otlptracehttp.New(ctx)
	}
}

// newPropagator reads OTEL_PROPAGATORS.
func newPropagator(getenv Getenv, log *slog.Logger) propagation.TextMapPropagator {
	const variable = "OTEL_PROPAGATORS"
	var all []propagation.TextMapPropagator
	for name := range strings.SplitSeq(cmp.Or(getenv(variable), "tracecontext,baggage"), ",") {
		switch name = strings.TrimSpace(name); name {
		case "tracecontext":
			all = append(all, propagation.TraceContext{})
		case "baggage":
			all = append(all, propagation.Baggage{})
		case "none", "":
		default:
			log.Warn(ignored, "variable", variable, "value", clip(name), "want", "tracecontext, baggage or none")
		}
	}
	return propagation.NewCompositeTextMapPropagator(all...)
}

// exportFaults logs what the OpenTelemetry SDK has to complain of. While a
// collector is away that is something every few seconds.
type exportFaults struct {
	log *slog.Logger

	mu    sync.Mutex
	last  time.Time
	quiet int // faults since, that were not told
}

// Handle is as in otel.ErrorHandler.
func (f *exportFaults) Handle(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now := time.Now(); now.Sub(f.last) >= time.Minute {
		f.log.Warn("traces are lost", "error", clip(err.Error()), "more", f.quiet)
		f.last, f.quiet = now, 0
		return
	}
	f.quiet++
}
