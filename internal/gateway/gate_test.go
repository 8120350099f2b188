package gateway

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headgate/headgate"
	"github.com/headgate/headgate/config"
)

// behindGate serves a gateway to an upstream through a real gate.
func behindGate(t *testing.T, upstream http.HandlerFunc, set func(*config.Upstream)) string {
	t.Helper()
	target := newThrough(t, upstream, false).target
	u := config.Upstream{URL: target.String(), Retry: config.Retry{Base: config.Duration(time.Millisecond), Jitter: "none"}}
	if set != nil {
		set(&u)
	}
	cfg := config.Config{Upstreams: map[string]config.Upstream{"api": u}}.WithDefaults()
	tr := &http.Transport{DisableCompression: true}
	gate, err := headgate.Open(t.Context(), cfg, headgate.Base(tr))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		gate.Close()
		tr.CloseIdleConnections()
	})
	_, base := start(t, gate, cfg, Options{})
	return base
}

func TestGateRetriesWithTheSameBody(t *testing.T) {
	for _, known := range []bool{true, false} {
		var attempts atomic.Int32
		base := behindGate(t, func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			if attempts.Add(1) < 3 {
				w.Header().Set("Retry-After", "0")
				w.WriteHeader(429)
				return
			}
			w.Write(body)
		}, nil)
		var body io.Reader = strings.NewReader("hello")
		if !known {
			body = struct{ io.Reader }{body}
		}
		res, err := newClient(t, false).Post(base+"/api/x", "text/plain", body)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode != 200 || string(text) != "hello" || res.Header.Get("Headgate-Attempts") != "3" {
			t.Errorf("known %v: %d %q after %s attempts, want 200 hello after 3", known, res.StatusCode, text, res.Header.Get("Headgate-Attempts"))
		}
	}
}

func TestGateReplacesCredentialAndStripsItsFields(t *testing.T) {
	seen := make(chan *http.Request, 1)
	base := behindGate(t, func(w http.ResponseWriter, r *http.Request) { seen <- r }, func(u *config.Upstream) {
		u.Credentials = []config.Credential{{Header: "Authorization", Value: config.NewSecret("Bearer sk-upstream")}}
	})
	do(t, newClient(t, false), "GET", base+"/api/a%2Fb//c?q=1", "", "Authorization", "Bearer sk-caller", "Headgate-Max-Wait", "5s", "Headgate-Cost", "tokens=1")
	r := <-seen
	if r.RequestURI != "/a%2Fb//c?q=1" || r.Header.Get("Authorization") != "Bearer sk-upstream" || r.Header.Get("Headgate-Max-Wait") != "" || r.Header.Get("Headgate-Cost") != "" {
		t.Errorf("upstream got %s with %v", r.RequestURI, r.Header)
	}
}

func TestGateRefusesHopelessWait(t *testing.T) {
	base := behindGate(t, func(w http.ResponseWriter, r *http.Request) {}, func(u *config.Upstream) {
		u.Limits = []config.Limit{{Limit: "1/1h"}}
	})
	client := newClient(t, false)
	do(t, client, "GET", base+"/api/", "")
	res, body := do(t, client, "GET", base+"/api/", "", "Headgate-Max-Wait", "1s")
	if res.StatusCode != 504 || !strings.Contains(body, "/deadline") || res.Header.Get("Retry-After") == "" {
		t.Errorf("got %d %s with Retry-After %q, want 504 deadline", res.StatusCode, body, res.Header.Get("Retry-After"))
	}
}

func TestGateSaysUnreachable(t *testing.T) {
	base := behindGate(t, func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) }, func(u *config.Upstream) {
		u.Retry.Attempts = 2
	})
	res, body := do(t, newClient(t, false), "GET", base+"/api/", "")
	if res.StatusCode != 502 || !strings.Contains(body, "/unreachable") {
		t.Errorf("got %d %s, want 502 unreachable", res.StatusCode, body)
	}
}

func TestGateFreesPlaceOfCallerWhoLeft(t *testing.T) {
	entered, hold := make(chan struct{}, 1), make(chan struct{})
	base := behindGate(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hold" {
			entered <- struct{}{}
			select {
			case <-hold:
			case <-r.Context().Done():
			}
		}
	}, func(u *config.Upstream) { u.Limits = []config.Limit{{Limit: "concurrent:1"}} })
	ctx, cancel := context.WithCancel(t.Context())
	req, _ := http.NewRequestWithContext(ctx, "POST", base+"/api/hold", bytes.NewReader([]byte("x")))
	left := make(chan error, 1)
	go func() {
		_, err := newClient(t, false).Do(req)
		left <- err
	}()
	<-entered
	cancel()
	<-left
	if res, body := do(t, newClient(t, false), "GET", base+"/api/next", "", "Headgate-Max-Wait", "5s"); res.StatusCode != 200 {
		t.Errorf("the next call = %d %s, want 200", res.StatusCode, body)
	}
	close(hold)
}

func TestGateRefusesBodyTooLargeWithoutRetry(t *testing.T) {
	var attempts atomic.Int32
	base := behindGate(t, func(w http.ResponseWriter, r *http.Request) {
		attempts.Add(1)
		io.Copy(io.Discard, r.Body)
	}, func(u *config.Upstream) { u.MaxBody = 1000 })
	res, err := newClient(t, false).Post(base+"/api/", "", struct{ io.Reader }{bytes.NewReader(pattern(100000))})
	if err != nil {
		t.Fatal(err)
	}
	text, _ := io.ReadAll(res.Body)
	res.Body.Close()
	if res.StatusCode != 413 || attempts.Load() > 1 {
		t.Errorf("got %d %s after %d attempts, want 413 after one at most", res.StatusCode, text, attempts.Load())
	}
}

// BenchmarkGate is a whole call over sockets, client and upstream included.
func BenchmarkGate(b *testing.B) {
	text := bytes.Repeat([]byte("x"), 1024)
	target := newThrough(b, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Write(text)
	}, false).target
	cfg := config.Config{Upstreams: map[string]config.Upstream{"api": {URL: target.String()}}}.WithDefaults()
	gate, err := headgate.Open(b.Context(), cfg)
	if err != nil {
		b.Fatal(err)
	}
	defer gate.Close()
	_, base := start(b, gate, cfg, Options{})
	for _, url := range []string{target.String() + "/", base + "/api/"} {
		name := "direct"
		if url != target.String()+"/" {
			name = "gateway"
		}
		b.Run(name, func(b *testing.B) {
			client := newClient(b, false)
			b.ReportAllocs()
			for b.Loop() {
				if res, _ := do(b, client, "POST", url, "{}"); res.StatusCode != 200 {
					b.Fatal(fmt.Sprint(res.StatusCode))
				}
			}
		})
	}
}
