package telemetry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/headgate/headgate"
	"github.com/headgate/headgate/internal/dialect"
	"github.com/headgate/headgate/internal/job"
	"github.com/headgate/headgate/internal/worker"
)

func TestMetricsTellWhatPassed(t *testing.T) {
	m := NewMetrics("1.2.3", "abc")
	soon, past := time.Now().Add(time.Hour), time.Now().Add(-time.Hour)
	m.Watch(func() headgate.Status {
		return headgate.Status{Upstreams: []headgate.UpstreamStatus{
			{
				Name: "openai",
				Line: headgate.LineStatus{Length: 7},
				Credentials: []headgate.CredentialStatus{
					{Breaker: "closed", PausedUntil: &past, Limits: []headgate.LimitStatus{{Limit: "50/1m", Used: 10, Max: 50}}},
					{Breaker: "half-open", PausedUntil: &soon, Limits: []headgate.LimitStatus{{Limit: "50/1m", Used: 25, Max: 50}}},
				},
			},
			{Name: "quiet"},
			{Name: "one model", Credentials: []headgate.CredentialStatus{
				{Paused: []headgate.PausedStatus{{Scope: "model:a", Until: past}, {Scope: "model:b", Until: soon}}},
			}},
		}}
	})
	e := m.Events()
	for range 3 {
		e.CallEnded(headgate.CallEnded{Upstream: "openai", Client: "web", Outcome: headgate.OutcomeOK})
	}
	e.AttemptEnded(headgate.AttemptEnded{Upstream: "openai", Status: 429, Reading: dialect.Reading{Class: dialect.Throttled}})
	e.AttemptEnded(headgate.AttemptEnded{Upstream: "openai", Reading: dialect.Reading{Class: dialect.Overloaded}})
	e.AttemptEnded(headgate.AttemptEnded{Upstream: "openai", Err: errors.New("connection refused")})
	e.AttemptEnded(headgate.AttemptEnded{Upstream: "openai", Status: 777, Reading: dialect.Reading{Class: dialect.Fatal}})
	e.Waited(headgate.Waited{Upstream: "openai", Took: 200 * time.Millisecond})
	e.Retried(headgate.Retried{Upstream: "openai", Delay: 2 * time.Second})

	page := scrape(t, m, "")
	for _, want := range []string{
		`headgate_calls_total{client="web",outcome="ok",upstream="openai"} 3`,
		`headgate_attempts_total{code="429",reading="throttled",upstream="openai"} 1`,
		`headgate_attempts_total{code="none",reading="overloaded",upstream="openai"} 1`,
		`headgate_attempts_total{code="none",reading="none",upstream="openai"} 1`,
		`headgate_attempts_total{code="other",reading="fatal",upstream="openai"} 1`,
		`headgate_line_wait_seconds_bucket{upstream="openai",le="0.1"} 0`,
		`headgate_line_wait_seconds_bucket{upstream="openai",le="0.25"} 1`,
		`headgate_retry_delay_seconds_sum{upstream="openai"} 2`,
		`headgate_line_length{upstream="openai"} 7`,
		`headgate_line_length{upstream="quiet"} 0`,
		`headgate_limit_usage_ratio{limit="50/1m",upstream="openai"} 0.5`,
		`headgate_breaker_state{upstream="openai"} 1`,
		`headgate_breaker_state{upstream="quiet"} 0`,
		`headgate_paused{upstream="openai"} 1`,
		`headgate_paused{upstream="quiet"} 0`,
		`headgate_paused{upstream="one model"} 1`,
		`headgate_build_info{commit="abc",go_version="go`,
		"\ngo_goroutines ",
		"\nprocess_start_time_seconds ",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("metrics lack %s", want)
		}
	}
	if t.Failed() {
		t.Logf("metrics:\n%s", page)
	}
}

func TestJobsAreCountedAtEachScrape(t *testing.T) {
	m := NewMetrics("1.2.3", "abc")
	counts, fault := map[job.State]int64{job.Waiting: 7, job.Failed: 1}, error(nil)
	m.WatchJobs(func(context.Context) (map[job.State]int64, error) { return counts, fault })
	got := scrape(t, m, "headgate_jobs")
	for _, want := range []string{
		`headgate_jobs{state="waiting"} 7`, `headgate_jobs{state="running"} 0`, `headgate_jobs{state="done"} 0`,
		`headgate_jobs{state="failed"} 1`, `headgate_jobs{state="cancelled"} 0`,
	} {
		if !strings.Contains(got, want+"\n") {
			t.Errorf("metrics lack %s:\n%s", want, got)
		}
	}
	fault = job.ErrUnavailable
	if got := scrape(t, m, "headgate_jobs"); got != "" {
		t.Errorf("metrics while the store is away = %s, want none of jobs, and the others", got)
	}
}

func TestEndsOfJobsAreCountedOnceStored(t *testing.T) {
	m := NewMetrics("", "")
	m.WatchJobs(func(context.Context) (map[job.State]int64, error) { return nil, nil })
	e := m.JobEvents()
	for _, x := range []worker.JobEnded{
		{Upstream: "api", Kind: job.Call, State: job.Done},
		{Upstream: "api", Kind: job.Call, State: job.Failed},
		{Upstream: "api", Kind: job.Call, State: job.Waiting},                     // runs again
		{Upstream: "api", Kind: job.Call, State: job.Done, Err: job.ErrFenced},    // another's
		{Upstream: "api", Kind: job.Call, State: job.Failed, Err: errors.New("")}, // will run again
		{Kind: job.Callback, State: job.Done},
	} {
		e.JobEnded(x)
	}
	want := `headgate_jobs_ended_total{kind="call",state="done",upstream="api"} 1
headgate_jobs_ended_total{kind="call",state="failed",upstream="api"} 1
headgate_jobs_ended_total{kind="callback",state="done",upstream=""} 1
`
	if got := scrape(t, m, "headgate_jobs_ended_total"); got != want {
		t.Errorf("metrics have\n%s, want\n%s", got, want)
	}
	for _, x := range []struct {
		err  error
		want string
	}{{nil, "1"}, {job.ErrUnavailable, "0"}, {nil, "1"}} {
		e.StoreChanged(worker.StoreChanged{Err: x.err})
		if got, want := scrape(t, m, "headgate_job_store_up"), "headgate_job_store_up "+x.want+"\n"; got != want {
			t.Errorf("after %v: %s, want %s", x.err, got, want)
		}
	}
}

func TestHistogramsAreNativeToo(t *testing.T) {
	m := NewMetrics("", "")
	m.Events().Waited(headgate.Waited{Upstream: "openai", Took: time.Second})
	req := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	req.Header.Set("Accept", "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited")
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, req)
	if got := w.Header().Get("Content-Type"); !strings.HasPrefix(got, "application/vnd.google.protobuf") {
		t.Errorf("Content-Type = %q, want protobuf, which alone carries native histograms", got)
	}
}

func TestLabelsAreBounded(t *testing.T) {
	m := NewMetrics("", "")
	e := m.Events()
	for i := range maxSeries + 500 {
		e.CallEnded(headgate.CallEnded{Upstream: "openai", Client: fmt.Sprint("client-", i), Outcome: "ok"})
	}
	page := scrape(t, m, "headgate_calls_total{")
	if got := strings.Count(page, "\n"); got > maxSeries+1 {
		t.Errorf("%d series, want at most %d and one for all others", got, maxSeries)
	}
	if want := `headgate_calls_total{client="other",outcome="ok",upstream="openai"} 500`; !strings.Contains(page, want) {
		t.Errorf("metrics lack %s", want)
	}
}

func TestEventsMayComeAtOnce(t *testing.T) {
	m := NewMetrics("", "")
	e := m.Events()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for i := range 200 {
				e.CallEnded(headgate.CallEnded{Upstream: "openai", Client: fmt.Sprint(i % 20), Outcome: "ok"})
			}
		})
	}
	all.Wait()
	page := scrape(t, m, "headgate_calls_total{")
	if got := strings.Count(page, "} 80\n"); got != 20 {
		t.Errorf("%d clients with 80 calls each, want 20:\n%s", got, page)
	}
}

func TestEventsDoNotAllocate(t *testing.T) {
	e := NewMetrics("", "").Events()
	for name, tell := range map[string]func(){
		"CallEnded": func() { e.CallEnded(headgate.CallEnded{Upstream: "openai", Client: "web", Outcome: "ok"}) },
		"AttemptEnded": func() {
			e.AttemptEnded(headgate.AttemptEnded{Upstream: "openai", Status: 200})
		},
		"Waited without a wait": func() { e.Waited(headgate.Waited{Upstream: "openai"}) },
	} {
		tell()
		if got := testing.AllocsPerRun(100, tell); got != 0 {
			t.Errorf("%s: %v allocations, want 0", name, got)
		}
	}
}

func BenchmarkEvents(b *testing.B) {
	e := NewMetrics("", "").Events()
	b.Run("CallEnded", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			e.CallEnded(headgate.CallEnded{Upstream: "openai", Client: "web", Outcome: "ok"})
		}
	})
	b.Run("AttemptEnded", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			e.AttemptEnded(headgate.AttemptEnded{Upstream: "openai", Status: 200})
		}
	})
	b.Run("Waited", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			e.Waited(headgate.Waited{Upstream: "openai", Took: 30 * time.Millisecond})
		}
	})
	b.Run("WaitedNot", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			e.Waited(headgate.Waited{Upstream: "openai"})
		}
	})
}

// scrape returns the lines of the page that begin with prefix.
func scrape(t *testing.T, m *Metrics, prefix string) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("scrape = %d: %s", w.Code, w.Body)
	}
	var lines strings.Builder
	for line := range strings.Lines(w.Body.String()) {
		if strings.HasPrefix(line, prefix) {
			lines.WriteString(line)
		}
	}
	return lines.String()
}
