package gateway

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate"
	"github.com/headgate/headgate/config"
)

func TestPathPassesByteForByte(t *testing.T) {
	seen := make(chan *http.Request, 1)
	cfg := file()
	cfg.Upstreams["default"] = cfg.Upstreams["api"]
	_, mounted := start(t, echoDoor(seen), cfg, Options{})
	_, root := start(t, echoDoor(seen), cfg, Options{RootMount: true})
	for _, path := range []string{
		"/", "/v1/chat", "/a//b", "//a", "/a/../b/./c", "/a%2Fb", "/a%2fb/%41", "/%E2%82%AC", "/a;b=c,d", "/a?", "/?x=1&y=%20+", "/a?b?c/d", "/~a:@!$&'()*+", "/a%00b", "/a/",
	} {
		for _, base := range []string{root, mounted + "/api"} {
			raw(t, base, "GET "+prefixOf(base)+path+" HTTP/1.1\r\nHost: x\r\n\r\n")
			if got := (<-seen).URL.RequestURI(); got != path {
				// A URL that begins with // is written with its host in front.
				if got = strings.TrimPrefix(got, "http:"); got != path {
					t.Errorf("%s%s: the door got %q", base, path, got)
				}
			}
		}
	}
}

// prefixOf returns the path of a base URL.
func prefixOf(base string) string {
	if i := strings.IndexByte(base[len("http://"):], '/'); i >= 0 {
		return base[len("http://")+i:]
	}
	return ""
}

// raw sends bytes to a server and returns the status of the first answer, 0 if
// there is none, and all that the server sent until it closed or fell silent
// after a whole answer.
func raw(t testing.TB, base, text string) (status int, body string) {
	t.Helper()
	conn, err := net.Dial("tcp", strings.SplitN(base[len("http://"):], "/", 2)[0])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	go io.WriteString(conn, text)
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	all, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(all)
}

func TestUnknownMountIsNotFound(t *testing.T) {
	_, base := start(t, echoDoor(nil), file(), Options{})
	for _, path := range []string{"/", "/ap", "/other/api", "//api/x", "/api%2Fx", "/API/x"} {
		res, body := do(t, newClient(t, false), "GET", base+path, "")
		if res.StatusCode != 404 || !strings.Contains(body, "/unknown-upstream") {
			t.Errorf("GET %s = %d %s, want 404 unknown-upstream", path, res.StatusCode, body)
		}
	}
	if res, _ := do(t, newClient(t, false), "GET", base+"/api?x=1", ""); res.StatusCode != 200 {
		t.Errorf("GET /api?x=1 = %d, want 200", res.StatusCode)
	}
}

func TestRootMountNeedsDefaultUpstream(t *testing.T) {
	if _, err := New(echoDoor(nil), file(), Options{RootMount: true}); !errors.Is(err, headgate.ErrUnknownUpstream) {
		t.Errorf("New = %v, want ErrUnknownUpstream", err)
	}
}

func TestHopByHopFieldsEndHere(t *testing.T) {
	got := make(chan http.Header, 1)
	door := newThrough(t, func(w http.ResponseWriter, r *http.Request) {
		got <- r.Header
		h := w.Header()
		h["Connection"] = []string{"X-Hop"}
		h["X-Hop"] = []string{"1"}
		h["Keep-Alive"] = []string{"timeout=5"}
		h["Proxy-Authenticate"] = []string{"Basic"}
		h["X-End"] = []string{"a", "b"}
		w.WriteHeader(204)
	}, false)
	_, base := start(t, door, file(), Options{})
	conn, err := net.Dial("tcp", base[len("http://"):])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET /api/x HTTP/1.1\r\nHost: gateway.test\r\nConnection: close, X-Private\r\nX-Private: 1\r\nKeep-Alive: 1\r\n"+
		"Proxy-Authorization: Basic x\r\nTE: trailers, deflate\r\nUpgrade: h2c\r\nX-End: a\r\nX-End: b\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n")
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()

	sent := <-got
	want := http.Header{"Te": {"trailers"}, "X-End": {"a", "b"}, "X-Forwarded-For": {"1.2.3.4"}}
	if fmt.Sprint(sent) != fmt.Sprint(want) {
		t.Errorf("upstream got %v, want %v", sent, want)
	}
	for _, name := range []string{"X-Hop", "Keep-Alive", "Proxy-Authenticate", "Via", "Content-Type"} {
		if v, ok := res.Header[name]; ok {
			t.Errorf("caller got %s: %q, want none", name, v)
		}
	}
	if v := res.Header["X-End"]; !slices.Equal(v, []string{"a", "b"}) {
		t.Errorf("caller got X-End: %q, want a, b", v)
	}
}

func TestHostIsNotOurs(t *testing.T) {
	got := make(chan string, 1)
	door := newThrough(t, func(w http.ResponseWriter, r *http.Request) { got <- r.Host }, false)
	_, base := start(t, door, file(), Options{})
	req, _ := http.NewRequestWithContext(t.Context(), "GET", base+"/api/", nil)
	req.Host = "gateway.test"
	res, err := newClient(t, false).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if host := <-got; host != door.target.Host {
		t.Errorf("upstream got Host %q, want its own %q", host, door.target.Host)
	}
}

func TestMalformedFieldsAreRefused(t *testing.T) {
	_, base := start(t, echoDoor(nil), file(), Options{})
	for _, c := range []struct {
		name, value string
		status      int
	}{
		{"Headgate-Max-Wait", "30s", 200},
		{"Headgate-Max-Wait", "30", 400},
		{"Headgate-Max-Wait", "0s", 400},
		{"Headgate-Max-Wait", "-1s", 400},
		{"Headgate-Max-Wait", "", 400},
		{"Headgate-Cost", "tokens=1200,images=2", 200},
		{"Headgate-Cost", "tokens", 400},
		{"Headgate-Cost", "tokens=-1", 400},
		{"Headgate-Callback", "https://example.com/", 400},
		{"Prefer", "respond-async, wait=10", 200},
	} {
		res, body := do(t, newClient(t, false), "GET", base+"/api/", "", c.name, c.value)
		if res.StatusCode != c.status {
			t.Errorf("%s: %q = %d %s, want %d", c.name, c.value, res.StatusCode, body, c.status)
		}
		if c.status == 400 && (!strings.Contains(body, "/bad-request") || !strings.Contains(body, c.name)) {
			t.Errorf("%s: %q answered %s, want a bad-request that names the field", c.name, c.value, body)
		}
		if res.Header.Get("Preference-Applied") != "" {
			t.Errorf("%s: %q: a preference was applied", c.name, c.value)
		}
	}
}

func TestClientKeysOpenTheirUpstreams(t *testing.T) {
	web, webHash := NewKey()
	other, otherHash := NewKey()
	seen := make(chan *http.Request, 1)
	cfg := file(config.Client{Name: "web", Key: webHash, Upstreams: []string{"api"}}, config.Client{Name: "other", Key: otherHash, Upstreams: []string{"elsewhere"}})
	_, base := start(t, echoDoor(seen), cfg, Options{})
	for _, c := range []struct {
		fields []string
		status int
		left   http.Header
	}{
		{nil, 401, nil},
		{[]string{"Headgate-Key", web + "x"}, 401, nil},
		{[]string{"Authorization", "Bearer sk-upstream"}, 401, nil},
		{[]string{"Headgate-Key", other}, 403, nil},
		{[]string{"Headgate-Key", web}, 200, http.Header{}},
		{[]string{"Authorization", "bearer " + web}, 200, http.Header{}},
		{[]string{"x-api-key", web}, 200, http.Header{}},
		{[]string{"Headgate-Key", web, "Authorization", "Bearer sk-mine"}, 200, http.Header{"Authorization": {"Bearer sk-mine"}}},
		{[]string{"Headgate-Key", web, "Authorization", "Bearer " + other, "X-Api-Key", "mine"}, 200, http.Header{"X-Api-Key": {"mine"}}},
	} {
		res, body := do(t, newClient(t, false), "GET", base+"/api/", "", c.fields...)
		if res.StatusCode != c.status {
			t.Errorf("%v: %d %s, want %d", c.fields, res.StatusCode, body, c.status)
			continue
		}
		switch c.status {
		case 200:
			h := (<-seen).Header
			for _, f := range []string{"Headgate-Key", "Authorization", "X-Api-Key"} {
				if !slices.Equal(h[f], c.left[f]) {
					t.Errorf("%v: the door got %s: %q, want %q", c.fields, f, h[f], c.left[f])
				}
			}
		case 401:
			if res.Header.Get("WWW-Authenticate") != "Bearer" {
				t.Errorf("%v: 401 without WWW-Authenticate: Bearer", c.fields)
			}
		}
		if strings.Contains(body, web) || strings.Contains(body, other) {
			t.Errorf("%v: a key is in the answer %s", c.fields, body)
		}
	}
}

func TestKeyIsRemovedWhereAnyoneMayCall(t *testing.T) {
	key, _ := NewKey()
	seen := make(chan *http.Request, 1)
	_, base := start(t, echoDoor(seen), file(), Options{})
	do(t, newClient(t, false), "GET", base+"/api/", "", "Headgate-Key", "whatever", "Authorization", "Bearer "+key)
	for f, v := range (<-seen).Header {
		if f == "Headgate-Key" || f == "Authorization" {
			t.Errorf("the door got %s: %q", f, v)
		}
	}
}

func TestPriorityOnlyLessUrgentThanClients(t *testing.T) {
	key, hash := NewKey()
	five := 5
	seen := make(chan *http.Request, 1)
	_, known := start(t, echoDoor(seen), file(config.Client{Name: "web", Key: hash, Priority: &five}), Options{})
	_, anyone := start(t, echoDoor(seen), file(), Options{})
	for _, c := range []struct{ base, asked, want string }{
		{known, "u=0", "u=5"},
		{known, "u=7, i", "u=7, i"},
		{known, "i", "u=5, i"},
		{known, "u=9", "u=5"},
		{known, `x="u=7", u=1`, "u=5"},
		{known, "u=6, u=2;x", "u=5"},
		{anyone, "u=0", "u=0"},
	} {
		do(t, newClient(t, false), "GET", c.base+"/api/", "", "Headgate-Key", key, "Priority", c.asked)
		if got := (<-seen).Header.Get("Priority"); got != c.want {
			t.Errorf("Priority: %s reached the door as %q, want %q", c.asked, got, c.want)
		}
	}
}

func TestProblemsAreTold(t *testing.T) {
	soon := time.Now().Add(90 * time.Second).Truncate(time.Millisecond) // rounded up it would be 91 s away
	for _, c := range []struct {
		err        error
		status     int
		name       string
		retryAfter bool
	}{
		{&headgate.RefusedError{Upstream: "api", RetryAt: soon, Err: headgate.ErrLineFull}, 429, "line-full", true},
		{&headgate.RefusedError{Upstream: "api", Err: headgate.ErrLineFull}, 429, "line-full", false},
		{&headgate.RefusedError{Upstream: "api", RetryAt: soon, Err: headgate.ErrBreakerOpen}, 503, "breaker-open", true},
		{&headgate.RefusedError{Upstream: "api", RetryAt: soon, Err: headgate.ErrDeadline}, 504, "deadline", true},
		{&headgate.RefusedError{Upstream: "api", Err: headgate.ErrTooHeavy}, 400, "too-heavy", false},
		{headgate.ErrUnknownUpstream, 404, "unknown-upstream", false},
		{headgate.ErrClosed, 503, "shutting-down", false},
		{&headgate.UnreachableError{Upstream: "api", Attempts: 5, Err: io.ErrUnexpectedEOF}, 502, "unreachable", false},
		{&headgate.UnreachableError{Upstream: "api", Attempts: 1, Err: headgate.ErrAttemptTimeout}, 502, "unreachable", false},
		{errors.New("something else"), 502, "unreachable", false},
	} {
		door := doorFunc(func(*http.Request) (*http.Response, error) { return nil, c.err })
		_, base := start(t, door, file(), Options{})
		res, body := do(t, newClient(t, false), "GET", base+"/api/", "")
		var p problem
		if err := json.Unmarshal([]byte(body), &p); err != nil {
			t.Errorf("%v: answered %q: %v", c.err, body, err)
			continue
		}
		if res.StatusCode != c.status || p.Status != c.status || !strings.HasSuffix(p.Type, "/"+c.name) || p.Upstream != "api" || p.Title == "" || p.Detail == "" {
			t.Errorf("%v: answered %d %+v, want %d %s", c.err, res.StatusCode, p, c.status, c.name)
		}
		if ct := res.Header.Get("Content-Type"); ct != "application/problem+json" {
			t.Errorf("%v: Content-Type %q, want application/problem+json", c.err, ct)
		}
		after := res.Header.Get("Retry-After")
		if c.retryAfter && (after != "90" || p.RetryAt == nil || !p.RetryAt.Equal(soon.Round(time.Millisecond))) || !c.retryAfter && (after != "" || p.RetryAt != nil) {
			t.Errorf("%v: Retry-After %q and retry_at %v, want them: %v", c.err, after, p.RetryAt, c.retryAfter)
		}
	}
}

func TestImpossibleStatusIsAnError(t *testing.T) {
	for _, status := range []int{0, 42, 199, 1000} {
		door := doorFunc(func(*http.Request) (*http.Response, error) { return answer(status, ""), nil })
		_, base := start(t, door, file(), Options{})
		if res, body := do(t, newClient(t, false), "GET", base+"/api/", ""); res.StatusCode != 502 {
			t.Errorf("status %d of the upstream = %d %s, want 502", status, res.StatusCode, body)
		}
	}
}

func TestReloadKeepsCountsOfUnchangedClients(t *testing.T) {
	now := time.Now()
	_, hash := NewKey()
	a := config.Client{Name: "a", Key: hash, Limits: []config.Limit{{Limit: "1/1h"}}}
	g, err := New(echoDoor(nil), file(a), Options{})
	if err != nil {
		t.Fatal(err)
	}
	before := g.table.Load().client("a").limits
	if _, err := before.take(now, nil, 0); err != nil {
		t.Fatal(err)
	}
	_, a.Key = NewKey() // another key is the same client
	if err := g.Reload(file(a)); err != nil {
		t.Fatal(err)
	}
	if _, err := g.table.Load().client("a").limits.take(now, nil, 0); !errors.Is(err, errClientLimit) {
		t.Errorf("a second call after Reload = %v, want errClientLimit", err)
	}
	a.Limits = []config.Limit{{Limit: "2/1h"}}
	if err := g.Reload(file(a)); err != nil {
		t.Fatal(err)
	}
	if _, err := g.table.Load().client("a").limits.take(now, nil, 0); err != nil {
		t.Errorf("a call under other limits = %v, want none of the old count", err)
	}
}

func TestReloadRefusesBadConfigurationAndKeepsTheOld(t *testing.T) {
	g, err := New(echoDoor(nil), file(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	old := g.table.Load()
	_, hash := NewKey()
	for _, c := range []config.Client{
		{Name: "a", Key: "sha256:123"},
		{Name: "a", Key: "hg_plain"},
		{Name: "a", Key: hash, Limits: []config.Limit{{Limit: "often"}}},
	} {
		if err := g.Reload(file(c)); err == nil || g.table.Load() != old {
			t.Errorf("Reload with %+v = %v, want an error and the old table", c, err)
		} else if strings.Contains(err.Error(), "hg_plain") {
			t.Errorf("a key is in the error %v", err)
		}
	}
}

func TestCallerGoneCancelsAttempt(t *testing.T) {
	for _, body := range []string{"", "short"} {
		entered, ended := make(chan struct{}), make(chan error, 1)
		door := doorFunc(func(req *http.Request) (*http.Response, error) {
			close(entered)
			<-req.Context().Done()
			ended <- context.Cause(req.Context())
			return nil, req.Context().Err()
		})
		_, base := start(t, door, file(), Options{})
		ctx, cancel := context.WithCancel(t.Context())
		req, _ := http.NewRequestWithContext(ctx, "POST", base+"/api/", bytes.NewReader([]byte(body)))
		go func() { <-entered; cancel() }()
		if _, err := newClient(t, false).Do(req); !errors.Is(err, context.Canceled) {
			t.Errorf("Do = %v, want context.Canceled", err)
		}
		select {
		case err := <-ended:
			if err == nil {
				t.Errorf("the attempt ended without a cause")
			}
		case <-time.After(5 * time.Second):
			t.Errorf("body %q: the attempt was not cancelled", body)
		}
	}
}

// FuzzFindKeepsThePath cuts a mount off a path and nothing else.
func FuzzFindKeepsThePath(f *testing.F) {
	for _, seed := range []string{"/api/a%2Fb//c", "/api", "/a%70i/x%zz", "//api/x", "/api/|^", "/api/%7C"} {
		f.Add(seed)
	}
	g, err := New(echoDoor(nil), file(), Options{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, target string) {
		u, err := url.ParseRequestURI(target)
		if err != nil || u.Host != "" || u.Scheme != "" {
			return
		}
		r, m, err := g.table.Load().find(u)
		if err != nil {
			return
		}
		left := url.URL{Path: m.path, RawPath: m.raw}
		mount, rest := cutMount(u.EscapedPath())
		if name, _ := url.PathUnescape(mount); name != r.upstream {
			t.Errorf("%q went to %s", target, r.upstream)
		}
		if got := left.EscapedPath(); got != rest && !(rest == "" && got == "/") {
			t.Errorf("%q left %q, want %q", target, got, rest)
		}
	})
}

func FuzzReadPriority(f *testing.F) {
	f.Add("u=1, i")
	f.Add("u=8;x,i=?0")
	f.Fuzz(func(t *testing.T, field string) {
		if u, _ := readPriority([]string{field}); u < -1 || u > 7 {
			t.Errorf("%q: urgency %d", field, u)
		}
	})
}
