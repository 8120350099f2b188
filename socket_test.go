package headgate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headgate/headgate/config"
)

// serve opens a gate with "api", a server on a real socket. When the test
// ends, no goroutine of either may be left.
func serve(t *testing.T, h http.HandlerFunc, u config.Upstream, start func(*httptest.Server)) *Gate {
	t.Helper()
	before := runtime.NumGoroutine()
	server := httptest.NewUnstartedServer(h)
	start(server)
	u.URL = server.URL
	g, err := Open(t.Context(), config.Config{Upstreams: map[string]config.Upstream{"api": u}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		g.Close()
		server.Close()
		deadline := time.Now().Add(5 * time.Second)
		for runtime.NumGoroutine() > before {
			if time.Now().After(deadline) {
				buf := make([]byte, 1<<16)
				t.Errorf("%d goroutines before, %d after:\n%s", before, runtime.NumGoroutine(), buf[:runtime.Stack(buf, true)])
				return
			}
			runtime.Gosched()
		}
	})
	return g
}

func TestSocketsEndPermitsAndGoroutines(t *testing.T) {
	var seen sync.Map
	g := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, again := seen.LoadOrStore(r.Header.Get("X-Call"), true)
		switch {
		case !again && len(body)%3 == 0: // the first attempt of some calls
			w.WriteHeader(http.StatusServiceUnavailable)
		case r.URL.Path == "/slow":
			w.Write(body)
			http.NewResponseController(w).Flush()
			<-r.Context().Done()
		default:
			w.Write(body)
		}
	}, config.Upstream{
		Limits: limits("concurrent:4"), Retry: config.Retry{Methods: "any", Base: config.Duration(time.Millisecond)},
		Breaker: config.Breaker{Failures: config.Failures{Share: 1}},
	}, (*httptest.Server).Start)
	client := g.Client("api")
	var wg sync.WaitGroup
	for i := range 60 {
		wg.Go(func() {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			path := "/x"
			if i%4 == 0 {
				path = "/slow"
			}
			text := strings.Repeat("a", 10_000+i)
			req := request(ctx, "POST", path, text, "X-Call", fmt.Sprint(i))
			resp, err := client.Do(req)
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			got := make([]byte, len(text))
			if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != text {
				t.Errorf("call %d: got %d and %v, want what was sent", i, resp.StatusCode, err)
			}
		})
	}
	wg.Wait()
	if n := inFlight(g); n != 0 {
		t.Errorf("%d permits are left in flight", n)
	}
}

func TestSocketsOfHTTP2(t *testing.T) {
	var proto atomic.Value
	g := serve(t, func(w http.ResponseWriter, r *http.Request) {
		proto.Store(r.Proto)
		w.Header().Set("Trailer", "X-Sum")
		io.Copy(w, r.Body)
		w.Header().Set("X-Sum", "7")
	}, config.Upstream{Limits: limits("concurrent:2")}, func(s *httptest.Server) {
		s.Config.Protocols = new(http.Protocols)
		s.Config.Protocols.SetUnencryptedHTTP2(true)
		s.Start()
		s.URL = strings.Replace(s.URL, "http:", "h2c:", 1)
	})
	for range 5 {
		resp, err := g.Client("api").Post("/x", "text/plain", bytes.NewReader(make([]byte, 100_000)))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if len(got) != 100_000 || err != nil || resp.Trailer.Get("X-Sum") != "7" {
			t.Errorf("read %d bytes, %v, trailer %v, want 100000 and the trailer", len(got), err, resp.Trailer)
		}
	}
	if got := proto.Load(); got != "HTTP/2.0" {
		t.Errorf("the upstream saw %v, want HTTP/2.0", got)
	}
}

// Nobody proves who it is: one attempt.
func TestSocketsOfUnknownCertificates(t *testing.T) {
	var hellos atomic.Int32
	g := serve(t, func(http.ResponseWriter, *http.Request) {}, config.Upstream{}, func(s *httptest.Server) {
		s.Config.ErrorLog = log.New(io.Discard, "", 0)
		s.Listener = countingListener{s.Listener, &hellos}
		s.StartTLS()
	})
	_, err := g.Client("api").Get("/x")
	var unreachable *UnreachableError
	if !errors.As(err, &unreachable) || unreachable.Attempts != 1 || hellos.Load() != 1 {
		t.Errorf("got %v after %d connections, want an UnreachableError of one attempt", err, hellos.Load())
	}
}

type countingListener struct {
	net.Listener
	n *atomic.Int32
}

func (l countingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		l.n.Add(1)
	}
	return c, err
}

// A dial that fails gives its permit back, and is repeated whatever the method.
func TestSocketsThatRefuse(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	g, err := Open(t.Context(), config.Config{Upstreams: map[string]config.Upstream{"api": {
		URL: "http://" + address, Limits: limits("3/1h"),
		Retry: config.Retry{Attempts: 3, Base: config.Duration(time.Millisecond), Cap: config.Duration(time.Millisecond)},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	for range 2 {
		_, err = g.Client("api").Post("/x", "text/plain", strings.NewReader("a"))
		var unreachable *UnreachableError
		if !errors.As(err, &unreachable) || unreachable.Attempts != 3 {
			t.Errorf("got %v, want an UnreachableError of 3 attempts", err)
		}
	}
	if used := g.Status().Upstreams[0].Credentials[0].Limits[0].Used; used != 0 {
		t.Errorf("%d permits are used, want none: nothing was sent", used)
	}
}

// What can't be sent at all is the request's fault, and says so once.
func TestSocketsAreNotOpenedForFaultyRequests(t *testing.T) {
	client := &http.Client{Transport: Transport(Limit("1/1h"))}
	for range 2 {
		_, err := client.Get("gopher://api.test/x")
		var unreachable *UnreachableError
		if !errors.As(err, &unreachable) || unreachable.Attempts != 1 {
			t.Errorf("got %v, want one attempt, and no permit used", err)
		}
	}
	client.CloseIdleConnections()
}
