package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headgate/headgate"
	"github.com/headgate/headgate/config"
	"github.com/headgate/headgate/internal/admin"
	"github.com/headgate/headgate/internal/job"
	"github.com/headgate/headgate/internal/job/jobtest"
)

// instance is an admin plane with a store of jobs.
type instance struct {
	jobs *jobtest.Memory
	url  string
}

func newInstance(t *testing.T) instance {
	t.Helper()
	in := instance{jobs: jobtest.NewMemory(time.Now)}
	a := admin.New(admin.Options{
		Listen: "127.0.0.1:0", Jobs: in.jobs, Metrics: http.NotFoundHandler(),
		Gate: newGate(t),
	})
	ctx, cancel := context.WithCancel(context.Background())
	heard := make(chan struct{})
	go func() { defer close(heard); in.jobs.Run(ctx, a.Hear) }()
	server := httptest.NewServer(a)
	in.url = server.URL
	t.Cleanup(func() { server.Close(); cancel(); <-heard })
	return in
}

// newGate is a gate without upstreams.
func newGate(t *testing.T) *headgate.Gate {
	t.Helper()
	g, err := headgate.Open(t.Context(), config.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Close() })
	return g
}

// add stores a call and ends it in a state, unless that is Waiting.
func (in instance) add(t *testing.T, state job.State, client string) string {
	t.Helper()
	n := job.New{Job: job.Job{ID: job.NewID(time.Now()), Upstream: "api", Client: client, Queue: "q" + job.NewID(time.Now())}, Request: job.Request{Method: "POST", Path: "/x"}}
	j, _, err := in.jobs.Put(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	if state != job.Waiting {
		in.end(t, n.Job.Queue, state)
	}
	return j.ID
}

func (in instance) end(t *testing.T, queue string, state job.State) {
	t.Helper()
	taken, err := in.jobs.Take(t.Context(), "w", queue, 1)
	if err == nil {
		err = in.jobs.End(t.Context(), job.End{Ref: taken[0].Ref, State: state, Reason: "because", Response: &job.Response{Status: 500, Body: []byte{0, 1, '\n'}}})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// run runs a command of jobs against the instance.
func (in instance) run(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	return run(t, "", append(append([]string{"jobs"}, args...), "--server", in.url)...)
}

func TestJobsListPrintsATable(t *testing.T) {
	in := newInstance(t)
	failed, done := in.add(t, job.Failed, "web"), in.add(t, job.Done, "")
	status, stdout, stderr := in.run(t, "list", "--state", "failed,done", "--upstream", "api")
	if lines := strings.Split(stdout, "\n"); status != 0 || stderr != "" || len(lines) != 4 || !strings.HasPrefix(lines[0], "ID ") {
		t.Fatalf("list = %d, stderr %q, printed\n%s\nwant 0 and a head and two jobs", status, stderr, stdout)
	}
	for _, want := range []string{failed + "  failed  api       web     POST /x  0         500     0s   because\n", done + "  done    api       –       POST /x  "} {
		if !strings.Contains(stdout, want) {
			t.Errorf("list lacks %q:\n%s", want, stdout)
		}
	}
	if _, stdout, _ = in.run(t, "list", "--client", "", "--quiet"); stdout != done+"\n" {
		t.Errorf("list of nobody's = %q, want %s", stdout, done)
	}
	if _, stdout, stderr = in.run(t, "list", "--limit", "1", "--quiet"); strings.Count(stdout, "\n") != 1 || stderr != "the latest 1; --limit shows more\n" {
		t.Errorf("list of one = %q, stderr %q, want one and a word of more", stdout, stderr)
	}
	var all []job.Job
	if _, stdout, _ = in.run(t, "list", "--match", failed, "--json"); json.Unmarshal([]byte(stdout), &all) != nil || len(all) != 1 || all[0].ID != failed {
		t.Errorf("list --json = %s, want an array with %s", stdout, failed)
	}
	if status, stdout, stderr = in.run(t, "list", "--callbacks"); status != 0 || stdout != "" || stderr != "no jobs\n" {
		t.Errorf("list of none = %d %q %q, want 0, no table and a word of it", status, stdout, stderr)
	}
	if _, stdout, _ = in.run(t, "list", "--callbacks", "--json"); stdout != "[]\n" {
		t.Errorf("list of none = %q, want []", stdout)
	}
}

func TestJobsListReadsPages(t *testing.T) {
	in := newInstance(t)
	for range 1500 {
		in.add(t, job.Waiting, "")
	}
	for limit, want := range map[string]int{"1200": 1200, "2000": 1500} {
		if _, stdout, _ := in.run(t, "list", "-q", "--limit", limit); strings.Count(stdout, "\n") != want {
			t.Errorf("list --limit %s = %d jobs, want %d", limit, strings.Count(stdout, "\n"), want)
		}
	}
}

func TestJobsShow(t *testing.T) {
	in := newInstance(t)
	id, waiting := in.add(t, job.Failed, "web"), in.add(t, job.Waiting, "")
	if status, stdout, stderr := in.run(t, "show", id); status != 0 || !strings.Contains(stdout, "state     failed: because\n") {
		t.Errorf("show = %d %s\n%s\nwant 0 and the state", status, stderr, stdout)
	}
	if status, stdout, _ := in.run(t, "show", id, "--response"); status != 0 || stdout != "\x00\x01\n" {
		t.Errorf("show --response = %d %q, want 0 and the body as it is, whatever its status", status, stdout)
	}
	var j job.Job
	if _, stdout, _ := in.run(t, "show", id, "--json"); json.Unmarshal([]byte(stdout), &j) != nil || j.ID != id {
		t.Errorf("show --json = %s, want the job", stdout)
	}
	for _, s := range []struct{ id, want string }{
		{waiting, "headgate: the job has not ended\n"},
		{job.NewID(time.Now()), "headgate: there is no such job\n"},
	} {
		if status, stdout, stderr := in.run(t, "show", s.id, "--response"); status != exitFailed || stdout != "" || stderr != s.want {
			t.Errorf("show --response of %s = %d %q %q, want 1 and %q", s.id, status, stdout, stderr, s.want)
		}
	}
}

func TestJobsWaitEndsWithTheLast(t *testing.T) {
	in := newInstance(t)
	done, failed := in.add(t, job.Done, ""), in.add(t, job.Failed, "")
	n := job.New{Job: job.Job{ID: job.NewID(time.Now()), Queue: "late"}}
	in.jobs.Put(t.Context(), n)
	time.AfterFunc(100*time.Millisecond, func() { in.end(t, "late", job.Done) })
	status, stdout, stderr := in.run(t, "wait", done, n.Job.ID)
	if want := done + " done 500 because\n" + n.Job.ID + " done 500 because\n"; status != 0 || stdout != want {
		t.Errorf("wait = %d %s\n%s\nwant 0 and\n%s", status, stderr, stdout, want)
	}
	status, stdout, stderr = in.run(t, "wait", failed, done)
	if status != exitFailed || strings.Count(stdout, "\n") != 2 || stderr != "headgate: 1 of 2 jobs did not end well\n" {
		t.Errorf("wait for a failed one = %d %q\n%s\nwant 1 and both", status, stderr, stdout)
	}
	waiting := in.add(t, job.Waiting, "")
	status, _, stderr = in.run(t, "wait", waiting, "--timeout", "50ms")
	if want := "headgate: " + waiting + ": not ended: the 50ms of --timeout are over\n"; status != exitFailed || stderr != want {
		t.Errorf("wait --timeout = %d %q, want 1 and %q", status, stderr, want)
	}
	if status, _, stderr = in.run(t, "wait", job.NewID(time.Now())); status != exitFailed || !strings.HasSuffix(stderr, ": there is no such job\n") {
		t.Errorf("wait for none = %d %q, want 1 and that there is none", status, stderr)
	}
}

// An instance that is restarted is waited for.
func TestJobsWaitOutlastsARestart(t *testing.T) {
	var asked atomic.Int64
	id := job.NewID(time.Now())
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch asked.Add(1) {
		case 1:
			json.NewEncoder(w).Encode(job.Job{ID: id, State: job.Running})
		case 2:
			panic(http.ErrAbortHandler)
		default:
			json.NewEncoder(w).Encode(job.Job{ID: id, State: job.Done})
		}
	}))
	defer server.Close()
	if status, stdout, stderr := run(t, "", "jobs", "wait", id, "--server", server.URL); status != 0 || stdout != id+" done\n" {
		t.Errorf("wait = %d %q %q, want 0 and the done job", status, stdout, stderr)
	}
}

func TestJobsActsSayHowMany(t *testing.T) {
	in := newInstance(t)
	a, b := in.add(t, job.Failed, "web"), in.add(t, job.Failed, "")
	in.add(t, job.Done, "")
	for _, s := range []struct {
		args           []string
		status         int
		stdout, stderr string
	}{
		{[]string{"retry", a}, 0, "1 job retried\n", ""},
		{[]string{"retry", a, b}, exitFailed, "1 job retried\n", "headgate: " + a + ": the job has not ended\n"},
		{[]string{"cancel", a}, 0, "1 job cancelled\n", ""},
		{[]string{"cancel", a}, exitFailed, "", "headgate: " + a + ": the job has ended\n"},
		{[]string{"cancel", "--client", "", "--yes"}, 0, "1 job cancelled\n", ""},
		{[]string{"retry", "--upstream", "api", "--yes"}, 0, "0 jobs retried\n", ""},
		{[]string{"retry", "--state", "cancelled", "--yes", "--json"}, 0, "{\"retried\":2}\n", ""},
		{[]string{"cancel", "--upstream", "api", "--limit", "1", "-y"}, 0, "1 job cancelled\n", ""},
		{[]string{"purge", "--older", "1h", "--yes"}, 0, "0 jobs purged\n", ""},
		{[]string{"purge", "--state", "cancelled", "--yes"}, 0, "1 job purged\n", ""},
		{[]string{"purge", "--older", "0s", "--yes"}, 0, "1 job purged\n", ""},
		{[]string{"cancel", "--state", "done", "--yes"}, exitFailed, "", "headgate: bad filter: state \"done\": this can be done to jobs that are [waiting running]\n"},
	} {
		if status, stdout, stderr := in.run(t, s.args...); status != s.status || stdout != s.stdout || stderr != s.stderr {
			t.Errorf("jobs %v = %d %q %q, want %d %q %q", s.args, status, stdout, stderr, s.status, s.stdout, s.stderr)
		}
	}
}

func TestJobsSayWhatToDoAboutTheServer(t *testing.T) {
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	text := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("hello")) }))
	defer text.Close()
	none := httptest.NewServer(admin.New(admin.Options{Gate: newGate(t), Metrics: http.NotFoundHandler()}))
	defer none.Close()
	gone := httptest.NewServer(nil)
	gone.Close()
	for url, want := range map[string]string{
		gone.URL:  "ask " + gone.URL + ": dial tcp " + gone.URL[len("http://"):] + ": connect: connection refused; is headgate serve running there? --server names another address",
		other.URL: "ask " + other.URL + ": answered 404 Not Found, as no admin listener does; is headgate serve running there?",
		text.URL:  "ask " + text.URL + ": read the answer: invalid character",
		none.URL:  "no jobs are kept here: set jobs in the configuration",
	} {
		for _, address := range []string{url, url[len("http://"):]} {
			if status, stdout, stderr := run(t, "", "jobs", "list", "--server", address); status != exitFailed || stdout != "" || !strings.HasPrefix(stderr, "headgate: "+want) {
				t.Errorf("list at %s = %d %q %q, want 1 and %q", address, status, stdout, stderr, want)
			}
		}
	}
	if _, _, stderr := run(t, "", "jobs", "list", "--server", "http://a:hush-hush@b"); strings.Contains(stderr, "hush-hush") {
		t.Errorf("the password is printed: %s", stderr)
	}
}

func TestOnlyYesConfirms(t *testing.T) {
	for in, want := range map[string]error{"y\n": nil, "yes\n": nil, "Y\n": nil, "\n": errNotConfirmed, "": errNotConfirmed, "n\n": errNotConfirmed, "yesterday\n": errNotConfirmed} {
		var errs bytes.Buffer
		err := ask(World{In: strings.NewReader(in), Err: &errs}, "purge 2 jobs?")
		if !errors.Is(err, want) || errs.String() != "purge 2 jobs? [y/N] " {
			t.Errorf("ask with answer %q = %v, printed %q, want %v", in, err, errs.String(), want)
		}
	}
}

func TestJobsAreShownAsInTheBook(t *testing.T) {
	t0 := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	at := func(d time.Duration) *time.Time { t := t0.Add(d); return &t }
	failed := job.Job{
		ID: "job_01kaqm5xv3c8w1f2t9d0r6h4ez", Kind: job.Call, State: job.Failed, Upstream: "openai", Client: "web", Method: "POST",
		Path: "/v1/chat/completions?and=a&very=long&query=string", Priority: 5, Attempted: 52, Losses: 1, Status: 500, Reason: "status 500\x1b[31m",
		CreatedAt: t0, StartedAt: at(time.Second), EndedAt: at(3 * time.Minute), ExpiresAt: at(24 * time.Hour), Callback: "https://hooks.example.com/x",
		Attempts: []job.Attempt{
			{At: *at(1500 * time.Millisecond), Status: 429, Reading: "throttled", Reason: "Retry-After: 2", DelayMS: 2000, TookMS: 102},
			{At: *at(3600 * time.Millisecond), Reason: "connection reset", DelayMS: 61_200, TookMS: 12},
			{At: *at(2*time.Minute + 59*time.Second), Status: 500, Reading: "overloaded", TookMS: 900},
		},
	}
	waiting := job.Job{ID: "job_01kaqm5xv3c8w1f2t9d0r6h4f0", State: job.Waiting, Upstream: "api", Method: "GET", Path: "/", Priority: 5, CreatedAt: t0, NotBefore: at(time.Hour)}
	callback := job.Job{ID: "job_01kaqm5xv3c8w1f2t9d0r6h4f1", Kind: job.Callback, State: job.Running, Method: "POST", Path: "https://hooks.example.com/x", Parent: failed.ID, CreatedAt: t0, StartedAt: at(time.Second)}
	var out bytes.Buffer
	p := newJobPainter(&out)
	all := []job.Job{failed, waiting, callback}
	if err := p.list(&out, all, t0.Add(5*time.Minute)); err != nil {
		t.Fatal(err)
	}
	for _, j := range all {
		out.WriteString("\n")
		if err := p.show(&out, j, t0.Add(5*time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	golden(t, "jobs-shown.txt", out.String())
	if strings.Contains(out.String(), "\x1b") {
		t.Errorf("escapes of an upstream, or colours without a terminal, are printed: %q", out.String())
	}
}

func TestLongLinesAreCutToTheTerminal(t *testing.T) {
	var out bytes.Buffer
	p := newJobPainter(&out)
	p.width = 60
	if err := p.list(&out, []job.Job{{ID: "job_01kaqm5xv3c8w1f2t9d0r6h4ez", Method: "GET", Path: "/" + strings.Repeat("ä", 100), Reason: strings.Repeat("long ", 50)}}, time.Now()); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(out.String()) {
		if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > 60 {
			t.Errorf("a line has %d columns, want at most 60: %s", n, line)
		}
	}
}

func TestAge(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 0: "0s", 59 * time.Second: "59s", time.Minute: "1m", 119 * time.Minute: "1h", 47 * time.Hour: "47h", 48 * time.Hour: "2d",
	} {
		if got := age(d); got != want {
			t.Errorf("age(%v) = %s, want %s", d, got, want)
		}
	}
}

func TestConfirmationNeedsATerminal(t *testing.T) {
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if isTerminal(f) || isTerminal(strings.NewReader("")) {
		t.Error("what is no terminal passes for one")
	}
}
