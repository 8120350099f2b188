package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/headgate/headgate/config"
	"github.com/headgate/headgate/internal/job"
)

func TestCallWithRespondAsyncIsStored(t *testing.T) {
	g := newJobGate(t, file(), Options{})
	w := g.ask(t, "POST", "/api/v1/a%2Fb?x=1&y=", "text", "Prefer", "respond-async, return=minimal",
		"Content-Type", "text/plain", "Authorization", "Bearer own", "Connection", "X-Hop", "X-Hop", "1", "Headgate-Max-Wait", "5s",
		"Headgate-Cost", "tokens=7", "X-Stainless-Timeout", "60", "Idempotency-Key", "k1", "Expect", "100-continue", "X-Two", "a", "X-Two", "b")
	j := read(t, w)
	if w.Code != 202 || !job.IsID(j.ID) || j.State != job.Waiting || j.Upstream != "api" || j.Priority != 5 || j.Client != "" {
		t.Fatalf("call = %d %s, want 202 and a waiting job of priority 5", w.Code, w.Body)
	}
	for name, want := range map[string]string{
		"Location": "/jobs/" + j.ID, "Preference-Applied": "respond-async", "Content-Type": "application/json", "Retry-After": "1", "Cache-Control": "no-store",
	} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	if !strings.Contains(w.Body.String(), `"attempts":[]`) {
		t.Errorf("body = %s, want an empty list of attempts", w.Body)
	}
	got := g.take(t, job.Queue("api", "", "Authorization\x00Bearer own\x00"))
	want := job.Request{Method: "POST", Path: "/v1/a%2Fb?x=1&y=", Body: []byte("text"), Header: http.Header{
		"Content-Type": {"text/plain"}, "Authorization": {"Bearer own"}, "Headgate-Cost": {"tokens=7"}, "Idempotency-Key": {"k1"},
		"X-Two": {"a", "b"}, "Prefer": {"return=minimal"}, "User-Agent": {""},
	}}
	if !reflect.DeepEqual(got.Request, want) {
		t.Errorf("stored request = %+v\nwant %+v", got.Request, want)
	}
	if got.Job.Kind != job.Call || got.Job.Fingerprint != job.Fingerprint("api", want) {
		t.Errorf("stored job = %+v, want a call with its fingerprint", got.Job)
	}
}

func TestStoredPathIsSentByteForByte(t *testing.T) {
	cfg := file()
	cfg.Upstreams["default"] = cfg.Upstreams["api"]
	g := newJobGate(t, cfg, Options{RootMount: true})
	for _, path := range []string{
		"/", "/a//b", "//a", "/a/../b/./c", "/a%2Fb", "/a%2fb/%41", "/%E2%82%AC", "/a;b=c,d", "/a?", "/?x=1&y=%20+", "/a?b?c/d", "/~a:@!$&'()*+", "/a%00b", "/a/",
	} {
		u, err := url.ParseRequestURI(path)
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequestWithContext(t.Context(), "GET", "/", nil)
		r.URL = u
		r.Header.Set("Prefer", "respond-async")
		w := httptest.NewRecorder()
		g.ServeHTTP(w, r)
		if w.Code != 202 {
			t.Fatalf("%s = %d %s, want 202", path, w.Code, w.Body)
		}
		if got := g.take(t, job.Queue("default", "", "")).Request.Path; got != path {
			t.Errorf("%s is stored as %s", path, got)
		}
	}
}

func TestPriorityOfJobs(t *testing.T) {
	clients := []config.Client{
		{Name: "fast", Key: HashKey("hg_fast"), Priority: new(1)},
		{Name: "slow", Key: HashKey("hg_slow"), Priority: new(6)},
	}
	open, closed := newJobGate(t, file(), Options{}), newJobGate(t, file(clients...), Options{})
	for _, s := range []struct {
		client, field string
		want          int
		stored        string
	}{
		{"", "", 5, ""},
		{"", "u=0", 0, "u=0"},
		{"", "u=9", 5, "u=9"},
		{"fast", "", 5, ""},
		{"fast", "u=0", 1, "u=1"},
		{"fast", "u=3, i", 3, "u=3, i"},
		{"fast", "nonsense", 5, "u=5"},
		{"slow", "", 6, ""},
		{"slow", "u=0", 6, "u=6"},
		{"slow", "u=7", 7, "u=7"},
	} {
		g, fields := open, slices.Clone(async)
		if s.client != "" {
			g, fields = closed, append(fields, "Headgate-Key", "hg_"+s.client)
		}
		if s.field != "" {
			fields = append(fields, "Priority", s.field)
		}
		if w := g.ask(t, "POST", "/api/x", "", fields...); w.Code != 202 {
			t.Fatalf("call = %d %s, want 202", w.Code, w.Body)
		}
		got := g.take(t, job.Queue("api", s.client, ""))
		if got.Job.Priority != s.want || got.Job.Client != s.client || got.Request.Header.Get("Priority") != s.stored {
			t.Errorf("Priority %q of client %q = %d of %q with field %q, want %d with %q",
				s.field, s.client, got.Job.Priority, got.Job.Client, got.Request.Header.Get("Priority"), s.want, s.stored)
		}
		if got.Request.Header.Get("Headgate-Key") != "" {
			t.Errorf("the client key is stored: %v", got.Request.Header)
		}
	}
}

func TestQueueKnowsCredentialsOnlyWhereTheyAreTheQuota(t *testing.T) {
	cfg := file()
	cfg.Upstreams["own"] = config.Upstream{URL: "http://upstream.invalid", Credentials: []config.Credential{{Header: "Authorization"}}}
	g := newJobGate(t, cfg, Options{})
	fields := append(slices.Clone(async), "Authorization", "Bearer a")
	g.ask(t, "POST", "/own/", "", fields...)
	g.ask(t, "POST", "/api/", "", fields...)
	g.take(t, job.Queue("own", "", ""))
	g.take(t, job.Queue("api", "", "Authorization\x00Bearer a\x00"))
}

func TestGatewayWithoutJobsAnswersNow(t *testing.T) {
	seen := make(chan *http.Request, 1)
	g, err := New(echoDoor(seen), file(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	g.Hear(job.Notice{ID: "x", State: job.Done})
	without := jobGate{Gateway: g}
	w := without.ask(t, "POST", "/api/x", "y", async...)
	if w.Code != 200 || w.Header().Get("Preference-Applied") != "" {
		t.Errorf("respond-async without jobs = %d %v, want 200 and no Preference-Applied", w.Code, w.Header())
	}
	if got := (<-seen).Header.Get("Prefer"); got != "respond-async" {
		t.Errorf("Prefer that went on = %q, want respond-async: the upstream may honour it", got)
	}
	checkProblem(t, "Headgate-Callback without jobs", without.ask(t, "POST", "/api/x", "y", "Headgate-Callback", "https://a"), 400, "bad-request")
	checkProblem(t, "/jobs/ without jobs", without.ask(t, "GET", "/jobs/"+job.NewID(time.Now()), ""), 404, "unknown-upstream")
}

func TestOtherPreferencesAreNoJobs(t *testing.T) {
	g := newJobGate(t, file(), Options{})
	for _, prefer := range []string{"wait=10", "return=minimal", `x="respond-async"`} {
		if w := g.ask(t, "POST", "/api/x", "y", "Prefer", prefer); w.Code != 200 {
			t.Errorf("Prefer: %s = %d, want 200, answered now", prefer, w.Code)
		}
	}
}

func TestWhatCannotBeAJobIsRefused(t *testing.T) {
	cfg := file(config.Client{Name: "web", Key: HashKey("hg_web"), Limits: []config.Limit{{Limit: "1/1h"}}})
	u := cfg.Upstreams["api"]
	u.Retry.Body, u.Retry.BodyFile = 4, 8
	cfg.Upstreams["api"] = u
	u.MaxBody = 6
	cfg.Upstreams["small"] = u
	g := newJobGate(t, cfg, Options{})
	key := []string{"Headgate-Key", "hg_web"}
	for _, s := range []struct {
		what, method, target, body string
		fields                     []string
		status                     int
		name                       string
	}{
		{"no key", "POST", "/api/", "", []string{"Headgate-Key", "hg_other"}, 401, "unauthorized"},
		{"unknown upstream", "POST", "/other/", "", key, 404, "unknown-upstream"},
		{"body beyond what is kept", "POST", "/api/", "123456789", key, 413, "body-too-large"},
		{"body beyond max_body", "POST", "/small/", "1234567", key, 413, "body-too-large"},
		{"upgrade", "GET", "/api/", "", append(key, "Connection", "Upgrade", "Upgrade", "websocket"), 400, "bad-request"},
		{"CONNECT", "CONNECT", "/api/", "", key, 405, "method-not-allowed"},
		{"two keys of idempotency", "POST", "/api/", "", append(key, "Idempotency-Key", "a", "Idempotency-Key", "b"), 400, "bad-request"},
		{"long key of idempotency", "POST", "/api/", "", append(key, "Idempotency-Key", strings.Repeat("k", 256)), 400, "bad-request"},
		{"callback without a secret", "POST", "/api/", "", append(key, "Headgate-Callback", "https://a.example"), 400, "bad-request"},
	} {
		checkProblem(t, s.what, g.ask(t, s.method, s.target, s.body, append(slices.Clone(async), s.fields...)...), s.status, s.name)
	}
	if w := g.ask(t, "POST", "/api/", "12345678", append(slices.Clone(async), key...)...); w.Code != 202 {
		t.Errorf("largest body = %d %s, want 202: what was refused counted against nothing", w.Code, w.Body)
	}
	w := g.ask(t, "POST", "/api/", "", append(slices.Clone(async), key...)...)
	checkProblem(t, "beyond the client's limit", w, 429, "client-limit")
	if w.Header().Get("Retry-After") == "" {
		t.Error("client-limit lacks Retry-After")
	}
}

func TestBodyOfUnknownLengthIsBounded(t *testing.T) {
	cfg := file()
	u := cfg.Upstreams["api"]
	u.Retry.Body, u.Retry.BodyFile = 4, 8
	cfg.Upstreams["api"] = u
	g := newJobGate(t, cfg, Options{})
	for body, want := range map[string]int{"12345678": 202, "123456789": 413} {
		r := httptest.NewRequestWithContext(t.Context(), "POST", "/api/", io.MultiReader(strings.NewReader(body)))
		r.Header.Set("Prefer", "respond-async")
		w := httptest.NewRecorder()
		if g.ServeHTTP(w, r); w.Code != want {
			t.Errorf("%d bytes = %d %s, want %d", len(body), w.Code, w.Body, want)
		}
	}
	if got := g.take(t, job.Queue("api", "", "")); string(got.Request.Body) != "12345678" {
		t.Errorf("stored body = %q, want 12345678", got.Request.Body)
	}
}

// callbacks allows one URL.
type callbacks string

func (c callbacks) CheckURL(url string) error {
	if url != string(c) {
		return errors.New("want " + string(c))
	}
	return nil
}

func TestCallbackIsCheckedAndStored(t *testing.T) {
	g := newJobGate(t, file(), Options{Callbacks: callbacks("https://a.example/x")})
	w := g.ask(t, "POST", "/api/", "", append(slices.Clone(async), "Headgate-Callback", "https://a.example/x")...)
	if got := g.take(t, job.Queue("api", "", "")); w.Code != 202 || got.Job.Callback != "https://a.example/x" || got.Request.Header.Get("Headgate-Callback") != "" {
		t.Errorf("callback = %d, stored %+v, want it with the job and not among its fields", w.Code, got)
	}
	for _, fields := range [][]string{
		append(slices.Clone(async), "Headgate-Callback", "http://169.254.169.254/"),
		append(slices.Clone(async), "Headgate-Callback", "https://a.example/x", "Headgate-Callback", "https://a.example/x"),
		{"Headgate-Callback", "https://a.example/x"},
	} {
		checkProblem(t, fmt.Sprint(fields), g.ask(t, "POST", "/api/", "", fields...), 400, "bad-request")
	}
}

func TestIdempotencyKeyIsOneJob(t *testing.T) {
	cfg := file(config.Client{Name: "a", Key: HashKey("hg_a")}, config.Client{Name: "b", Key: HashKey("hg_b")})
	g := newJobGate(t, cfg, Options{})
	send := func(client, body string, more ...string) *httptest.ResponseRecorder {
		return g.ask(t, "POST", "/api/x", body, append(more, "Prefer", "respond-async", "Idempotency-Key", "k", "Headgate-Key", "hg_"+client)...)
	}
	first, again, other := send("a", "1"), send("a", "1"), send("b", "1")
	if first.Code != 202 || again.Code != 202 || first.Header().Get("Location") != again.Header().Get("Location") {
		t.Errorf("same key = %d %s and %d %s, want the same job", first.Code, first.Body, again.Code, again.Body)
	}
	if first.Header().Get("Location") == other.Header().Get("Location") {
		t.Error("another client got the same job")
	}
	checkProblem(t, "same key, another body", send("a", "2"), 422, "idempotency-mismatch")
}

func TestIdempotencyKeyIsOfItsCredentialWhereThereAreNoClients(t *testing.T) {
	g := newJobGate(t, file(), Options{})
	jobs := map[string]bool{}
	for _, credential := range []string{"Bearer a", "Bearer b", "Bearer a"} {
		w := g.ask(t, "POST", "/api/x", "1", "Prefer", "respond-async", "Idempotency-Key", "k", "Authorization", credential)
		jobs[w.Header().Get("Location")] = true
	}
	if len(jobs) != 2 {
		t.Errorf("jobs = %v, want one for each credential", slices.Collect(maps.Keys(jobs)))
	}
}

// faulty is a store that stores nothing.
type faulty struct {
	job.Records
	err error
}

func (f faulty) Put(context.Context, job.New) (job.Job, bool, error) { return job.Job{}, false, f.err }

func TestStoreFaultsAreUnavailable(t *testing.T) {
	for err, after := range map[error]string{job.ErrFull: "60", job.ErrUnavailable: "1", errors.New("disk I/O error"): "1"} {
		g, gerr := New(echoDoor(nil), file(), Options{Jobs: faulty{err: err}})
		if gerr != nil {
			t.Fatal(gerr)
		}
		w := jobGate{Gateway: g}.ask(t, "POST", "/api/x", "1", async...)
		checkProblem(t, err.Error(), w, 503, "jobs-unavailable")
		if got := w.Header().Get("Retry-After"); got != after {
			t.Errorf("%v: Retry-After = %q, want %s", err, got, after)
		}
	}
}

func TestWaitForTheResponse(t *testing.T) {
	queue := job.Queue("api", "", "")
	answered := job.End{State: job.Done, Response: &job.Response{
		Status: 201, Header: http.Header{"X-Up": {"1"}, "Connection": {"close"}, "Content-Length": {"99"}, "Location": {"/made"}, "Preference-Applied": {"return=minimal"}}, Body: []byte("made"),
	}}
	synctest.Test(t, func(t *testing.T) {
		g := newJobGate(t, file(), Options{})
		g.hear(t)
		began := time.Now()
		time.AfterFunc(3*time.Second, func() { g.end(t, queue, answered) })
		w := g.ask(t, "POST", "/api/x", "1", "Prefer", "respond-async, wait=10")
		want := http.Header{"X-Up": {"1"}, "Location": {"/made"}, "Content-Length": {"4"}, "Content-Type": nil,
			"Preference-Applied": {"respond-async, wait=10", "return=minimal"}, "Headgate-Job": w.Header()["Headgate-Job"]}
		if w.Code != 201 || w.Body.String() != "made" || !reflect.DeepEqual(w.Header(), want) || !job.IsID(w.Header().Get("Headgate-Job")) {
			t.Errorf("answer = %d %q %v, want 201 made %v", w.Code, w.Body, w.Header(), want)
		}
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("answered after %v, want 3s", took)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		g := newJobGate(t, file(), Options{})
		g.hear(t)
		began := time.Now()
		w := g.ask(t, "POST", "/api/x", "1", "Prefer", "respond-async, wait=10")
		if took := time.Since(began); w.Code != 202 || took != 10*time.Second || w.Header().Get("Location") == "" {
			t.Errorf("answer = %d after %v, want 202 after 10s", w.Code, took)
		}
		g.end(t, queue, answered)
		w = g.ask(t, "GET", w.Header().Get("Location")+"/response", "")
		if w.Code != 201 || w.Body.String() != "made" {
			t.Errorf("response = %d %q, want 201 made", w.Code, w.Body)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		g := newJobGate(t, file(), Options{})
		g.hear(t)
		time.AfterFunc(time.Second, func() { g.end(t, queue, job.End{State: job.Failed, Reason: "too heavy"}) })
		w := g.ask(t, "POST", "/api/x", "1", "Prefer", "respond-async, wait=10")
		checkProblem(t, "job that failed without a response", w, 502, "job-failed")
		if !strings.Contains(w.Body.String(), "failed: too heavy") || !strings.HasPrefix(w.Header().Get("Location"), "/jobs/job_") {
			t.Errorf("problem = %s, Location %q, want the reason and the job", w.Body, w.Header().Get("Location"))
		}
	})
}

func TestSameKeyWaitsForTheSameResponse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newJobGate(t, file(), Options{})
		g.hear(t)
		send := func() *httptest.ResponseRecorder {
			return g.ask(t, "POST", "/api/x", "1", "Prefer", "respond-async, wait=10", "Idempotency-Key", "k")
		}
		time.AfterFunc(time.Second, func() {
			g.end(t, job.Queue("api", "", ""), job.End{State: job.Done, Response: &job.Response{Status: 200, Body: []byte("once")}})
		})
		for range 2 {
			if w := send(); w.Code != 200 || w.Body.String() != "once" {
				t.Errorf("answer = %d %q, want 200 once", w.Code, w.Body)
			}
		}
	})
}

func TestJobOutlivesItsCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newJobGate(t, file(), Options{})
		ctx, leave := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, leave)
		func() {
			defer func() {
				if r := recover(); r != http.ErrAbortHandler {
					t.Errorf("a caller who has gone: recovered %v, want ErrAbortHandler", r)
				}
			}()
			g.askAs(ctx, "POST", "/api/x", "1", "Prefer", "respond-async, wait=10")
		}()
		if got := g.take(t, job.Queue("api", "", "")); got.Job.State != job.Waiting {
			t.Errorf("job is %s, want waiting", got.Job.State)
		}
	})
}

func TestShutdownAnswersWhoWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newJobGate(t, file(), Options{})
		began := time.Now()
		time.AfterFunc(time.Second, func() { g.Shutdown(context.Background()) })
		w := g.ask(t, "POST", "/api/x", "1", "Prefer", "respond-async, wait=10")
		if w.Code != 202 || time.Since(began) != time.Second {
			t.Errorf("call = %d after %v, want 202 after 1s", w.Code, time.Since(began))
		}
		if poll := g.ask(t, "GET", w.Header().Get("Location"), "", "Prefer", "wait=10"); read(t, poll).State != job.Waiting || time.Since(began) != time.Second {
			t.Errorf("poll = %s after %v, want a waiting job at once", poll.Body, time.Since(began))
		}
	})
}
