package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/headgate/headgate/internal/job"
	"github.com/headgate/headgate/internal/job/jobtest"
)

// jobAdmin is an admin plane with a store of jobs.
type jobAdmin struct {
	*Admin
	jobs *jobtest.Memory
	made *int
}

func newJobAdmin() jobAdmin {
	jobs := jobtest.NewMemory(time.Now)
	return jobAdmin{New(Options{
		Listen: "127.0.0.1:8788", Jobs: jobs, Metrics: http.NotFoundHandler(),
		Gate: &fakeGate{},
	}), jobs, new(int)}
}

// add stores a call, later than those before, and brings it to a state.
func (a jobAdmin) add(t *testing.T, state job.State, upstream, client string) string {
	t.Helper()
	ctx := context.Background()
	*a.made++
	n := job.New{Job: job.Job{ID: job.NewID(time.UnixMilli(int64(*a.made))), Upstream: upstream, Client: client, Queue: "q"}, Request: job.Request{Method: "POST", Path: "/x"}}
	j, _, err := a.jobs.Put(ctx, n)
	if err != nil {
		t.Fatal(err)
	}
	switch state {
	case job.Waiting:
	case job.Cancelled:
		_, err = a.jobs.Cancel(ctx, j.ID, "test", nil)
	default:
		taken, terr := a.jobs.Take(ctx, "w", "q", 1000)
		if terr != nil {
			t.Fatal(terr)
		}
		for _, x := range taken {
			if x.ID != j.ID {
				continue
			}
			err = a.jobs.Start(ctx, x.Ref)
			if state != job.Running {
				err = errors.Join(err, a.jobs.End(ctx, job.End{Ref: x.Ref, State: state, Response: &job.Response{
					Status: 404, Header: http.Header{"Content-Type": {"text/html"}, "Set-Cookie": {"a=b"}}, Body: []byte("<p>"),
				}}))
			}
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return j.ID
}

func (a jobAdmin) ask(method, target string, fields ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, nil)
	r.Host = "localhost"
	for i := 0; i < len(fields); i += 2 {
		r.Header.Add(fields[i], fields[i+1])
	}
	w := httptest.NewRecorder()
	a.ServeHTTP(w, r)
	return w
}

// check fails unless an answer has a status and a part of text.
func check(t *testing.T, what string, w *httptest.ResponseRecorder, status int, part string) {
	t.Helper()
	if w.Code != status || !strings.Contains(w.Body.String(), part) {
		t.Errorf("%s = %d %s, want %d with %s", what, w.Code, w.Body, status, part)
	}
}

func TestJobsAreListedByFilter(t *testing.T) {
	a := newJobAdmin()
	done := a.add(t, job.Done, "x", "web")
	failed := a.add(t, job.Failed, "x", "")
	waiting := a.add(t, job.Waiting, "y", "web")
	for query, want := range map[string]string{
		"":                          waiting + " " + failed + " " + done,
		"?state=done":               done,
		"?state=done,failed":        failed + " " + done,
		"?state=done&state=waiting": waiting + " " + done,
		"?upstream=x":               failed + " " + done,
		"?client=web":               waiting + " " + done,
		"?client=":                  failed,
		"?q=" + done[10:]:           done,
		"?kind=callback":            "",
		"?older=0s":                 failed + " " + done,
		"?older=1h":                 "",
	} {
		w := a.ask("GET", "/api/v1/jobs"+query)
		var list jobList
		if err := json.Unmarshal(w.Body.Bytes(), &list); err != nil || list.Jobs == nil {
			t.Errorf("GET jobs%s = %d %s, want a list", query, w.Code, w.Body)
		}
		if got := ids(list); got != want {
			t.Errorf("GET jobs%s = %s, want %s", query, got, want)
		}
	}
	var got []string
	for next := ""; ; {
		var list jobList
		json.Unmarshal(a.ask("GET", "/api/v1/jobs?limit=2&after="+next).Body.Bytes(), &list)
		if got = append(got, ids(list)); list.Next == "" {
			break
		}
		next = list.Next
	}
	if want := fmt.Sprint([]string{waiting + " " + failed, done}); fmt.Sprint(got) != want {
		t.Errorf("pages = %v, want %v", got, want)
	}
}

func ids(list jobList) string {
	var all []string
	for _, j := range list.Jobs {
		all = append(all, j.ID)
	}
	return strings.Join(all, " ")
}

func TestUnknownFiltersAreRefused(t *testing.T) {
	a := newJobAdmin()
	a.add(t, job.Done, "x", "")
	for query, want := range map[string]string{
		"stat=failed": `unknown \"stat\"`, "state=lost": "want some of", "state=": "want some of", "kind=x": "want call or callback", "older=1": "want a duration",
		"older=-1h": "want a duration", "limit=0": "want a number from 1", "limit=x": "want a number from 1", "upstream=a&upstream=b": "there 2 times",
	} {
		check(t, "list "+query, a.ask("GET", "/api/v1/jobs?"+query), 400, want)
		check(t, "purge "+query, a.ask("POST", "/api/v1/jobs/purge?"+query), 400, want)
	}
	check(t, "purge of waiting", a.ask("POST", "/api/v1/jobs/purge?state=waiting"), 400, "jobs that are [done failed cancelled]")
	check(t, "retry of done", a.ask("POST", "/api/v1/jobs/retry?state=done"), 400, "jobs that are [failed cancelled]")
	check(t, "cancel of done", a.ask("POST", "/api/v1/jobs/cancel?state=done"), 400, "jobs that are [waiting running]")
	if counts, _ := a.jobs.Counts(t.Context()); counts[job.Done] != 1 {
		t.Errorf("jobs = %v, want the done one untouched", counts)
	}
}

func TestNoCredentialOfACallerIsShown(t *testing.T) {
	a := newJobAdmin()
	j, _, err := a.jobs.Put(t.Context(), job.New{Job: job.Job{Queue: "q"}, Request: job.Request{
		Method: "POST", Path: "/v1/x?key=SECRET", Header: http.Header{"Authorization": {"Bearer SECRET"}}, Body: []byte("SECRET"),
	}})
	if err != nil {
		t.Fatal(err)
	}
	one := "/api/v1/jobs/" + j.ID
	for _, ask := range []struct{ method, path string }{
		{"GET", "/api/v1/jobs"}, {"GET", one}, {"POST", one + "/cancel"}, {"POST", one + "/retry"}, {"DELETE", one}, {"GET", one + "/response"},
	} {
		if w := a.ask(ask.method, ask.path); strings.Contains(w.Body.String(), "SECRET") {
			t.Errorf("%s %s shows it: %s", ask.method, ask.path, w.Body)
		}
	}
}

func TestOneJobIsReadRetriedAndCancelled(t *testing.T) {
	a := newJobAdmin()
	failed := "/api/v1/jobs/" + a.add(t, job.Failed, "x", "web")
	check(t, "GET", a.ask("GET", failed), 200, `"state":"failed"`)
	w := a.ask("GET", failed+"/response")
	check(t, "response", w, 404, "<p>")
	h := w.Header()
	if h.Get("Headgate-Job") != failed[len("/api/v1/jobs/"):] || h.Get("Content-Type") != "text/html" || h.Get("Set-Cookie") != "" || !strings.Contains(h.Get("Content-Security-Policy"), "default-src 'none'") {
		t.Errorf("response has fields %v, want its job, its type, no cookie and no scripts", h)
	}
	check(t, "retry", a.ask("POST", failed+"/retry"), 200, `"state":"waiting"`)
	check(t, "second retry", a.ask("POST", failed+"/retry"), 409, "job-not-ended")
	check(t, "response of a waiting one", a.ask("GET", failed+"/response"), 409, "job-not-ended")
	check(t, "cancel", a.ask("POST", failed+"/cancel"), 200, "cancelled by an operator")
	check(t, "DELETE of a cancelled one", a.ask("DELETE", failed), 409, "job-ended")
	check(t, "response of a cancelled one", a.ask("GET", failed+"/response"), 404, "no-response")
	waiting := a.add(t, job.Waiting, "x", "web")
	check(t, "DELETE", a.ask("DELETE", "/api/v1/jobs/"+waiting), 200, `"state":"cancelled"`)
	for _, id := range []string{"job_1", job.NewID(time.Now())} {
		check(t, "unknown job", a.ask("GET", "/api/v1/jobs/"+id), 404, "unknown-job")
	}
	if w := a.ask("PUT", failed); w.Code != 405 || w.Header().Get("Allow") != "DELETE, GET, HEAD" {
		t.Errorf("PUT = %d, Allow %q, want 405 and DELETE, GET, HEAD", w.Code, w.Header().Get("Allow"))
	}
}

func TestActsByFilter(t *testing.T) {
	a := newJobAdmin()
	for i := range 2500 {
		a.add(t, job.Cancelled, fmt.Sprint("u", i%2), "")
	}
	a.add(t, job.Failed, "u0", "")
	a.add(t, job.Done, "u0", "")
	check(t, "retry of failed", a.ask("POST", "/api/v1/jobs/retry?upstream=u0"), 200, `{"retried":1}`)
	check(t, "retry of cancelled", a.ask("POST", "/api/v1/jobs/retry?state=cancelled&upstream=u0"), 200, `{"retried":1250}`)
	check(t, "cancel of some", a.ask("POST", "/api/v1/jobs/cancel?limit=50"), 200, `{"cancelled":50}`)
	check(t, "cancel of the rest", a.ask("POST", "/api/v1/jobs/cancel"), 200, `{"cancelled":1201}`)
	check(t, "purge of the young", a.ask("POST", "/api/v1/jobs/purge?older=1h"), 200, `{"purged":0}`)
	check(t, "purge of some", a.ask("POST", "/api/v1/jobs/purge?state=cancelled&limit=1500"), 200, `{"purged":1500}`)
	check(t, "purge of the rest", a.ask("POST", "/api/v1/jobs/purge"), 200, `{"purged":1002}`)
	if counts, _ := a.jobs.Counts(t.Context()); counts[job.Cancelled]+counts[job.Done] != 0 {
		t.Errorf("jobs = %v, want none", counts)
	}
}

func TestStatusCountsJobs(t *testing.T) {
	a := newJobAdmin()
	a.add(t, job.Waiting, "x", "")
	var got struct{ Jobs map[string]int64 }
	if err := json.Unmarshal(a.ask("GET", "/api/v1/status").Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if want := map[string]int64{"waiting": 1, "running": 0, "done": 0, "failed": 0, "cancelled": 0}; fmt.Sprint(got.Jobs) != fmt.Sprint(want) {
		t.Errorf("jobs = %v, want %v", got.Jobs, want)
	}
}

func TestWithoutJobsTheirPathsSaySo(t *testing.T) {
	a := jobAdmin{Admin: New(Options{Gate: &fakeGate{}, Metrics: http.NotFoundHandler()})}
	a.Hear(job.Notice{ID: "x"})
	for _, path := range []string{"/api/v1/jobs", "/api/v1/jobs/" + job.NewID(time.Now())} {
		check(t, path, a.ask("GET", path), 404, "set jobs in the configuration")
	}
	if w := a.ask("GET", "/api/v1/status"); strings.Contains(w.Body.String(), "jobs") {
		t.Errorf("status = %s, want no word of jobs", w.Body)
	}
	a.SetState(Stopping)
}

// A page of another site must not be able to do anything to jobs, with any of
// the means that browsers have.
func TestOtherSitesChangeNothing(t *testing.T) {
	a := newJobAdmin()
	path := "/api/v1/jobs/" + a.add(t, job.Waiting, "x", "")
	for _, fields := range [][]string{
		{"Origin", "http://evil.example"}, {"Origin", "null"}, {"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"},
	} {
		for _, act := range []struct{ method, path string }{{"DELETE", path}, {"POST", path + "/cancel"}, {"POST", "/api/v1/jobs/cancel"}, {"POST", "/api/v1/jobs/purge"}} {
			check(t, fmt.Sprint(act, fields), a.ask(act.method, act.path, fields...), 403, "")
		}
	}
	check(t, "its own page", a.ask("DELETE", path, "Origin", "http://localhost", "Sec-Fetch-Site", "same-origin"), 200, "cancelled")
}

func TestPollEndsWithTheJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newJobAdmin()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go a.jobs.Run(ctx, a.Hear)
		path, began := "/api/v1/jobs/"+a.add(t, job.Waiting, "x", ""), time.Now()
		time.AfterFunc(90*time.Second+time.Millisecond, func() { a.ask("DELETE", path) })
		w := a.ask("GET", path, "Prefer", "wait=120")
		check(t, "poll", w, 200, `"state":"cancelled"`)
		if took := time.Since(began); took != 90*time.Second+time.Millisecond || w.Header().Get("Preference-Applied") != "wait=120" {
			t.Errorf("poll took %v, %v, want 90.001s", took, w.Header())
		}
		path, began = "/api/v1/jobs/"+a.add(t, job.Waiting, "x", ""), time.Now()
		time.AfterFunc(time.Second, func() { a.SetState(Stopping) })
		check(t, "poll of one that stops", a.ask("GET", path, "Prefer", "wait=120"), 200, `"state":"waiting"`)
		if took := time.Since(began); took != time.Second {
			t.Errorf("poll of one that stops took %v, want 1s", took)
		}
	})
}

// The server's bounds are for small requests; a poll is longer than they are.
func TestPollOutlastsTheServersBounds(t *testing.T) {
	a := newJobAdmin()
	id := a.add(t, job.Waiting, "x", "")
	server := httptest.NewUnstartedServer(nil)
	server.Config = a.Server()
	server.Config.ReadTimeout, server.Config.WriteTimeout = 100*time.Millisecond, 200*time.Millisecond
	server.Start()
	defer server.Close()
	req, _ := http.NewRequest("GET", server.URL+"/api/v1/jobs/"+id, nil)
	req.Header.Set("Prefer", "wait=1")
	resp, err := server.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || !strings.Contains(string(body), `"state":"waiting"`) {
		t.Errorf("poll = %s, %v, want the waiting job", body, err)
	}
}
