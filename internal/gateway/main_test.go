package gateway

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/config"
)

// TestMain fails if goroutines are left when all tests have ended.
func TestMain(m *testing.M) {
	before := runtime.NumGoroutine()
	code := m.Run()
	if flag.Lookup("test.fuzz").Value.String() != "" {
		os.Exit(code) // fuzzing has goroutines of its own
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	after := runtime.NumGoroutine()
	for range 200 { // those that were told to end need a moment
		if after <= before {
			break
		}
		time.Sleep(10 * time.Millisecond)
		after = runtime.NumGoroutine()
	}
	if code == 0 && after > before {
		buf := make([]byte, 1<<20)
		fmt.Fprintf(os.Stderr, "%d goroutines, were %d\n%s\n", after, before, buf[:runtime.Stack(buf, true)])
		code = 1
	}
	os.Exit(code)
}

// doorFunc is a door that answers for every upstream.
type doorFunc func(*http.Request) (*http.Response, error)

func (f doorFunc) RoundTripper(string) http.RoundTripper { return f }

func (f doorFunc) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// echoDoor answers 200 and tells what was asked for.
func echoDoor(seen chan<- *http.Request) doorFunc {
	return func(req *http.Request) (*http.Response, error) {
		if req.Body != nil {
			if _, err := io.Copy(io.Discard, req.Body); err != nil {
				return nil, err
			}
			req.Body.Close()
		}
		if seen != nil {
			seen <- req
		}
		return answer(http.StatusOK, "ok"), nil
	}
}

func answer(status int, body string) *http.Response {
	return &http.Response{
		StatusCode:    status,
		Proto:         "HTTP/1.1",
		ProtoMajor:    1,
		ProtoMinor:    1,
		Header:        http.Header{"Content-Type": {"text/plain"}},
		Body:          io.NopCloser(strings.NewReader(body)),
		ContentLength: int64(len(body)),
	}
}

// through is a door that sends to a real upstream, again while again says so.
type through struct {
	target    *url.URL
	transport *http.Transport
	again     func(attempt int, res *http.Response, err error) bool
}

func (d *through) RoundTripper(string) http.RoundTripper { return d }

func (d *through) RoundTrip(req *http.Request) (*http.Response, error) {
	for attempt := 1; ; attempt++ {
		out := *req
		u := *req.URL
		u.Scheme, u.Host = d.target.Scheme, d.target.Host
		out.URL = &u
		if attempt > 1 {
			var err error
			if out.Body, err = req.GetBody(); err != nil {
				return nil, err
			}
		}
		res, err := d.transport.RoundTrip(&out)
		if d.again == nil || !d.again(attempt, res, err) {
			return res, err
		}
		if err == nil {
			io.Copy(io.Discard, res.Body)
			res.Body.Close()
		}
	}
}

// newThrough starts an upstream and returns the door to it. HTTP/2 goes by
// prior knowledge.
func newThrough(t testing.TB, upstream http.HandlerFunc, h2 bool) *through {
	t.Helper()
	srv := httptest.NewUnstartedServer(upstream)
	srv.Config.Protocols = protocols(h2)
	srv.Start()
	target, err := url.Parse(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	tr := &http.Transport{DisableCompression: true, Protocols: protocols(h2)}
	t.Cleanup(func() {
		tr.CloseIdleConnections()
		srv.CloseClientConnections()
		srv.Close()
	})
	return &through{target: target, transport: tr}
}

func protocols(h2 bool) *http.Protocols {
	p := new(http.Protocols)
	p.SetHTTP1(!h2)
	p.SetUnencryptedHTTP2(h2)
	return p
}

// file is a configuration of one upstream, "api", and these clients.
func file(clients ...config.Client) config.Config {
	return config.Config{Upstreams: map[string]config.Upstream{"api": {URL: "http://upstream.invalid"}}, Clients: clients}
}

// start serves a gateway on a port of its own until the test ends.
func start(t testing.TB, door Door, cfg config.Config, opts Options) (*Gateway, string) {
	t.Helper()
	g, err := New(door, cfg, opts)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	srv := g.Server()
	go func() { served <- Serve(srv, ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := g.Shutdown(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Shutdown = %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("Serve = %v, want nil after Shutdown", err)
		}
	})
	return g, "http://" + ln.Addr().String()
}

// newClient returns a client that keeps no connections beyond the test.
func newClient(t testing.TB, h2 bool) *http.Client {
	tr := &http.Transport{DisableCompression: true, Protocols: protocols(h2)}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 20 * time.Second}
}

// do sends a request and returns the answer with its body read.
func do(t testing.TB, client *http.Client, method, url, body string, fields ...string) (*http.Response, string) {
	t.Helper()
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, url, r)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(fields); i += 2 {
		req.Header.Add(fields[i], fields[i+1])
	}
	res, err := client.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("%s %s: read answer: %v", method, url, err)
	}
	return res, string(text)
}

// dialRaw opens a connection to a server and sends bytes.
func dialRaw(t testing.TB, base, text string) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", base[len("http://"):])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	return conn.(*net.TCPConn)
}
