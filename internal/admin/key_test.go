package admin

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/job/jobtest"
)

// The key hg_right and its hash.
const (
	rightKey  = "hg_right"
	rightHash = "sha256:bab8227c64b6ae7ec923074e854496e7b1b39bf7d00b22bc1c1784abdb428a19"
)

func TestChangesNeedTheKeyWhereOthersCanReach(t *testing.T) {
	for _, s := range []struct {
		listen, key, sent string
		status            int
		detail            string // part of it
	}{
		{"127.0.0.1:8788", "", "", 204, ""},
		{"[::1]:8788", "", "", 204, ""},
		{"localhost:8788", "", "", 204, ""},
		{"127.0.0.1:8788", "", "Bearer hg_any", 204, ""},
		{"0.0.0.0:8788", "", "", 403, "headgate key --name admin"},
		{":8788", "", "Bearer hg_any", 403, "headgate key --name admin"},
		{"gate.internal:8788", "", "", 403, "headgate key --name admin"},
		{"127.0.0.1:8788", rightHash, "", 403, "Authorization: Bearer"},
		{"127.0.0.1:8788", rightHash, "Bearer hg_wrong", 403, "not the admin key"},
		{"127.0.0.1:8788", rightHash, "Basic hg_right", 403, "Authorization: Bearer"},
		{"127.0.0.1:8788", rightHash, "Bearer " + rightKey, 204, ""},
		{"0.0.0.0:8788", rightHash, "bearer " + rightKey, 204, ""},
		{"0.0.0.0:8788", rightHash, "Bearer " + rightHash, 403, "not the admin key"},
	} {
		g := &fakeGate{}
		a := New(Options{Listen: s.listen, Gate: g, Metrics: http.NotFoundHandler(), Key: s.key})
		w := send(a, "POST", "/api/v1/upstreams/openai/pause", `{"for": "30s"}`, "Authorization", s.sent)
		if w.Code != s.status || !strings.Contains(w.Body.String(), s.detail) {
			t.Errorf("listener %s, key %.12q, Authorization %q = %d %s, want %d with %q", s.listen, s.key, s.sent, w.Code, w.Body, s.status, s.detail)
		}
		if done := len(g.done) > 0; done != (s.status == 204) {
			t.Errorf("listener %s, key %.12q, Authorization %q: done = %v", s.listen, s.key, s.sent, g.done)
		}
		if s.status == 403 && w.Header().Get("Content-Type") != "application/problem+json" {
			t.Errorf("refused as %s, want a problem", w.Header().Get("Content-Type"))
		}
		if w := send(a, "GET", "/api/v1/status", ""); w.Code != 200 {
			t.Errorf("status behind a key = %d, want 200: reading stays open", w.Code)
		}
	}
}

func TestEveryChangeNeedsTheKey(t *testing.T) {
	a := New(Options{Listen: "0.0.0.0:1", Gate: &fakeGate{}, Metrics: http.NotFoundHandler(), Jobs: jobtest.NewMemory(time.Now)})
	for _, request := range []string{
		"POST /api/v1/upstreams/openai/pause", "POST /api/v1/upstreams/openai/resume", "POST /api/v1/upstreams/openai/breaker",
		"POST /api/v1/jobs/retry", "POST /api/v1/jobs/cancel", "POST /api/v1/jobs/purge",
		"POST /api/v1/jobs/x/retry", "POST /api/v1/jobs/x/cancel", "DELETE /api/v1/jobs/x",
	} {
		method, path, _ := strings.Cut(request, " ")
		if w := send(a, method, path, ""); w.Code != http.StatusForbidden {
			t.Errorf("%s without a key = %d, want 403", request, w.Code)
		}
	}
}

func TestSetKeyChangesTheKey(t *testing.T) {
	a := New(Options{Listen: "127.0.0.1:1", Gate: &fakeGate{}, Metrics: http.NotFoundHandler()})
	resume := func() int { return send(a, "POST", "/api/v1/upstreams/openai/resume", "").Code }
	if got := resume(); got != 204 {
		t.Errorf("without a key = %d, want 204", got)
	}
	if a.SetKey(rightHash); resume() != 403 {
		t.Error("a key that came by a reload is not asked for")
	}
}

func TestChangesAreToldOnce(t *testing.T) {
	var told []Change
	a := New(Options{Listen: "127.0.0.1:1", Gate: &fakeGate{}, Metrics: http.NotFoundHandler(), Changed: func(c Change) { told = append(told, c) }})
	send(a, "POST", "/api/v1/upstreams/openai/pause", `{"for": "90s"}`)
	send(a, "POST", "/api/v1/upstreams/nope/resume", "")
	send(a, "GET", "/api/v1/status", "")
	if len(told) != 2 || told[0].Request != "POST /api/v1/upstreams/openai/pause" || told[0].Detail != "1m30s" || told[0].From == "" || told[0].Err != nil || told[1].Err == nil {
		t.Errorf("told of %+v, want a pause and a fault", told)
	}
}

func TestOrdersReachTheGate(t *testing.T) {
	for _, s := range []struct {
		path, body string
		status     int
		done       string
	}{
		{"openai/pause", `{"for": "30s"}`, 204, "pause openai 30s"},
		{"openai/pause", `{"for": "-1s"}`, 400, ""},
		{"openai/pause", `{"for": "25h"}`, 400, ""},
		{"openai/pause", `{"fro": "30s"}`, 400, ""},
		{"openai/pause", ``, 400, ""},
		{"nope/pause", `{"for": "30s"}`, 404, ""},
		{"openai/resume", ``, 204, "resume openai"},
		{"openai/breaker", `{"state": "open"}`, 204, "open openai"},
		{"openai/breaker", `{"state": "closed"}`, 204, "close openai"},
		{"openai/breaker", `{"state": "ajar"}`, 400, ""},
		{"nope/breaker", `{"state": "open"}`, 404, ""},
	} {
		g := &fakeGate{}
		a := New(Options{Listen: "127.0.0.1:1", Gate: g, Metrics: http.NotFoundHandler()})
		w := send(a, "POST", "/api/v1/upstreams/"+s.path, s.body)
		if done := strings.Join(g.done, ","); w.Code != s.status || done != s.done {
			t.Errorf("%s %s = %d %s, did %q, want %d and %q", s.path, s.body, w.Code, w.Body, done, s.status, s.done)
		}
	}
}

func TestWaitingIsAskedOfTheGate(t *testing.T) {
	a := newAdmin("127.0.0.1:1")
	for query, want := range map[string]int{"upstream=openai&limit=7": 200, "upstream=openai": 200, "upstream=openai&limit=0": 400, "limit=3": 400, "upstream=nope": 404} {
		w := get(a, "/api/v1/waiting?"+query)
		if w.Code != want {
			t.Errorf("%s = %d %s, want %d", query, w.Code, w.Body, want)
		}
		var s struct{ Total int }
		if json.Unmarshal(w.Body.Bytes(), &s); strings.Contains(query, "limit=7") && s.Total != 7 {
			t.Errorf("%s = %s, want the gate asked for 7", query, w.Body)
		}
	}
}

// send makes a request with fields in pairs of name and value.
func send(a *Admin, method, path, body string, fields ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Host = "localhost"
	for i := 0; i < len(fields); i += 2 {
		if fields[i+1] != "" {
			r.Header.Set(fields[i], fields[i+1])
		}
	}
	w := httptest.NewRecorder()
	a.ServeHTTP(w, r)
	return w
}
