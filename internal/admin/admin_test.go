package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/headgate/headgate"
	"github.com/headgate/headgate/internal/job/jobtest"
)

func TestReadyzFollowsTheStateAndHealthzDoesNot(t *testing.T) {
	a := newAdmin("127.0.0.1:8788")
	for _, s := range []struct {
		state  State
		status int
		body   string
	}{
		{Starting, 503, "starting\n"},
		{Ready, 200, "ready\n"},
		{Stopping, 503, "stopping\n"},
	} {
		a.SetState(s.state)
		if w := get(a, "/readyz"); w.Code != s.status || w.Body.String() != s.body {
			t.Errorf("readyz while %v = %d %q, want %d %q", s.state, w.Code, w.Body, s.status, s.body)
		}
		if w := get(a, "/healthz"); w.Code != 200 {
			t.Errorf("healthz while %v = %d, want 200", s.state, w.Code)
		}
	}
}

func TestStatusShowsTheGate(t *testing.T) {
	a := newAdmin("127.0.0.1:8788")
	a.SetState(Ready)
	w := get(a, "/api/v1/status")
	var got map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatalf("status is no JSON: %v\n%s", err, w.Body)
	}
	for key, want := range map[string]any{"version": "1.2.3", "commit": "abc", "state": "ready"} {
		if got[key] != want {
			t.Errorf("%s = %v, want %v", key, got[key], want)
		}
	}
	if ms, ok := got["uptime_ms"].(float64); !ok || ms < 0 {
		t.Errorf("uptime_ms = %v, want a number from 0", got["uptime_ms"])
	}
	upstreams, _ := got["upstreams"].([]any)
	if len(upstreams) != 1 || upstreams[0].(map[string]any)["name"] != "openai" {
		t.Errorf("upstreams = %v, want openai", got["upstreams"])
	}
}

func TestStatusOfAnEmptyGateHasAListOfUpstreams(t *testing.T) {
	a := New(Options{Listen: ":0", Gate: &fakeGate{}, Metrics: http.NotFoundHandler()})
	if w := get(a, "/api/v1/status"); !strings.Contains(w.Body.String(), `"upstreams": []`) {
		t.Errorf("status = %s, want an empty list of upstreams, not null", w.Body)
	}
}

func TestIndexNamesEveryEndpoint(t *testing.T) {
	a := newAdmin("127.0.0.1:8788")
	body := get(a, "/").Body.String()
	for _, path := range []string{"/healthz", "/readyz", "/metrics", "/api/v1/status", "/api/v1/jobs"} {
		if !strings.Contains(body, path) {
			t.Errorf("index lacks %s:\n%s", path, body)
		}
		if w := get(a, path); w.Code == http.StatusNotFound {
			t.Errorf("%s = 404, but the index names it", path)
		}
	}
	if w := get(a, "/elsewhere"); w.Code != http.StatusNotFound {
		t.Errorf("/elsewhere = %d, want 404", w.Code)
	}
}

func TestHostHeaderIsChecked(t *testing.T) {
	for _, s := range []struct {
		listen, local, host string
		ok                  bool
	}{
		{"127.0.0.1:8788", "127.0.0.1:8788", "127.0.0.1:8788", true},
		{"127.0.0.1:8788", "127.0.0.1:8788", "127.8.9.1", true},
		{"127.0.0.1:8788", "127.0.0.1:8788", "localhost:9999", true}, // a forwarded port
		{"127.0.0.1:8788", "127.0.0.1:8788", "LocalHost.", true},
		{"127.0.0.1:8788", "127.0.0.1:8788", "[::1]:8788", true},
		{"127.0.0.1:8788", "127.0.0.1:8788", "[::ffff:127.0.0.1]:8788", true},
		{"127.0.0.1:8788", "127.0.0.1:8788", "evil.example:8788", false},
		{"127.0.0.1:8788", "127.0.0.1:8788", "localhost.evil.example", false},
		{"127.0.0.1:8788", "127.0.0.1:8788", "127.0.0.1.evil.example", false},
		{"127.0.0.1:8788", "127.0.0.1:8788", "10.1.2.3:8788", false},
		{"127.0.0.1:8788", "127.0.0.1:8788", "0.0.0.0:8788", false},
		{"127.0.0.1:8788", "127.0.0.1:8788", "", false},
		{"headgate.internal:8788", "10.1.2.3:8788", "headgate.internal:8788", true},
		{"headgate.internal:8788", "10.1.2.3:8788", "Headgate.Internal", true},
		{"headgate.internal:8788", "10.1.2.3:8788", "other.internal", false},
		{"headgate.internal:8788", "10.1.2.3:8788", "10.1.2.3", false},
		{"10.1.2.3:8788", "10.1.2.3:8788", "10.1.2.3:8788", true},
		{"0.0.0.0:8788", "10.1.2.3:8788", "10.1.2.3:8788", true},
		{":8788", "10.1.2.3:8788", "10.1.2.3:8788", true},
		{"[::]:8788", "[2001:db8::1]:8788", "[2001:db8::1]:8788", true},
		{":8788", "10.1.2.3:8788", "10.1.2.4:8788", false},
		{":8788", "10.1.2.3:8788", "evil.example:8788", false},
	} {
		r := httptest.NewRequest(http.MethodGet, "/healthz", nil)
		local, err := net.ResolveTCPAddr("tcp", s.local)
		if err != nil {
			t.Fatal(err)
		}
		r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, net.Addr(local)))
		r.Host = s.host
		w := httptest.NewRecorder()
		newAdmin(s.listen).ServeHTTP(w, r)
		want := http.StatusForbidden
		if s.ok {
			want = http.StatusOK
		}
		if w.Code != want {
			t.Errorf("listener %s, connection on %s, Host %q = %d, want %d", s.listen, s.local, s.host, w.Code, want)
		}
	}
}

func TestOriginMustMatch(t *testing.T) {
	for _, s := range []struct {
		origins []string
		status  int
	}{
		{nil, 200},
		{[]string{"http://localhost:8788"}, 200},
		{[]string{"http://localhost:9999"}, 403},
		{[]string{"http://evil.example"}, 403},
		{[]string{"null"}, 403},
		{[]string{""}, 403},
		{[]string{"file://localhost:8788"}, 403},
		{[]string{"http://localhost:8788", "http://evil.example"}, 403},
	} {
		r := httptest.NewRequest(http.MethodGet, "/healthz", nil)
		r.Host = "localhost:8788"
		r.Header["Origin"] = s.origins
		w := httptest.NewRecorder()
		newAdmin("127.0.0.1:8788").ServeHTTP(w, r)
		if w.Code != s.status {
			t.Errorf("Origin %q = %d, want %d", s.origins, w.Code, s.status)
		}
	}
}

func TestOnlyGetAndHeadAreAnswered(t *testing.T) {
	server := httptest.NewServer(newAdmin("127.0.0.1:0"))
	defer server.Close()
	for method, want := range map[string]int{"GET": 200, "HEAD": 200, "POST": 405, "DELETE": 405, "OPTIONS": 405, "BREW": 405} {
		req, err := http.NewRequest(method, server.URL+"/healthz", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := server.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s = %d %q, want %d", method, resp.StatusCode, body, want)
		}
		if want == 405 && resp.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: Allow = %q, want GET, HEAD", method, resp.Header.Get("Allow"))
		}
		if got := resp.Header.Get("X-Content-Type-Options"); got != "nosniff" {
			t.Errorf("%s: X-Content-Type-Options = %q, want nosniff", method, got)
		}
	}
}

func newAdmin(listen string) *Admin {
	return New(Options{
		Listen:  listen,
		Version: "1.2.3",
		Commit:  "abc",
		Gate:    &fakeGate{status: headgate.Status{Upstreams: []headgate.UpstreamStatus{{Name: "openai"}}}},
		Metrics: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}),
		Jobs:    jobtest.NewMemory(time.Now),
	})
}

// fakeGate stands as it is told, and notes what is done to it.
type fakeGate struct {
	status headgate.Status

	mu   sync.Mutex
	done []string
}

func (g *fakeGate) Status() headgate.Status { return g.status }

func (g *fakeGate) Waiting(upstream string, n int) (headgate.WaitingStatus, error) {
	if err := g.note("waiting "+upstream, upstream); err != nil {
		return headgate.WaitingStatus{}, err
	}
	return headgate.WaitingStatus{Upstream: upstream, Total: n, Calls: []headgate.WaitingCall{}, Clients: []headgate.WaitingClient{}}, nil
}

func (g *fakeGate) Pause(upstream string, d time.Duration) error {
	return g.note("pause "+upstream+" "+d.String(), upstream)
}
func (g *fakeGate) Resume(upstream string) error      { return g.note("resume "+upstream, upstream) }
func (g *fakeGate) OpenBreaker(upstream string) error { return g.note("open "+upstream, upstream) }
func (g *fakeGate) CloseBreaker(upstream string) error {
	return g.note("close "+upstream, upstream)
}

func (g *fakeGate) note(what, upstream string) error {
	if upstream != "openai" {
		return fmt.Errorf("%w %q", headgate.ErrUnknownUpstream, upstream)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.done = append(g.done, what)
	return nil
}

func get(a *Admin, path string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.Host = "localhost"
	w := httptest.NewRecorder()
	a.ServeHTTP(w, r)
	return w
}
