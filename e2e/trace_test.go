package e2e

import (
	"net/http"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
)

// A caller's span, of the W3C's own examples.
const (
	callersTrace  = "4bf92f3577b34da6a3ce929d0e0e4736"
	callersSpan   = "00f067aa0ba902b7"
	callersParent = "00-" + callersTrace + "-" + callersSpan + "-01"
)

// traced is an upstream that notes whose spans it is called from. Its first call
// of each path is told to come back.
type traced struct {
	url     string
	mu      sync.Mutex
	parents []string
	seen    map[string]bool
}

func newTraced(t *testing.T) *traced {
	u := &traced{seen: map[string]bool{}}
	u.url = newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		u.mu.Lock()
		defer u.mu.Unlock()
		u.parents = append(u.parents, r.Header.Get("Traceparent"))
		if !u.seen[r.URL.Path] {
			u.seen[r.URL.Path] = true
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}).URL
	return u
}

func TestTracesOfACallReachACollector(t *testing.T) {
	for protocol, listen := range map[string]func(*collector, *testing.T) string{
		"http/protobuf": (*collector).overHTTP, "grpc": (*collector).overGRPC,
	} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			var spans collector
			up := newTraced(t)
			g := serveWith(t, []string{
				"OTEL_EXPORTER_OTLP_ENDPOINT=" + listen(&spans, t), "OTEL_EXPORTER_OTLP_PROTOCOL=" + protocol,
			}, "--upstream", up.url, "--limit", "concurrent:1")
			a := get(t, newClient(t), g.url+"/path?query=1", "traceparent", callersParent)
			if a.status != 200 {
				t.Fatalf("call = %v, want 200", a)
			}
			stopTraced(t, g)
			up.wantAttemptsOf(t, &spans)
			if spans.service != "headgate" {
				t.Errorf("service.name = %q, want headgate", spans.service)
			}
		})
	}
}

// What stored a job may be long gone when it runs.
func TestJobContinuesTheTraceOfItsCaller(t *testing.T) {
	t.Parallel()
	var spans collector
	up := newTraced(t)
	g := serveWith(t, []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + spans.overHTTP(t), "OTEL_SERVICE_NAME=night-shift"},
		"--upstream", up.url, "--jobs", filepath.Join(t.TempDir(), "jobs.db"))
	c := newClient(t)
	j := enqueue(t, c, g.url+"/later", "traceparent", callersParent)
	if a := get(t, c, g.url+"/jobs/"+j.ID, "Prefer", "wait=10"); a.status != 200 {
		t.Fatalf("job = %v, want it done", a)
	}
	stopTraced(t, g)
	// A POST that was answered with 503 is not repeated at once: each run is a call.
	calls, attempts := spans.named("POST default"), spans.named("POST")
	if len(calls) != 2 || len(attempts) != 2 {
		t.Fatalf("the collector was sent %+v, want two calls with an attempt each", spans.spans)
	}
	for i, call := range calls {
		if call.trace != callersTrace || call.parent != callersSpan {
			t.Errorf("run %d = %+v, want one below %s of trace %s", i+1, call, callersSpan, callersTrace)
		}
		if a := attempts[i]; a.parent != call.id || up.parents[i] != "00-"+callersTrace+"-"+a.id+"-01" {
			t.Errorf("run %d has the attempt %+v, and the upstream was sent %s", i+1, a, up.parents[i])
		}
	}
	if spans.service != "night-shift" {
		t.Errorf("service.name = %q, want night-shift", spans.service)
	}
}

// A collector that is away costs the process its last traces and nothing else.
func TestAbsentCollectorStopsNothing(t *testing.T) {
	t.Parallel()
	g := serveWith(t, []string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1"}, "--upstream", newTraced(t).url)
	if a := get(t, newClient(t), g.url+"/"); a.status != 200 {
		t.Errorf("call = %v, want 200", a)
	}
	stopTraced(t, g)
	g.waitFor(t, `level=WARN msg="traces are lost"`)
}

func TestWithoutACollectorTraceContextPassesUntouched(t *testing.T) {
	t.Parallel()
	up := newTraced(t)
	g := serve(t, "--upstream", up.url)
	get(t, newClient(t), g.url+"/", "traceparent", callersParent)
	up.mu.Lock()
	defer up.mu.Unlock()
	for _, got := range up.parents {
		if got != callersParent {
			t.Errorf("the upstream was sent traceparent %q, want the caller's %q", got, callersParent)
		}
	}
}

// stopTraced stops g, which delivers what is left of its traces.
func stopTraced(t *testing.T, g *gate) {
	t.Helper()
	g.signal(t, syscall.SIGTERM)
	if status := g.wait(t); status != 0 {
		t.Fatalf("exit status %d, want 0:\n%s", status, g.stderr)
	}
}

// wantAttemptsOf fails the test unless there is one call below its caller's span,
// with two attempts that the upstream was called from, and a wait between them.
func (u *traced) wantAttemptsOf(t *testing.T, spans *collector) {
	t.Helper()
	calls, attempts, waits := spans.named("GET default"), spans.named("GET"), spans.named("wait for backoff")
	if len(calls) != 1 || len(attempts) != 2 || len(waits) != 1 {
		t.Fatalf("the collector was sent %+v, want a call, two attempts and a wait", spans.spans)
	}
	call := calls[0]
	if call.trace != callersTrace || call.parent != callersSpan || call.kind != "server" || call.failed ||
		call.attributes["headgate.attempts"] != "2" || call.attributes["http.response.status_code"] != "200" {
		t.Errorf("call = %+v, want a server's of 2 attempts below %s of trace %s", call, callersSpan, callersTrace)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	for i, a := range attempts {
		if a.trace != callersTrace || a.parent != call.id || a.kind != "client" || a.failed != (i == 0) {
			t.Errorf("attempt %d = %+v, want a client's below %s", i+1, a, call.id)
		}
		if got, want := u.parents[i], "00-"+callersTrace+"-"+a.id+"-01"; got != want {
			t.Errorf("attempt %d came to the upstream with traceparent %q, want %q", i+1, got, want)
		}
	}
	if attempts[0].attributes["http.response.status_code"] != "503" || attempts[1].attributes["http.request.resend_count"] != "1" {
		t.Errorf("attempts = %+v, want a 503 and one that was sent again", attempts)
	}
	if w := waits[0]; w.parent != call.id || w.from < attempts[0].from || w.to > attempts[1].to {
		t.Errorf("wait = %+v, want one between the attempts", w)
	}
}
