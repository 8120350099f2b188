package tracing_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/headgate/headgate"
	"github.com/headgate/headgate/config"
	"github.com/headgate/headgate/tracing"
)

// What a caller sent, of the W3C's own examples.
const (
	callersTrace = "4bf92f3577b34da6a3ce929d0e0e4736"
	callersSpan  = "00f067aa0ba902b7"
	callersState = "congo=t61rcWkgMzE"
)

// rig is a traced transport in front of an upstream that answers with statuses
// in turn, and then with the last of them.
type rig struct {
	spans    *tracetest.SpanRecorder
	provider *sdk.TracerProvider
	upstream *httptest.Server
	client   *http.Client
	received []http.Header
}

func newRig(t *testing.T, o tracing.Options, sampler sdk.Sampler, statuses ...int) *rig {
	t.Helper()
	r := &rig{spans: tracetest.NewSpanRecorder()}
	r.provider = sdk.NewTracerProvider(sdk.WithSpanProcessor(r.spans), sdk.WithSampler(sampler))
	var n atomic.Int32
	r.upstream = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.received = append(r.received, req.Header.Clone()) // one at a time, read afterwards
		w.WriteHeader(statuses[min(int(n.Add(1)), len(statuses))-1])
		fmt.Fprint(w, "answer")
	}))
	t.Cleanup(r.upstream.Close)
	r.client = &http.Client{Transport: headgate.Transport(
		headgate.Limit("1/200ms"), headgate.Retry(config.Retry{Base: config.Duration(time.Millisecond), Jitter: "none", Budget: 1}),
		headgate.WithTracer(tracing.New(r.provider, o)))}
	return r
}

// call makes a call whose fields are in pairs, and reads the answer.
func (r *rig) call(t *testing.T, ctx context.Context, method string, fields ...string) {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, r.upstream.URL+"/v1/secret-path?key=secret-query", strings.NewReader("secret-body"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer secret-key")
	for i := 0; i < len(fields); i += 2 {
		req.Header.Set(fields[i], fields[i+1])
	}
	resp, err := r.client.Do(req)
	if err != nil {
		t.Log(err)
		return
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, resp.Body)
}

// named returns the spans of a name, in their order.
func (r *rig) named(name string) (all []sdk.ReadOnlySpan) {
	for _, s := range r.spans.Ended() {
		if s.Name() == name {
			all = append(all, s)
		}
	}
	return all
}

func attributes(s sdk.ReadOnlySpan) map[attribute.Key]string {
	all := map[attribute.Key]string{}
	for _, a := range s.Attributes() {
		all[a.Key] = a.Value.String()
	}
	return all
}

func TestCallsAndTheirAttemptsAreATree(t *testing.T) {
	r := newRig(t, tracing.Options{Kind: trace.SpanKindServer}, sdk.AlwaysSample(), 503, 200)
	r.call(t, t.Context(), "GET",
		"traceparent", "00-"+callersTrace+"-"+callersSpan+"-01", "tracestate", callersState, "baggage", "user=7")

	calls, attempts := r.named("GET default"), r.named("GET")
	if len(calls) != 1 || len(attempts) != 2 {
		t.Fatalf("%d spans of calls and %d of attempts, want 1 and 2:\n%v", len(calls), len(attempts), r.spans.Ended())
	}
	call := calls[0]
	if p := call.Parent(); p.TraceID().String() != callersTrace || p.SpanID().String() != callersSpan || !p.IsRemote() {
		t.Errorf("the call's parent is %v, want the caller's span", p)
	}
	for _, s := range r.spans.Ended() {
		if s != call && s.Parent().SpanID() != call.SpanContext().SpanID() {
			t.Errorf("%s has the parent %v, want the call", s.Name(), s.Parent().SpanID())
		}
		if s.EndTime().Before(s.StartTime()) || s.StartTime().Before(call.StartTime()) || s.EndTime().After(call.EndTime()) {
			t.Errorf("%s lasts from %v to %v, outside of the call's %v to %v", s.Name(), s.StartTime(), s.EndTime(), call.StartTime(), call.EndTime())
		}
	}
	for i, a := range attempts {
		want := "00-" + callersTrace + "-" + a.SpanContext().SpanID().String() + "-01"
		if got := r.received[i].Get("Traceparent"); got != want {
			t.Errorf("attempt %d was sent with traceparent %q, want its own, %q", i+1, got, want)
		}
		if got := r.received[i].Get("Tracestate"); got != callersState {
			t.Errorf("attempt %d was sent with tracestate %q, want %q", i+1, got, callersState)
		}
		if got := r.received[i].Get("Baggage"); got != "user=7" {
			t.Errorf("attempt %d was sent with baggage %q, want user=7", i+1, got)
		}
	}
	if call.SpanKind() != trace.SpanKindServer || attempts[0].SpanKind() != trace.SpanKindClient {
		t.Errorf("kinds are %v and %v, want server and client", call.SpanKind(), attempts[0].SpanKind())
	}
	if got := attempts[0].Status(); got.Code != codes.Error || !strings.Contains(got.Description, "503") {
		t.Errorf("status of the first attempt = %+v, want an error that names 503", got)
	}
	if got := attempts[1].Status().Code; got != codes.Unset {
		t.Errorf("status of the second attempt = %v, want none", got)
	}
	if got := call.Status().Code; got != codes.Unset {
		t.Errorf("status of the call = %v, want none: it ended well", got)
	}

	host, port, _ := strings.Cut(strings.TrimPrefix(r.upstream.URL, "http://"), ":")
	for name, c := range map[string]struct {
		span sdk.ReadOnlySpan
		want map[attribute.Key]string
	}{
		"call": {call, map[attribute.Key]string{
			"http.request.method": "GET", "headgate.upstream": "default", "headgate.outcome": "ok", "headgate.attempts": "2",
			"http.response.status_code": "200",
		}},
		"first": {attempts[0], map[attribute.Key]string{
			"http.request.method": "GET", "headgate.upstream": "default", "server.address": host, "server.port": port, "url.scheme": "http",
			"http.response.status_code": "503", "headgate.reading": "overloaded", "error.type": "503",
		}},
		"second": {attempts[1], map[attribute.Key]string{
			"http.request.method": "GET", "headgate.upstream": "default", "server.address": host, "server.port": port, "url.scheme": "http",
			"http.response.status_code": "200", "headgate.reading": "ok", "http.request.resend_count": "1",
		}},
		"backoff": {r.named("wait for backoff")[0], map[attribute.Key]string{"headgate.upstream": "default", "headgate.wait": "backoff"}},
		"line": {r.named("wait for permit")[0], map[attribute.Key]string{
			"headgate.upstream": "default", "headgate.wait": "permit", "headgate.limit": "1/200ms",
		}},
	} {
		if got := attributes(c.span); fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%s: attributes are\n%v, want\n%v", name, got, c.want)
		}
	}
}

func TestSpansHoldNothingSecret(t *testing.T) {
	r := newRig(t, tracing.Options{}, sdk.AlwaysSample(), 400)
	r.call(t, t.Context(), "POST", "Headgate-Max-Wait", "10s")
	r.upstream.Close()
	r.call(t, t.Context(), "POST")
	r.call(t, t.Context(), "SECRET-METHOD", "Headgate-Max-Wait", "1ms")
	if got := len(r.spans.Ended()); got < 6 {
		t.Fatalf("%d spans, want those of three calls", got)
	}
	for _, s := range r.spans.Ended() {
		text := fmt.Sprint(s.Name(), s.Attributes(), s.Status(), s.Events())
		if found := strings.Contains(text, "secret"); found {
			t.Errorf("a span holds a secret: %s", text)
		}
		if strings.Contains(s.Name(), "SECRET") {
			t.Errorf("span %q is named after what a caller invented", s.Name())
		}
	}
}

func TestSpansOfFailuresSayWhy(t *testing.T) {
	r := newRig(t, tracing.Options{}, sdk.AlwaysSample(), 200)
	r.call(t, t.Context(), "DELETE")
	r.call(t, t.Context(), "DELETE", "Headgate-Max-Wait", "1ms")
	r.upstream.Close() // nobody answers
	r.call(t, t.Context(), "DELETE")
	calls := r.named("DELETE default")
	if len(calls) != 3 {
		t.Fatalf("%d calls, want 3", len(calls))
	}
	for i, want := range []struct{ outcome, text, limit string }{
		{"refused", "no permit before deadline", "1/200ms"},
		{"unreachable", "connection refused", ""},
	} {
		i++ // the first went well
		got := attributes(calls[i])
		if got["headgate.outcome"] != want.outcome || got["error.type"] != want.outcome || got["headgate.limit"] != want.limit {
			t.Errorf("call %d: attributes are %v, want %+v", i+1, got, want)
		}
		if s := calls[i].Status(); s.Code != codes.Error || !strings.Contains(s.Description, want.text) {
			t.Errorf("call %d: status is %+v, want an error with %q", i+1, s, want.text)
		}
	}
	for _, a := range r.named("DELETE")[1:] {
		if got := attributes(a)["error.type"]; got != "connection" || a.Status().Code != codes.Error {
			t.Errorf("error.type of an attempt = %q with status %v, want connection", got, a.Status())
		}
	}
}

// A program that has a span of its own need not write it into the header.
func TestCallContinuesItsContext(t *testing.T) {
	r := newRig(t, tracing.Options{}, sdk.AlwaysSample(), 200)
	ctx, own := r.provider.Tracer("program").Start(t.Context(), "own")
	r.call(t, ctx, "GET", "traceparent", "00-"+callersTrace+"-"+callersSpan+"-01")
	own.End()
	call := r.named("GET default")[0]
	if got := call.Parent().SpanID(); got != own.SpanContext().SpanID() {
		t.Errorf("the call's parent is %v, want the context's span %v", got, own.SpanContext().SpanID())
	}
	if call.SpanKind() != trace.SpanKindInternal {
		t.Errorf("kind = %v, want internal", call.SpanKind())
	}
}

func TestMalformedContextStartsATrace(t *testing.T) {
	r := newRig(t, tracing.Options{}, sdk.AlwaysSample(), 200)
	r.call(t, t.Context(), "GET", "traceparent", "00-"+callersTrace+"-garbage", "tracestate", callersState)
	if p := r.named("GET default")[0].Parent(); p.IsValid() {
		t.Errorf("the call's parent is %v, want none", p)
	}
	if got := r.received[0].Get("Tracestate"); got != "" {
		t.Errorf("tracestate %q was sent with another trace's parent", got)
	}
}

func TestCallThatIsNotSampledIsPassedOnAsSuch(t *testing.T) {
	r := newRig(t, tracing.Options{}, sdk.ParentBased(sdk.AlwaysSample()), 503, 200)
	r.call(t, t.Context(), "GET", "traceparent", "00-"+callersTrace+"-"+callersSpan+"-00")
	if got := len(r.spans.Ended()); got != 0 {
		t.Errorf("%d spans were recorded, want none", got)
	}
	if got := r.received[1].Get("Traceparent"); !strings.HasPrefix(got, "00-"+callersTrace) || !strings.HasSuffix(got, "-00") {
		t.Errorf("traceparent = %q, want one of the same trace that is not sampled", got)
	}
}

func TestWithoutPropagatorsFieldsPassUntouched(t *testing.T) {
	r := newRig(t, tracing.Options{Propagator: propagation.NewCompositeTextMapPropagator()}, sdk.AlwaysSample(), 200)
	parent := "00-" + callersTrace + "-" + callersSpan + "-01"
	r.call(t, t.Context(), "GET", "traceparent", parent)
	if got := r.received[0].Get("Traceparent"); got != parent {
		t.Errorf("traceparent = %q, want the caller's %q", got, parent)
	}
	if p := r.named("GET default")[0].Parent(); p.IsValid() {
		t.Errorf("the call's parent is %v, want none", p)
	}
}
