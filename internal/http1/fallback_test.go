package http1

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// elsewhere is a Fallback that remembers what came to it.
type elsewhere struct{ got *http.Request }

var errElsewhere = errors.New("elsewhere")

func (e *elsewhere) RoundTrip(req *http.Request) (*http.Response, error) {
	e.got = req
	return nil, errElsewhere
}

func TestFallbackTakesTheRest(t *testing.T) {
	for name, change := range map[string]func(*http.Request){
		"https":             func(r *http.Request) { r.URL.Scheme = "https" },
		"other scheme":      func(r *http.Request) { r.URL.Scheme = "ftp" },
		"no URL":            func(r *http.Request) { r.URL = nil },
		"no header":         func(r *http.Request) { r.Header = nil },
		"no host":           func(r *http.Request) { r.URL.Host = "" },
		"host to be coded":  func(r *http.Request) { r.URL.Host = "bücher.example" },
		"Host to be coded":  func(r *http.Request) { r.Host = "bücher.example" },
		"Host with a space": func(r *http.Request) { r.Host = "a b" },
		"zone":              func(r *http.Request) { r.URL.Host = "[fe80::1%25eth0]:80" },
		"CONNECT":           func(r *http.Request) { r.Method = "CONNECT" },
		"Close":             func(r *http.Request) { r.Close = true },
		"Connection":        func(r *http.Request) { r.Header.Set("Connection", "close") },
		"Upgrade":           func(r *http.Request) { r.Header.Set("Upgrade", "websocket") },
		"Expect":            func(r *http.Request) { r.Header.Set("Expect", "100-continue") },
		"trailers":          func(r *http.Request) { r.Trailer = http.Header{"A": nil} },
		"transfer coding":   func(r *http.Request) { r.TransferEncoding = []string{"chunked"} },
		"unknown length":    func(r *http.Request) { r.ContentLength = -1 },
		"unstated length":   func(r *http.Request) { r.ContentLength = 0 },
		"long body":         func(r *http.Request) { r.ContentLength = maxBody + 1 },
		"length, no body":   func(r *http.Request) { r.Body = nil },
		//lint:ignore SA1019 that is what is tested
		"Cancel": func(r *http.Request) { r.Cancel = make(chan struct{}) },
	} {
		t.Run(name, func(t *testing.T) {
			e := new(elsewhere)
			tr := &Transport{Fallback: e}
			req := request(t, "POST", "http://127.0.0.1:1", "x")
			change(req)
			if _, err := tr.RoundTrip(req); err != errElsewhere || e.got != req {
				t.Errorf("got %v, Fallback got %p; want the request %p there, unchanged", err, e.got, req)
			}
		})
	}
}

func TestDefaultFallback(t *testing.T) {
	s := serve(t, answering("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"))
	req := request(t, "GET", s.url, "")
	req.Close = true
	if got, err := call(new(Transport), req); got != "ok" || err != nil {
		t.Errorf("got %q, %v; want ok", got, err)
	}
}

// proxiedVariable has the test of that name ask for a URL by a proxy.
const proxiedVariable = "HTTP1_TEST_PROXIED"

// TestProxyOfTheEnvironment runs itself in another process: the environment is
// read once.
func TestProxyOfTheEnvironment(t *testing.T) {
	if os.Getenv(proxiedVariable) == "" {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestProxyOfTheEnvironment$")
		cmd.Env = append(os.Environ(), proxiedVariable+"=1", "HTTP_PROXY=http://proxy.example:3128", "NO_PROXY=direct.example")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	for host, want := range map[string]bool{"proxied.example": true, "direct.example": false, "127.0.0.1": false} {
		req := &http.Request{URL: &url.URL{Scheme: "http", Host: host}, Header: http.Header{}}
		if got := !made(req); got != want {
			t.Errorf("%s goes to Fallback: %t, want %t", host, got, want)
		}
	}
}

func TestHostsWithAndWithoutPort(t *testing.T) {
	for in, want := range map[string]string{
		"a": "a:80", "a:": "a:80", "a:8080": "a:8080", "[::1]": "[::1]:80", "[::1]:81": "[::1]:81", "127.0.0.1": "127.0.0.1:80",
	} {
		if got := address(&url.URL{Scheme: "http", Host: in}); got != want {
			t.Errorf("address of %q = %q, want %q", in, got, want)
		}
	}
}

// slow is a body that comes byte by byte, with empty reads between, and its
// end apart.
type slow struct {
	left  int
	empty bool
}

func (s *slow) Read(p []byte) (int, error) {
	if s.empty = !s.empty; s.empty {
		return 0, nil
	}
	if s.left == 0 {
		return 0, io.EOF
	}
	s.left--
	p[0] = 'x'
	return 1, nil
}

func TestSlowBodiesAreSentWhole(t *testing.T) {
	s := serve(t, answering(okAnswer))
	for _, size := range []int{1, 10, smallSize, 10000} {
		req := request(t, "POST", s.url, strings.Repeat("x", size))
		req.Body = io.NopCloser(&slow{left: size})
		if got, err := call(newTransport(t), req); got != "ok" || err != nil {
			t.Errorf("%d bytes: got %q, %v; want ok", size, got, err)
		}
		got, _ := s.requests()
		if _, body, _ := strings.Cut(got[len(got)-1], "\r\n\r\n"); body != strings.Repeat("x", size) {
			t.Errorf("%d bytes: the server got %d", size, len(body))
		}
	}
	req := request(t, "POST", s.url, "x")
	req.Body = io.NopCloser(silent{})
	if _, err := call(newTransport(t), req); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("a body that gives nothing: %v, want %v", err, io.ErrNoProgress)
	}
}

// http.Transport finds out when it has sent what was said, or not at all.
func TestBodyOfAnotherLengthIsNotSent(t *testing.T) {
	s := serve(t, answering(okAnswer))
	for _, c := range []struct{ said, is int }{{1, 0}, {1, 2}, {10, 9}, {10, 5000}, {5000, 4999}, {maxBody, maxBody - 1}, {maxBody, maxBody + 1}} {
		req := request(t, "PUT", s.url, strings.Repeat("x", c.is))
		req.Body, req.ContentLength = io.NopCloser(strings.NewReader(strings.Repeat("x", c.is))), int64(c.said)
		got, err := hear(t, newTransport(t), req)
		if err == nil || !strings.Contains(err.Error(), "Content-Length of "+strconv.Itoa(c.said)) || !got.BodyClosed {
			t.Errorf("%d bytes with a Content-Length of %d: %v, want an error that names it, and a closed body", c.is, c.said, err)
		}
	}
	if _, conns := s.requests(); conns != 0 {
		t.Errorf("%d connections were made, want 0", conns)
	}
}

// silent is a body that never says anything.
type silent struct{}

func (silent) Read([]byte) (int, error) { return 0, nil }
