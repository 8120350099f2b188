package gateway

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/headgate/headgate/config"
	"github.com/headgate/headgate/internal/job"
)

// stored stores a call and returns the path of its job.
func (g jobGate) stored(t *testing.T, fields ...string) string {
	t.Helper()
	w := g.ask(t, "POST", "/api/x", "1", append(fields, async...)...)
	if w.Code != 202 {
		t.Fatalf("call = %d %s, want 202", w.Code, w.Body)
	}
	return w.Header().Get("Location")
}

func TestJobIsReadCancelledAndRetried(t *testing.T) {
	g := newJobGate(t, file(), Options{})
	path := g.stored(t)
	w := g.ask(t, "GET", path, "")
	if j := read(t, w); w.Code != 200 || "/jobs/"+j.ID != path || j.State != job.Waiting || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("GET = %d %s %v, want 200, the waiting job, no-store", w.Code, w.Body, w.Header())
	}
	if again := g.ask(t, "GET", path, "", "If-None-Match", w.Header().Get("ETag")); again.Code != 304 || again.Body.Len() > 0 {
		t.Errorf("GET with its ETag = %d %s, want 304", again.Code, again.Body)
	}
	w = g.ask(t, "GET", path+"/response", "")
	checkProblem(t, "response of a waiting job", w, 409, "job-not-ended")
	if w.Header().Get("Retry-After") == "" {
		t.Error("job-not-ended lacks Retry-After")
	}
	checkProblem(t, "retry of a waiting job", g.ask(t, "POST", path+"/retry", ""), 409, "job-not-ended")
	w = g.ask(t, "DELETE", path, "")
	if j := read(t, w); w.Code != 200 || j.State != job.Cancelled || j.Reason != "cancelled by its client" || w.Header().Get("Retry-After") != "" {
		t.Errorf("DELETE = %d %s, want 200 and the cancelled job", w.Code, w.Body)
	}
	checkProblem(t, "second DELETE", g.ask(t, "DELETE", path, ""), 409, "job-ended")
	w = g.ask(t, "GET", path+"/response", "")
	checkProblem(t, "response of a cancelled job", w, 404, "no-response")
	if !strings.Contains(w.Body.String(), "cancelled by its client") {
		t.Errorf("no-response = %s, want the reason", w.Body)
	}
	w = g.ask(t, "POST", path+"/retry", "")
	if j := read(t, w); w.Code != 202 || j.State != job.Waiting || w.Header().Get("Location") != path {
		t.Errorf("retry = %d %s, want 202 and a waiting job", w.Code, w.Body)
	}
	g.end(t, job.Queue("api", "", ""), job.End{State: job.Done, Response: &job.Response{Status: 204, Header: http.Header{"X-Up": {"1"}}}})
	checkProblem(t, "retry of what is done", g.ask(t, "POST", path+"/retry", ""), 409, "job-ended")
	if w = g.ask(t, "GET", path+"/response", ""); w.Code != 204 || w.Header().Get("X-Up") != "1" || w.Header().Get("Content-Length") != "" {
		t.Errorf("response = %d %v, want 204 without a length", w.Code, w.Header())
	}
}

func TestClientsSeeTheirOwnJobsOnly(t *testing.T) {
	g := newJobGate(t, file(config.Client{Name: "a", Key: HashKey("hg_a")}, config.Client{Name: "b", Key: HashKey("hg_b")}), Options{})
	path := g.stored(t, "Headgate-Key", "hg_a")
	for _, part := range []struct{ method, path string }{{"GET", ""}, {"DELETE", ""}, {"GET", "/response"}, {"POST", "/retry"}} {
		checkProblem(t, part.method+part.path+" of another's", g.ask(t, part.method, path+part.path, "", "Headgate-Key", "hg_b"), 404, "unknown-job")
		checkProblem(t, part.method+part.path+" without a key", g.ask(t, part.method, path+part.path, ""), 401, "unauthorized")
	}
	if w := g.ask(t, "GET", path, "", "Authorization", "Bearer hg_a"); w.Code != 200 {
		t.Errorf("GET of its own = %d %s, want 200", w.Code, w.Body)
	}
}

func TestMethodsAndPathsOfJobs(t *testing.T) {
	g := newJobGate(t, file(), Options{})
	path := g.stored(t)
	for _, s := range []struct{ method, path, allow string }{
		{"PUT", "", "GET, HEAD, DELETE"}, {"OPTIONS", "", "GET, HEAD, DELETE"}, {"POST", "/response", "GET, HEAD"}, {"GET", "/retry", "POST"},
	} {
		w := g.ask(t, s.method, path+s.path, "")
		checkProblem(t, s.method+" "+s.path, w, 405, "method-not-allowed")
		if got := w.Header().Get("Allow"); got != s.allow {
			t.Errorf("%s %s: Allow = %q, want %q", s.method, s.path, got, s.allow)
		}
	}
	checkProblem(t, "unknown part", g.ask(t, "GET", path+"/result", ""), 404, "not-found")
	checkProblem(t, "unknown job", g.ask(t, "GET", "/jobs/"+job.NewID(time.Now()), ""), 404, "unknown-job")
	checkProblem(t, "TRACE", g.ask(t, "TRACE", path, ""), 405, "method-not-allowed")
}

func TestOnlyPathsOfJobsAreOurs(t *testing.T) {
	cfg := file()
	cfg.Upstreams["default"], cfg.Upstreams["jobs"] = cfg.Upstreams["api"], cfg.Upstreams["api"]
	id := job.NewID(time.Now())
	for _, opts := range []Options{{}, {RootMount: true}} {
		g := newJobGate(t, cfg, opts)
		for _, path := range []string{"/jobs/", "/jobs/job_1", "/jobs/" + strings.ToUpper(id), "/jobs/x/" + id, "/jobs/" + id + "x"} {
			if w := g.ask(t, "GET", path, ""); w.Code != 200 || w.Body.String() != "ok" {
				t.Errorf("%+v: GET %s = %d %s, want the upstream's answer", opts.RootMount, path, w.Code, w.Body)
			}
		}
		for _, path := range []string{"/jobs/" + id, "/jobs/" + id + "/response"} {
			checkProblem(t, path, g.ask(t, "GET", path, ""), 404, "unknown-job")
		}
	}
}

func TestHeadOfJobs(t *testing.T) {
	g := newJobGate(t, file(), Options{})
	_, base := start(t, echoDoor(nil), file(), Options{Jobs: g.jobs})
	path := g.stored(t)
	client := newClient(t, false)
	if res, body := do(t, client, "HEAD", base+path, ""); res.StatusCode != 200 || body != "" || res.Header.Get("Content-Type") != "application/json" {
		t.Errorf("HEAD of a job = %d %q %v, want 200 and no body", res.StatusCode, body, res.Header)
	}
	g.end(t, job.Queue("api", "", ""), job.End{State: job.Done, Response: &job.Response{Status: 200, Body: []byte("four")}})
	if res, body := do(t, client, "HEAD", base+path+"/response", ""); res.StatusCode != 200 || body != "" || res.ContentLength != 4 {
		t.Errorf("HEAD of a response = %d %q, length %d, want 200, no body, 4", res.StatusCode, body, res.ContentLength)
	}
	if res, body := do(t, client, "GET", base+path+"/response", ""); body != "four" || res.Header.Get("Content-Type") != "" {
		t.Errorf("response = %q %v, want four and no guess of its type", body, res.Header)
	}
}

func TestPollEndsWithTheJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newJobGate(t, file(), Options{})
		g.hear(t)
		path, began := g.stored(t), time.Now()
		time.AfterFunc(3*time.Second, func() { g.ask(t, "DELETE", path, "") })
		w := g.ask(t, "GET", path, "", "Prefer", "wait=30, respond-async")
		if j := read(t, w); w.Code != 200 || j.State != job.Cancelled || time.Since(began) != 3*time.Second || w.Header().Get("Preference-Applied") != "wait=30" {
			t.Errorf("poll = %d %s after %v, %v, want the cancelled job after 3s", w.Code, w.Body, time.Since(began), w.Header())
		}
		path, began = g.stored(t), time.Now()
		if w = g.ask(t, "GET", path, "", "Prefer", "wait=99999"); read(t, w).State != job.Waiting || time.Since(began) != 10*time.Minute {
			t.Errorf("long poll = %s after %v, want a waiting job after 10m", w.Body, time.Since(began))
		}
	})
}

func TestNoCredentialOfACallerIsShown(t *testing.T) {
	g := newJobGate(t, file(), Options{})
	w := g.ask(t, "POST", "/api/v1/x?key=SECRET", `{"prompt": "SECRET"}`, "Prefer", "respond-async", "Authorization", "Bearer SECRET",
		"X-Api-Key", "SECRET", "Cookie", "session=SECRET", "Idempotency-Key", "SECRET")
	shown := map[string]string{"202": w.Body.String()}
	path := w.Header().Get("Location")
	for _, ask := range []struct{ method, path string }{
		{"GET", path}, {"GET", path + "/response"}, {"POST", path + "/retry"}, {"DELETE", path}, {"GET", path + "/response"}, {"DELETE", path}, {"POST", path + "/retry"},
	} {
		w := g.ask(t, ask.method, ask.path, "", "Authorization", "Bearer SECRET")
		shown[ask.method+" "+ask.path] += w.Body.String() + fmt.Sprint(w.Header())
	}
	for what, text := range shown {
		if strings.Contains(text, "SECRET") {
			t.Errorf("%s shows it: %s", what, text)
		}
	}
	queues, err := g.jobs.Queues(t.Context())
	if err != nil || len(queues) != 1 || strings.Contains(queues[0].Name, "SECRET") {
		t.Fatalf("queues = %v, %v; want one without the credential", queues, err)
	}
	sent := g.take(t, queues[0].Name).Request
	if sent.Header.Get("Authorization") != "Bearer SECRET" || sent.Path != "/v1/x?key=SECRET" {
		t.Errorf("to be sent: %s %v, want it as it came", sent.Path, sent.Header)
	}
}

func TestCancelledJobTellsItsCallback(t *testing.T) {
	g := newJobGate(t, file(), Options{})
	j, _, err := g.jobs.Put(t.Context(), job.New{Job: job.Job{Queue: "q", Callback: "https://hook.test/in"}})
	if err != nil {
		t.Fatal(err)
	}
	if w := g.ask(t, "DELETE", jobsPath+j.ID, ""); w.Code != 200 {
		t.Fatalf("DELETE = %d %s", w.Code, w.Body)
	}
	told := g.take(t, job.CallbackQueue("hook.test"))
	if body := string(told.Request.Body); told.Job.Parent != j.ID || !strings.Contains(body, `"type":"job.cancelled"`) || !strings.Contains(body, `"reason":"cancelled by its client"`) {
		t.Errorf("told of %s: %s\nwant of %s, that it was cancelled and why", told.Job.Parent, body, j.ID)
	}
}

func TestEventsTellEachState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newJobGate(t, file(), Options{})
		g.hear(t)
		path := g.stored(t)
		time.AfterFunc(20*time.Second, func() {
			taken := g.take(t, job.Queue("api", "", ""))
			g.jobs.Start(context.Background(), taken.Ref)
			time.AfterFunc(time.Second, func() { g.jobs.End(context.Background(), job.End{Ref: taken.Ref, State: job.Done}) })
		})
		w := g.ask(t, "GET", path, "", "Accept", "text/html, text/event-stream; q=0.5")
		var got []string
		for line := range strings.Lines(w.Body.String()) {
			if name, _, ok := strings.Cut(strings.TrimSpace(line), `":`); ok && strings.HasPrefix(line, "data: ") {
				got = append(got, name)
			} else if line != "\n" {
				got = append(got, strings.TrimSpace(line))
			}
		}
		want := "id: waiting|event: state|data: {\"id|: waiting|id: running|event: state|data: {\"id|id: done|event: state|data: {\"id"
		if w.Code != 200 || w.Header().Get("Content-Type") != "text/event-stream" || strings.Join(got, "|") != want {
			t.Errorf("events = %d %v\n%s\nwant %s", w.Code, w.Header(), w.Body, want)
		}
		if w = g.ask(t, "GET", path, "", "Accept", "text/event-stream", "Last-Event-ID", "done"); w.Code != 204 {
			t.Errorf("after the last event = %d %s, want 204, which ends an EventSource", w.Code, w.Body)
		}
	})
}

// A caller who leaves is noticed on a connection too, and a job that ends is
// told at once.
func TestEventsOverAConnection(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		g := newJobGate(t, file(), Options{})
		served, base := start(t, echoDoor(nil), file(), Options{Jobs: g.jobs})
		ctx, cancel := context.WithCancel(t.Context())
		heard := make(chan struct{})
		go func() { defer close(heard); g.jobs.Run(ctx, served.Hear) }()
		path := g.stored(t)
		req, _ := http.NewRequestWithContext(t.Context(), "GET", base+path, nil)
		req.Header.Set("Accept", "text/event-stream")
		res, err := newClient(t, h2).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		r := bufio.NewReader(res.Body)
		if line, err := r.ReadString('\n'); line != "id: waiting\n" {
			t.Fatalf("first line = %q, %v, want id: waiting", line, err)
		}
		g.ask(t, "DELETE", path, "")
		rest, err := io.ReadAll(r)
		if err != nil || !strings.Contains(string(rest), "id: cancelled\n") {
			t.Errorf("HTTP/2 %v: rest = %q, %v, want the cancelled job and an end", h2, rest, err)
		}
		res.Body.Close()
		cancel()
		<-heard
	}
}
