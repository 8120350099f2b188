package gateway

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/headgate/headgate/config"
	"github.com/headgate/headgate/internal/job"
	"github.com/headgate/headgate/internal/job/jobtest"
)

// jobGate is a gateway with a store of jobs that nobody runs.
type jobGate struct {
	*Gateway
	jobs *jobtest.Memory
}

func newJobGate(t *testing.T, cfg config.Config, opts Options) jobGate {
	t.Helper()
	jobs := jobtest.NewMemory(time.Now)
	opts.Jobs = jobs
	g, err := New(echoDoor(nil), cfg, opts)
	if err != nil {
		t.Fatal(err)
	}
	return jobGate{g, jobs}
}

// hear has the gateway told of its jobs until the test ends.
func (g jobGate) hear(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	go g.jobs.Run(ctx, g.Hear)
	synctest.Wait()
}

// ask sends a request to the gateway and returns its answer.
func (g jobGate) ask(t *testing.T, method, target, body string, fields ...string) *httptest.ResponseRecorder {
	t.Helper()
	return g.askAs(t.Context(), method, target, body, fields...)
}

func (g jobGate) askAs(ctx context.Context, method, target, body string, fields ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(ctx, method, target, strings.NewReader(body))
	for i := 0; i < len(fields); i += 2 {
		r.Header.Add(fields[i], fields[i+1])
	}
	w := httptest.NewRecorder()
	g.ServeHTTP(w, r)
	return w
}

// take returns what is stored in a queue.
func (g jobGate) take(t *testing.T, queue string) job.Taken {
	t.Helper()
	taken, err := g.jobs.Take(t.Context(), "w", queue, 1)
	if err != nil || len(taken) != 1 {
		queues, _ := g.jobs.Queues(t.Context())
		t.Fatalf("Take of %s = %d jobs, %v, want 1; there are %v", queue, len(taken), err, queues)
	}
	return taken[0]
}

// end ends a job that nobody has taken.
func (g jobGate) end(t *testing.T, queue string, e job.End) {
	t.Helper()
	e.Ref = g.take(t, queue).Ref
	if err := g.jobs.End(t.Context(), e); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, w *httptest.ResponseRecorder) job.Job {
	t.Helper()
	var j job.Job
	if err := json.Unmarshal(w.Body.Bytes(), &j); err != nil {
		t.Fatalf("%d %s: %v", w.Code, w.Body, err)
	}
	return j
}

// checkProblem fails unless w is a problem of that type, and of that status.
func checkProblem(t *testing.T, what string, w *httptest.ResponseRecorder, status int, name string) {
	t.Helper()
	var p problem
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || w.Code != status || p.Type != problemType+name {
		t.Errorf("%s = %d %s, want %d %s", what, w.Code, w.Body, status, name)
	}
}

var async = []string{"Prefer", "respond-async"}
