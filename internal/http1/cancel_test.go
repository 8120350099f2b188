package http1

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptrace"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// waitFor waits until what other goroutines do has made ok true.
func waitFor(t testing.TB, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatal("it does not come about")
		}
	}
}

// stages are where a call can be when its context ends. reached is closed
// there.
var stages = map[string]func(t *testing.T, tr *Transport, req *http.Request, reached chan struct{}){
	"before": func(_ *testing.T, _ *Transport, _ *http.Request, reached chan struct{}) { close(reached) },
	"request body": func(_ *testing.T, _ *Transport, req *http.Request, reached chan struct{}) {
		r, w := io.Pipe()
		req.Method, req.Body, req.ContentLength = "POST", r, 10
		go func() {
			w.Write([]byte("half"))
			close(reached)
		}()
	},
	"dial": func(_ *testing.T, tr *Transport, _ *http.Request, reached chan struct{}) {
		tr.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
			close(reached)
			<-ctx.Done()
			return nil, errors.New("dial: it was canceled")
		}
	},
	"write": func(t *testing.T, tr *Transport, _ *http.Request, reached chan struct{}) {
		ours, theirs := net.Pipe()
		t.Cleanup(func() { theirs.Close() })
		tr.Dial = func(context.Context, string, string) (net.Conn, error) {
			go func() {
				theirs.Read(make([]byte, 10))
				close(reached)
			}()
			return ours, nil
		}
	},
	"head":      answered(""),
	"half head": answered("HTTP/1.1 200 OK\r\nA: "),
	"interim":   answered("HTTP/1.1 103 Early Hints\r\n\r\n"),
	"body":      answered("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"),
	"chunk":     answered("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\nhalf"),
	"trailer":   answered("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: "),
	"endless":   answered("HTTP/1.1 200 OK\r\n\r\nhalf"),
}

// answered is the stage after a part of an answer.
func answered(part string) func(*testing.T, *Transport, *http.Request, chan struct{}) {
	return func(t *testing.T, _ *Transport, req *http.Request, reached chan struct{}) {
		req.URL.Host = serve(t, func(s *server, c net.Conn, _ int) {
			r := bufio.NewReader(c)
			s.read(r)
			io.WriteString(c, part)
			close(reached)
			r.ReadByte() // until the caller hangs up
		}).addr
	}
}

func TestEndOfContextEndsTheCall(t *testing.T) {
	for name, stage := range stages {
		for _, want := range []error{context.Canceled, context.DeadlineExceeded} {
			t.Run(fmt.Sprint(name, "/", want), func(t *testing.T) {
				ctx := &ending{Context: t.Context(), done: make(chan struct{})}
				req := request(t, "GET", "http://127.0.0.1:1", "").WithContext(ctx)
				tr, reached := newTransport(t), make(chan struct{})
				stage(t, tr, req, reached)
				go func() {
					<-reached
					ctx.end(want)
				}()
				if name == "before" {
					waitFor(t, func() bool { return ctx.Err() != nil })
				}
				if got, err := call(tr, req); err != want {
					t.Errorf("got %q, %v; want %v", got, err, want)
				}
				if c := tr.pool.take(req.URL.Host); c != nil {
					t.Error("its connection was kept")
				}
			})
		}
	}
}

// ending is a context that ends as it is told.
type ending struct {
	context.Context
	done chan struct{}
	mu   sync.Mutex
	err  error
}

func (e *ending) Done() <-chan struct{} { return e.done }

func (e *ending) Err() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.err
}

func (e *ending) end(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.err = err
	close(e.done)
}

func TestCloseEndsARead(t *testing.T) {
	reached := make(chan struct{})
	req, tr := request(t, "GET", "http://127.0.0.1:1", ""), newTransport(t)
	stages["body"](t, tr, req, reached)
	resp, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for b := resp.Body.(*body); b.mu.TryLock(); runtime.Gosched() {
			b.mu.Unlock() // nobody reads yet
		}
		resp.Body.Close()
	}()
	if got, err := io.ReadAll(resp.Body); err != http.ErrBodyReadAfterClose {
		t.Errorf("read %q, %v; want %v", got, err, http.ErrBodyReadAfterClose)
	}
}

// post returns a request that is not repeated once it was sent.
func post(ctx context.Context, url string) *http.Request {
	req, err := http.NewRequestWithContext(ctx, "POST", url, strings.NewReader("x"))
	if err != nil {
		panic(err)
	}
	return req
}

// counting counts the connections that a call is given.
func counting(ctx context.Context, conns *int) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { *conns++ }})
}

// TestLateCancelHurtsNobodyElse has callers whose contexts end about when they
// have read their answers, and others who share the connections with them and
// must not notice. A POST that was sent is not repeated, and GotConn would
// tell of one that was not.
func TestLateCancelHurtsNobodyElse(t *testing.T) {
	for name, answer := range map[string]string{
		"length":  okAnswer,
		"chunked": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
		"no body": "HTTP/1.1 204 No Content\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, answering(answer))
			tr := newTransport(t)
			var all sync.WaitGroup
			stop := make(chan struct{})
			for range 4 {
				all.Go(func() {
					for {
						select {
						case <-stop:
							return
						default:
						}
						ctx, cancel := context.WithCancel(t.Context())
						late := func() {
							if rand.IntN(2) == 0 {
								go cancel() // in a moment
							}
						}
						_, err := call(tr, post(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
							GotFirstResponseByte: late,
							PutIdleConn:          func(error) { late() },
						}), s.url))
						if err != nil && err != context.Canceled {
							t.Errorf("canceled call: %v", err)
						}
						cancel()
					}
				})
			}
			var steady sync.WaitGroup
			for range 4 {
				steady.Go(func() {
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					for range 600 {
						conns := 0
						if _, err := call(tr, post(counting(ctx, &conns), s.url)); err != nil || conns != 1 {
							t.Errorf("steady call: %v, by %d connections", err, conns)
						}
					}
				})
			}
			steady.Wait()
			close(stop)
			all.Wait()
		})
	}
}

// TestCloseWhileReadingHurtsNobodyElse is the same for Close, called while
// another goroutine reads.
func TestCloseWhileReadingHurtsNobodyElse(t *testing.T) {
	s := serve(t, answering("HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n"+strings.Repeat("x", 10000)))
	tr := newTransport(t)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 300 {
				conns := 0
				resp, err := tr.RoundTrip(post(counting(t.Context(), &conns), s.url))
				if err != nil || conns != 1 {
					t.Errorf("call: %v, by %d connections", err, conns)
					return
				}
				var both sync.WaitGroup
				both.Go(func() { resp.Body.Close() })
				_, err = io.Copy(io.Discard, resp.Body)
				both.Wait()
				if err != nil && err != http.ErrBodyReadAfterClose {
					t.Errorf("read: %v", err)
				}
			}
		})
	}
	all.Wait()
}

func TestBodyStreams(t *testing.T) {
	read := make(chan struct{})
	s := serve(t, func(s *server, c net.Conn, _ int) {
		s.read(bufio.NewReader(c))
		io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
		for range 3 {
			io.WriteString(c, "2\r\nok\r\n")
			<-read
		}
		io.WriteString(c, "0\r\n\r\n")
	})
	resp, err := newTransport(t).RoundTrip(request(t, "GET", s.url, ""))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	for range 3 {
		b := make([]byte, 2)
		if _, err := io.ReadFull(resp.Body, b); err != nil || string(b) != "ok" {
			t.Errorf("read %q, %v; want ok before there is more", b, err)
		}
		read <- struct{}{}
	}
	if n, err := resp.Body.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("read %d, %v at the end; want 0, EOF", n, err)
	}
}
