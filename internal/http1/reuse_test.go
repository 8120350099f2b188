package http1

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// hooks returns a request whose hooks note what they are told.
func hooks(req *http.Request, said *[]string) *http.Request {
	note := func(format string, args ...any) { *said = append(*said, fmt.Sprintf(format, args...)) }
	return req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
		GetConn: func(hostPort string) { note("GetConn %s", hostPort) },
		GotConn: func(i httptrace.GotConnInfo) {
			note("GotConn %t %t %t", i.Reused, i.WasIdle, i.IdleTime > 0)
			if i.Conn == nil {
				note("no Conn")
			}
		},
		ConnectStart:         func(_, _ string) { note("ConnectStart") },
		ConnectDone:          func(_, _ string, err error) { note("ConnectDone %t", err != nil) },
		WroteHeaders:         func() { note("WroteHeaders") },
		WroteRequest:         func(i httptrace.WroteRequestInfo) { note("WroteRequest %t", i.Err != nil) },
		GotFirstResponseByte: func() { note("GotFirstResponseByte") },
		Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			note("Got1xxResponse %d %s", code, h.Get("Link"))
			return nil
		},
		PutIdleConn: func(err error) { note("PutIdleConn %t", err != nil) },
	}))
}

func TestHooksAreCalledInOrder(t *testing.T) {
	s := serve(t, answering("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"+okAnswer))
	tr := newTransport(t)
	sent := []string{"WroteHeaders", "WroteRequest false", "GotFirstResponseByte", "Got1xxResponse 103 </x>", "PutIdleConn false"}
	fresh := append([]string{"GetConn " + s.addr, "ConnectStart", "ConnectDone false", "GotConn false false false"}, sent...)
	reused := append([]string{"GetConn " + s.addr, "GotConn true true true"}, sent...)
	for i, want := range [][]string{fresh, reused} {
		var said []string
		if got, err := call(tr, hooks(request(t, "POST", s.url, "x"), &said)); got != "ok" || err != nil {
			t.Fatalf("call %d: got %q, %v; want ok", i, got, err)
		}
		if !slices.Equal(said, want) {
			t.Errorf("call %d: hooks were told\n%q\nwant\n%q", i, said, want)
		}
	}
}

func TestGotConnIsNotCalledWithoutConnection(t *testing.T) {
	s := serve(t, answering(okAnswer))
	refused := errors.New("refused")
	for name, c := range map[string]struct {
		dial error
		body io.Reader
		want []string
	}{
		"dial":  {refused, strings.NewReader("x"), []string{"GetConn " + s.addr}},
		"body":  {nil, &broken{}, []string{"GetConn " + s.addr}},
		"field": {nil, nil, nil},
	} {
		tr := newTransport(t)
		if c.dial != nil {
			tr.Dial = func(context.Context, string, string) (net.Conn, error) { return nil, c.dial }
		}
		req := request(t, "POST", s.url, "x")
		if c.body == nil {
			req.Header["A"] = []string{"\n"}
		} else {
			req.Body = io.NopCloser(c.body)
		}
		var said []string
		if _, err := call(tr, hooks(req, &said)); err == nil || c.dial != nil && !errors.Is(err, c.dial) {
			t.Errorf("%s: got error %v, want what broke it", name, err)
		}
		if !slices.Equal(said, c.want) {
			t.Errorf("%s: hooks were told %q, want %q", name, said, c.want)
		}
	}
}

func TestConnectionIsKept(t *testing.T) {
	long := "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + strings.Repeat("x", 100000)
	chunked := "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
	for _, c := range []struct {
		name, answer string
		read         int // bytes before Close
		kept         bool
	}{
		{"read to its end", okAnswer, 2, true},
		{"closed unread, but read ahead", okAnswer, 0, true},
		{"closed half read, but read ahead", okAnswer, 1, true},
		{"chunked, closed unread, but read ahead", chunked, 0, true},
		{"chunked, its last chunk unread", chunked, 2, true},
		{"closed early", long, 10, false},
		{"long, read to its end", long, 100000, true},
		{"no body", "HTTP/1.1 204 No Content\r\n\r\n", 0, true},
		{"text behind the answer", okAnswer + "more", 2, false},
		{"text behind no body", "HTTP/1.1 204 No Content\r\n\r\nmore", 0, false},
		{"told to close", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", 2, false},
		{"HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", 2, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := serve(t, answering(c.answer))
			tr := newTransport(t)
			for range 3 {
				resp, err := tr.RoundTrip(request(t, "GET", s.url, ""))
				if err != nil {
					t.Fatal(err)
				}
				if n, err := io.ReadFull(resp.Body, make([]byte, c.read)); err != nil {
					t.Fatalf("read %d bytes, then %v; want %d", n, err, c.read)
				}
				resp.Body.Close()
				resp.Body.Close()
				if n, err := resp.Body.Read(make([]byte, 1)); resp.Body != http.NoBody && (n > 0 || err != http.ErrBodyReadAfterClose) {
					t.Errorf("read after Close = %d, %v; want %v", n, err, http.ErrBodyReadAfterClose)
				}
			}
			want := 3
			if c.kept {
				want = 1
			}
			if _, got := s.requests(); got != want {
				t.Errorf("three calls used %d connections, want %d", got, want)
			}
		})
	}
}

func TestLastIdleConnectionGoesFirst(t *testing.T) {
	tr := newTransport(t)
	s := serve(t, answering("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"))
	var open []*http.Response
	for range 3 {
		resp, err := tr.RoundTrip(request(t, "GET", s.url, ""))
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, resp)
	}
	want := open[1].Body.(*body).conn
	for _, i := range []int{0, 2, 1} {
		open[i].Body.Close()
	}
	if got := tr.pool.take(s.addr); got != want {
		t.Errorf("took %v, want %v", got.net.LocalAddr(), want.net.LocalAddr())
	} else {
		got.net.Close()
	}
}

func TestIdleConnectionsAreBounded(t *testing.T) {
	for bound, want := range map[int]int{-1: 0, 1: 1, 2: 2, 0: 5} {
		tr := newTransport(t)
		tr.MaxIdlePerHost = bound
		s := serve(t, answering(okAnswer))
		var open []io.Closer
		for range 5 {
			resp, err := tr.RoundTrip(request(t, "GET", s.url, ""))
			if err != nil {
				t.Fatal(err)
			}
			open = append(open, resp.Body)
		}
		for _, b := range open {
			b.Close()
		}
		if got := len(tr.pool.mu.idle[s.addr]); got != want {
			t.Errorf("MaxIdlePerHost %d: %d of 5 connections are idle, want %d", bound, got, want)
		}
	}
}

// piped returns a Transport whose connections lead to a handler without
// sockets, and counts those that are open.
func piped(t *testing.T, answer string) (*Transport, func() int) {
	var mu sync.Mutex
	open := 0
	tr := newTransport(t)
	tr.Dial = func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		mu.Lock()
		open++
		mu.Unlock()
		go func() {
			for r := bufio.NewReader(theirs); ; {
				if _, _, ok := readHead(r); !ok {
					break
				}
				io.WriteString(theirs, answer)
			}
			mu.Lock()
			open--
			mu.Unlock()
		}()
		return ours, nil
	}
	return tr, func() int {
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		return open
	}
}

func TestIdleConnectionsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr, open := piped(t, okAnswer)
		ask := func(host string) {
			t.Helper()
			req, _ := http.NewRequestWithContext(t.Context(), "GET", "http://"+host, nil)
			if got, err := call(tr, req); got != "ok" || err != nil {
				t.Fatalf("got %q, %v; want ok", got, err)
			}
		}
		ask("a")
		time.Sleep(60 * time.Second)
		ask("b")
		for _, step := range []struct {
			wait time.Duration
			want int
		}{{30*time.Second - 1, 2}, {1, 1}, {60*time.Second - 1, 1}, {1, 0}} {
			time.Sleep(step.wait)
			if got := open(); got != step.want {
				t.Errorf("%v later %d connections are open, want %d", step.wait, got, step.want)
			}
		}
		if tr.pool.mu.sweeper != nil || len(tr.pool.mu.idle) != 0 {
			t.Errorf("nothing is idle, and the sweeper is %v, hosts are %v", tr.pool.mu.sweeper, tr.pool.mu.idle)
		}
		ask("a")
		tr.CloseIdleConnections()
		tr.CloseIdleConnections()
		if got := open(); got != 0 {
			t.Errorf("after CloseIdleConnections %d connections are open, want 0", got)
		}
		tr.IdleTimeout = -1
		ask("a")
		time.Sleep(1000 * time.Hour)
		if got := open(); got != 1 {
			t.Errorf("without a timeout %d connections are open, want 1", got)
		}
	})
}

func TestConnectionInUseEndsAfterCloseIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr, open := piped(t, okAnswer)
		req, _ := http.NewRequestWithContext(t.Context(), "GET", "http://a", nil)
		resp, err := tr.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		tr.CloseIdleConnections()
		if got, err := io.ReadAll(resp.Body); string(got) != "ok" || err != nil {
			t.Errorf("body = %q, %v; want ok", got, err)
		}
		if got := open(); got != 0 {
			t.Errorf("%d connections are open, want 0", got)
		}
	})
}

func TestStaleConnectionIsNotUsed(t *testing.T) {
	closed := make(chan struct{}, 1)
	for name, last := range map[string]string{"closed": "", "timeout told": "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n"} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, func(s *server, c net.Conn, _ int) {
				s.read(bufio.NewReader(c))
				io.WriteString(c, okAnswer)
				<-closed
				io.WriteString(c, last)
				c.Close()
				closed <- struct{}{}
			})
			tr := newTransport(t)
			for i := range 3 {
				var said []string
				got, err := call(tr, hooks(request(t, "POST", s.url, "x"), &said))
				if got != "ok" || err != nil || slices.Contains(said, "GotConn true true true") {
					t.Errorf("call %d: got %q, %v, told %q; want ok from a fresh connection", i, got, err, said)
				}
				closed <- struct{}{}
				waitFor(t, func() bool { return len(closed) == 1 })
				<-closed
				waitFor(t, func() bool { // its FIN may take a moment
					c := tr.pool.pop(s.addr)
					if c == nil {
						return true
					}
					if !c.quiet() {
						c.net.Close()
						return true
					}
					tr.pool.put(c)
					return false
				})
			}
		})
	}
}

// TestConnectionThatBreaksUnderARequest has the server close when it has read
// the second request of a connection, or a part of its answer was sent.
func TestConnectionThatBreaksUnderARequest(t *testing.T) {
	for _, c := range []struct {
		method, key, body, part string
		again                   bool
	}{
		{"GET", "", "", "", true},
		{"HEAD", "", "", "", true},
		{"OPTIONS", "", "x", "", true},
		{"GET", "", "", "HTTP/1.1 2", false},
		{"POST", "", "x", "", false},
		{"DELETE", "", "", "", false},
		{"POST", "Idempotency-Key", "x", "", true},
		{"POST", "X-Idempotency-Key", strings.Repeat("x", 10000), "", true},
	} {
		s := serve(t, func(s *server, conn net.Conn, n int) {
			r := bufio.NewReader(conn)
			for s.read(r) {
				io.WriteString(conn, "HTTP/1.1 204 No Content\r\n\r\n")
				if n == 0 {
					s.read(r)
					io.WriteString(conn, c.part)
					return
				}
			}
		})
		tr := newTransport(t)
		var said []string
		for i := range 2 {
			said = nil
			req := hooks(request(t, c.method, s.url, c.body), &said)
			if c.key != "" {
				req.Header[c.key] = []string{"1"}
			}
			_, err := call(tr, req)
			if want := i == 0 || c.again; (err == nil) != want {
				t.Errorf("%+v: call %d: error %v, want success %t", c, i, err, want)
			}
		}
		got, conns := s.requests()
		if want := len(got) == 3; want != c.again || conns > 2 {
			t.Errorf("%+v: the server got %.300q by %d connections", c, got, conns)
		}
		if c.again && len(got) == 3 && got[1] != got[2] {
			t.Errorf("%+v: sent\n%.300q\nand then\n%.300q", c, got[1], got[2])
		}
		if n := len(slices.DeleteFunc(said, func(s string) bool { return !strings.HasPrefix(s, "GotConn") })); n != 1 && !c.again || n != 2 && c.again {
			t.Errorf("%+v: GotConn was called %d times", c, n)
		}
	}
}

// dead is an idle connection whose peer reset it: nothing can be written.
type dead struct{ net.Conn }

func (dead) Write([]byte) (int, error) { return 0, errors.New("connection reset") }
func (dead) Read([]byte) (int, error)  { return 0, errors.New("connection reset") }
func (dead) Close() error              { return nil }

func TestUnsentRequestIsSentAgain(t *testing.T) {
	s := serve(t, answering(okAnswer))
	tr := newTransport(t)
	for range 3 {
		tr.pool.put(newConn(dead{}, s.addr, tr))
	}
	if got, err := call(tr, request(t, "POST", s.url, "x")); got != "ok" || err != nil {
		t.Errorf("got %q, %v; want ok", got, err)
	}
	if n := len(tr.pool.mu.idle[s.addr]); n != 3 {
		t.Errorf("%d connections are idle, want 3: two not tried, one that works", n)
	}
	for range 3 {
		tr.pool.pop(s.addr).net.Close()
	}
	tr.Dial = func(context.Context, string, string) (net.Conn, error) { return dead{}, nil }
	if got, err := call(tr, request(t, "GET", s.url, "")); err == nil {
		t.Errorf("got %q from a dead fresh connection, want an error", got)
	}
}

func TestConcurrentCallsGetTheirOwnAnswers(t *testing.T) {
	s := serve(t, func(s *server, c net.Conn, _ int) {
		for r := bufio.NewReader(c); ; {
			lines, n, ok := readHead(r)
			if !ok {
				return
			}
			body := make([]byte, n)
			io.ReadFull(r, body)
			answer := lines[0] + string(body)
			if n%2 == 0 {
				fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(answer), answer)
			} else {
				fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(answer), answer)
			}
		}
	})
	tr := newTransport(t)
	var all sync.WaitGroup
	for g := range 100 {
		all.Go(func() {
			for i := range 30 {
				body := strings.Repeat(fmt.Sprint(g, " ", i, ";"), 1+(g*i)%200)
				want := fmt.Sprintf("POST /%d/%d HTTP/1.1\r\n%s", g, i, body)
				if got, err := call(tr, request(t, "POST", fmt.Sprintf("%s/%d/%d", s.url, g, i), body)); err != nil || got != want {
					t.Errorf("got %.100q, %v; want %.100q", got, err, want)
				}
			}
		})
	}
	all.Wait()
	if _, conns := s.requests(); conns > 100 {
		t.Errorf("100 callers used %d connections", conns)
	}
}
