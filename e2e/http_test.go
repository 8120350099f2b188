package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// newClient returns a client with connections of its own.
func newClient(t *testing.T) *http.Client {
	t.Helper()
	tr := &http.Transport{MaxIdleConnsPerHost: 1000, DisableCompression: true}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 2 * deadline}
}

// newUpstream starts an upstream of the test's own.
func newUpstream(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s
}

// answer is a response that was read to its end.
type answer struct {
	status          int
	proto           string
	header, trailer http.Header
	body            string
}

func (a answer) String() string { return fmt.Sprintf("%d %s", a.status, a.body) }

// do makes a call and reads its answer.
func do(t *testing.T, c *http.Client, req *http.Request) answer {
	t.Helper()
	a, err := try(c, req)
	if err != nil {
		t.Fatalf("%s %s: %v", req.Method, req.URL, err)
	}
	return a
}

// try is do for goroutines of a test.
func try(c *http.Client, req *http.Request) (answer, error) {
	resp, err := c.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Proto, resp.Header, resp.Trailer, string(body)}, err
}

// get calls a URL with fields, given as name, value, name, value …
func get(t *testing.T, c *http.Client, url string, fields ...string) answer {
	t.Helper()
	return do(t, c, newRequest(t, "GET", url, "", fields...))
}

func newRequest(t *testing.T, method, url, body string, fields ...string) *http.Request {
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
		req.Header.Set(fields[i], fields[i+1])
	}
	return req
}

// problem is an answer of the gate's own (RFC 9457).
type problem struct {
	Type, Title, Detail string
	Status              int
}

// wantProblem checks an answer of the gate's own.
func wantProblem(t *testing.T, a answer, status int, name string) {
	t.Helper()
	var p problem
	err := json.Unmarshal([]byte(a.body), &p)
	if err != nil || a.status != status || p.Status != status || !strings.HasSuffix(p.Type, "/"+name) ||
		p.Title == "" || p.Detail == "" || a.header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("answer = %v with %v, want a problem with status %d of type %s", a, a.header, status, name)
	}
}

// holding is an upstream that answers once it is told to.
type holding struct {
	*httptest.Server
	arrived chan string // path of each request, as it comes
	release chan struct{}
	calls   atomic.Int32
}

func newHolding(t *testing.T) *holding {
	t.Helper()
	h := &holding{arrived: make(chan string, 4096), release: make(chan struct{})}
	over := make(chan struct{}) // a server does not see who leaves while it sends
	h.Server = newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		h.calls.Add(1)
		h.arrived <- r.URL.Path
		select {
		case <-h.release:
			fmt.Fprint(w, "answered ", r.URL.Path)
		case <-r.Context().Done():
		case <-over:
		}
	})
	t.Cleanup(func() { close(over) })
	return h
}

// next returns the path of the next request.
func (h *holding) next(t *testing.T) string {
	t.Helper()
	select {
	case path := <-h.arrived:
		return path
	case <-time.After(deadline):
		t.Fatal("no request has reached the upstream")
		return ""
	}
}

// begin makes a call in the background; the answer, or why there is none,
// comes as text.
func begin(t *testing.T, c *http.Client, url string, fields ...string) <-chan string {
	t.Helper()
	req := newRequest(t, "GET", url, "", fields...)
	done := make(chan string, 1)
	go func() {
		a, err := try(c, req)
		if err != nil {
			done <- err.Error()
			return
		}
		done <- a.String()
	}()
	return done
}

// receive waits for a value.
func receive[T any](t *testing.T, what string, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(deadline):
		t.Fatalf("not so after %v: %s", deadline, what)
		panic("unreachable")
	}
}

// dial opens a connection that ends with the test.
func dial(t *testing.T, addr string) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(deadline)); err != nil {
		t.Fatal(err)
	}
	return conn.(*net.TCPConn)
}

// metric returns a value of the admin plane's metrics, -1 if it is not there.
// series is the name with its labels.
func (g *gate) metric(t *testing.T, c *http.Client, series string) float64 {
	t.Helper()
	for line := range strings.Lines(get(t, c, g.admin+"/metrics").body) {
		if value, ok := strings.CutPrefix(line, series+" "); ok {
			var v float64
			if _, err := fmt.Sscan(value, &v); err != nil {
				t.Fatalf("metric %s: %v", line, err)
			}
			return v
		}
	}
	return -1
}
