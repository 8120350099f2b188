package http1

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestMain fails if goroutines are left when all tests have ended. In another
// process it may be a responder.
func TestMain(m *testing.M) {
	if os.Getenv(responderVariable) != "" {
		respond()
		return
	}
	log.SetOutput(io.Discard) // http.Transport complains of what raw servers do
	before := runtime.NumGoroutine()
	code := m.Run()
	if flag.Lookup("test.fuzz").Value.String() != "" {
		os.Exit(code) // fuzzing has goroutines of its own
	}
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

// idler is what both transports are.
type idler interface {
	http.RoundTripper
	CloseIdleConnections()
}

// newTransport returns a Transport that never falls back.
func newTransport(t testing.TB) *Transport {
	tr := &Transport{Fallback: refuse{t}}
	t.Cleanup(tr.CloseIdleConnections)
	return tr
}

// newPeer returns the http.Transport to compare with.
func newPeer(t testing.TB) *http.Transport {
	tr := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 1 << 10}
	t.Cleanup(tr.CloseIdleConnections)
	return tr
}

// refuse is a Fallback that nothing should go to.
type refuse struct{ t testing.TB }

func (r refuse) RoundTrip(req *http.Request) (*http.Response, error) {
	r.t.Errorf("%s %s went to Fallback", req.Method, req.URL)
	if req.Body != nil {
		req.Body.Close()
	}
	return nil, io.ErrClosedPipe
}

// server speaks to each connection as its handler says, and remembers the
// requests that were read.
type server struct {
	url   string
	addr  string
	mu    sync.Mutex
	got   []string
	conns []net.Conn
}

// serve starts a server. n counts its connections from 0. A connection is
// closed when the handler returns.
func serve(t testing.TB, handle func(s *server, c net.Conn, n int)) *server {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{url: "http://" + ln.Addr().String(), addr: ln.Addr().String()}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			n := len(s.conns)
			s.conns = append(s.conns, c)
			s.mu.Unlock()
			all.Go(func() {
				defer c.Close()
				handle(s, c, n)
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		s.mu.Lock()
		for _, c := range s.conns {
			c.Close()
		}
		s.mu.Unlock()
		all.Wait()
	})
	return s
}

// answering returns a handler that gives the same answer to all requests.
func answering(answer string) func(*server, net.Conn, int) {
	return func(s *server, c net.Conn, _ int) {
		for r := bufio.NewReader(c); s.read(r); {
			io.WriteString(c, answer)
		}
	}
}

// once returns a handler that answers one request and closes.
func once(answer string) func(*server, net.Conn, int) {
	return func(s *server, c net.Conn, _ int) {
		if s.read(bufio.NewReader(c)) {
			io.WriteString(c, answer)
		}
	}
}

// read reads and remembers a request: its first line, its fields in order of
// their bytes, its body. It returns false if there was none.
func (s *server) read(r *bufio.Reader) bool {
	lines, length, ok := readHead(r)
	if !ok {
		return false
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(r, body); err != nil {
		return false
	}
	slices.Sort(lines[1:])
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got = append(s.got, strings.ReplaceAll(strings.Join(lines, "")+"\r\n"+string(body), s.addr, "SERVER"))
	return true
}

func readHead(r *bufio.Reader) (lines []string, length int, ok bool) {
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return nil, 0, false
		}
		if line == "\r\n" {
			return lines, length, true
		}
		if n, has := strings.CutPrefix(line, "Content-Length: "); has {
			length, _ = strconv.Atoi(strings.TrimSpace(n))
		}
		lines = append(lines, line)
	}
}

// requests returns what was read so far, and from how many connections.
func (s *server) requests() ([]string, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.got), len(s.conns)
}

// request returns a request that does not outlive the test by much.
func request(t testing.TB, method, url, body string) *http.Request {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return req
}

// call makes a call and returns the answer's body.
func call(rt http.RoundTripper, req *http.Request) (string, error) {
	resp, err := rt.RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return string(b), err
}

const okAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
