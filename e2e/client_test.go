package e2e

import (
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// newKey makes a client key as a user does.
func newKey(t *testing.T) (key, hash string) {
	t.Helper()
	r := run(t, headgate([]string{"key"}))
	match := regexp.MustCompile(`(?m)^key:  (hg_\S+)\nhash: (sha256:[0-9a-f]{64})$`).FindStringSubmatch(r.stdout)
	if r.status != 0 || match == nil {
		t.Fatalf("headgate key = %d\n%s%s", r.status, r.stdout, r.stderr)
	}
	return match[1], match[2]
}

func TestOutputOfKeyWorksInAFile(t *testing.T) {
	t.Parallel()
	up := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Header.Get("Authorization"), r.Header.Get("X-Api-Key"), r.Header.Get("Headgate-Key"))
	})
	made := run(t, headgate([]string{"key", "--name", "web"}))
	_, clients, ok := strings.Cut(made.stdout, "\n\n")
	if made.status != 0 || !ok {
		t.Fatalf("headgate key = %d\n%s%s", made.status, made.stdout, made.stderr)
	}
	key := strings.Fields(made.stdout)[1]
	file := fmt.Sprintf("upstreams: {api: {url: %q}}\n%s", up.URL, clients)
	g, _ := serveFile(t, file)
	c := newClient(t)
	for _, fields := range [][]string{
		{"Headgate-Key", key},
		{"Authorization", "Bearer " + key},
		{"X-Api-Key", key},
	} {
		if a := get(t, c, g.url+"/api/", fields...); a.status != 200 || a.body != "" {
			t.Errorf("call with %s = %v, want 200 and an upstream that saw no key", fields[0], a)
		}
	}
	if strings.Contains(file, key) || strings.Contains(g.stderr.String(), key) {
		t.Error("the key itself is in the file or in the log")
	}
}

func TestUnknownKeysAndForeignUpstreamsAreRefused(t *testing.T) {
	t.Parallel()
	up := newUpstream(t, func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("%s %s reached the upstream", r.Method, r.URL)
	})
	key, hash := newKey(t)
	g, _ := serveFile(t, fmt.Sprintf(`
upstreams: {api: {url: %[1]q}, other: {url: %[1]q}}
clients: [{name: web, key: %[2]q, upstreams: [other]}]
`, up.URL, hash))
	c := newClient(t)
	for _, fields := range [][]string{nil, {"Headgate-Key", "hg_wrong"}, {"Headgate-Key", hash}, {"Authorization", "Bearer sk-live-1"}} {
		a := get(t, c, g.url+"/other/", fields...)
		wantProblem(t, a, 401, "unauthorized")
		if a.header.Get("WWW-Authenticate") == "" {
			t.Errorf("401 with %v lacks WWW-Authenticate", a.header)
		}
	}
	wantProblem(t, get(t, c, g.url+"/api/", "Headgate-Key", key), 403, "forbidden")
	wantProblem(t, get(t, c, g.url+"/nowhere/", "Headgate-Key", key), 404, "unknown-upstream")
}

func TestClientLimitSaysWhenToComeBack(t *testing.T) {
	t.Parallel()
	up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("RateLimit", `"theirs";r=9;t=9`)
	})
	key, hash := newKey(t)
	other, otherHash := newKey(t)
	g, _ := serveFile(t, fmt.Sprintf(`
upstreams: {api: {url: %q}}
clients:
  - {name: web, key: %q, limits: [2/1m]}
  - {name: cron, key: %q}
`, up.URL, hash, otherHash))
	c := newClient(t)
	for left := 1; left >= 0; left-- {
		a := get(t, c, g.url+"/api/", "Headgate-Key", key)
		if a.status != 200 || !strings.HasPrefix(a.header.Get("RateLimit"), fmt.Sprintf(`"2/1m";r=%d;t=`, left)) ||
			a.header.Get("RateLimit-Policy") != `"2/1m";q=2;w=60` {
			t.Errorf("call = %v with %v, want 200, %d left of 2 in 60 s", a, a.header, left)
		}
	}
	a := get(t, c, g.url+"/api/", "Headgate-Key", key)
	wantProblem(t, a, 429, "client-limit")
	if s, err := strconv.Atoi(a.header.Get("Retry-After")); err != nil || s < 50 || s > 61 {
		t.Errorf("Retry-After = %q, want about 60 s", a.header.Get("Retry-After"))
	}
	if !strings.HasPrefix(a.header.Get("RateLimit"), `"2/1m";r=0;t=`) {
		t.Errorf("RateLimit of the refusal = %q, want nothing left", a.header.Get("RateLimit"))
	}
	if a := get(t, c, g.url+"/api/", "Headgate-Key", other); a.status != 200 {
		t.Errorf("call of another client = %v, want 200", a)
	}
}

func TestRefusalsOfTheGateAreProblems(t *testing.T) {
	t.Parallel()
	up := newHolding(t)
	g, _ := serveFile(t, fmt.Sprintf(`
upstreams:
  narrow: {url: %q, limits: ["concurrent:1", "tokens:10/1m"], line: {max_length: 1}, max_body: 100}
  gone: {url: "http://127.0.0.1:1", retry: {attempts: 1}}
`, up.URL))
	c := newClient(t)
	first := begin(t, c, g.url+"/narrow/first")
	up.next(t)
	second := begin(t, c, g.url+"/narrow/second")
	eventually(t, "a call is in line", func() bool { return g.metric(t, c, `headgate_line_length{upstream="narrow"}`) == 1 })
	wantProblem(t, get(t, c, g.url+"/narrow/third"), 429, "line-full")
	wantProblem(t, get(t, c, g.url+"/narrow/", "Headgate-Cost", "tokens=11"), 400, "too-heavy")
	wantProblem(t, get(t, c, g.url+"/narrow/", "Headgate-Max-Wait", "soon"), 400, "bad-request")
	wantProblem(t, do(t, c, newRequest(t, "POST", g.url+"/narrow/", strings.Repeat("x", 101))), 413, "body-too-large")
	wantProblem(t, get(t, c, g.url+"/gone/"), 502, "unreachable")
	close(up.release)
	for _, answered := range []<-chan string{first, second} {
		if got := receive(t, "a held call is answered", answered); !strings.HasPrefix(got, "200 ") {
			t.Errorf("held call = %s, want 200", got)
		}
	}
}
