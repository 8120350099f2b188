package telemetry

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
)

func TestTracesAreMadeIfTheEnvironmentAsksForThem(t *testing.T) {
	endpoint := "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1"
	for _, c := range []struct {
		env    []string
		want   bool
		warned string
	}{
		{nil, false, ""},
		{[]string{endpoint}, true, ""},
		{[]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://127.0.0.1:1"}, true, ""},
		{[]string{"OTEL_TRACES_EXPORTER=otlp"}, true, ""},
		{[]string{endpoint, "OTEL_TRACES_EXPORTER=none"}, false, ""},
		{[]string{endpoint, "OTEL_SDK_DISABLED=true"}, false, ""},
		{[]string{endpoint, "OTEL_SDK_DISABLED=TRUE"}, false, ""},
		{[]string{endpoint, "OTEL_SDK_DISABLED=1"}, true, ""}, // only "true" is, says the specification
		{[]string{endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL=grpc"}, true, ""},
		{[]string{endpoint, "OTEL_TRACES_EXPORTER=console"}, true, "variable=OTEL_TRACES_EXPORTER value=console"},
		{[]string{"OTEL_TRACES_EXPORTER=console"}, false, "variable=OTEL_TRACES_EXPORTER value=console"},
		{[]string{endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL=http/json"}, true, "variable=OTEL_EXPORTER_OTLP_TRACES_PROTOCOL value=http/json"},
		{[]string{endpoint, "OTEL_PROPAGATORS=tracecontext,b3"}, true, "variable=OTEL_PROPAGATORS value=b3"},
	} {
		var out bytes.Buffer
		traces, err := OpenTraces(t.Context(), environment(c.env), slog.New(slog.NewTextHandler(&out, nil)), "test")
		if err != nil {
			t.Fatalf("%q: %v", c.env, err)
		}
		if (traces != nil) != c.want || (traces.Tracer() != nil) != c.want {
			t.Errorf("%q: traces are made: %t, want %t", c.env, traces != nil, c.want)
		}
		if got := out.String(); !strings.Contains(got, c.warned) || c.warned == "" && got != "" {
			t.Errorf("%q: logged %q, want %q", c.env, got, c.warned)
		}
		if err := traces.Close(t.Context()); err != nil {
			t.Errorf("%q: %v", c.env, err)
		}
	}
}

func TestPropagatorsAreThoseOfTheEnvironment(t *testing.T) {
	for value, want := range map[string][]string{
		"":                      {"traceparent", "tracestate", "baggage"},
		"baggage":               {"baggage"},
		"tracecontext, baggage": {"traceparent", "tracestate", "baggage"},
		"none":                  nil,
	} {
		got := newPropagator(environment([]string{"OTEL_PROPAGATORS=" + value}), slog.New(slog.NewTextHandler(io.Discard, nil))).Fields()
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("OTEL_PROPAGATORS=%q: fields %q, want %q", value, got, want)
		}
	}
}

// While a collector is away the SDK complains every few seconds.
func TestExportFaultsAreToldOnceAMinute(t *testing.T) {
	var out bytes.Buffer
	f := &exportFaults{log: slog.New(slog.NewTextHandler(&out, nil))}
	for range 100 {
		f.Handle(errors.New("connection refused"))
	}
	if got := strings.Count(out.String(), "\n"); got != 1 {
		t.Errorf("%d lines for 100 faults at once, want 1:\n%s", got, &out)
	}
}

func environment(variables []string) Getenv {
	return func(name string) string {
		for _, v := range variables {
			if value, ok := strings.CutPrefix(v, name+"="); ok {
				return value
			}
		}
		return ""
	}
}
