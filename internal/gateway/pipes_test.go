package gateway

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// pipes is a listener in memory. What is written to one of its connections
// arrives in the same pieces.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), closed: make(chan struct{})} }

func (l *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipes) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

func (l *pipes) dial() net.Conn {
	ours, theirs := net.Pipe()
	l.conns <- theirs
	return ours
}

// startPipes serves a gateway on pipes until the test ends.
func startPipes(t testing.TB, door Door) *pipes {
	t.Helper()
	g, err := New(door, file(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	ln, srv, served := newPipes(), g.Server(), make(chan error, 1)
	go func() { served <- Serve(srv, ln) }()
	t.Cleanup(func() {
		srv.Close()
		if err := <-served; err != nil {
			t.Errorf("Serve = %v", err)
		}
	})
	return ln
}

// exchange writes text in pieces of at most size bytes and returns all that
// comes back until the server closes.
func exchange(conn net.Conn, text string, size func() int) string {
	defer conn.Close()
	got := make(chan string)
	go func() {
		all, _ := io.ReadAll(conn) // a reset behind an answer
		got <- string(all)
	}()
	for len(text) > 0 {
		n := min(size(), len(text))
		if _, err := io.WriteString(conn, text[:n]); err != nil {
			break
		}
		text = text[n:]
	}
	return <-got
}

func pieces(n int) func() int { return func() int { return n } }

// answers reads the answers that a server sent.
func answers(t *testing.T, sent string) (statuses []int, last *http.Response, body string) {
	t.Helper()
	r := bufio.NewReader(strings.NewReader(sent))
	for {
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			if rest, _ := io.ReadAll(r); !errors.Is(err, io.ErrUnexpectedEOF) || len(rest) > 0 {
				t.Errorf("read answers %q: %v", sent, err)
			}
			return statuses, last, body
		}
		text, _ := io.ReadAll(res.Body)
		statuses, last, body = append(statuses, res.StatusCode), res, string(text)
	}
}

// wantRefusal checks that a server answered clean requests with 200 and then
// refused.
func wantRefusal(t *testing.T, name, sent string, clean int, why error) {
	t.Helper()
	statuses, last, body := answers(t, sent)
	if len(statuses) != clean+1 || last.StatusCode != 400 {
		t.Errorf("%s: answers %v, want %d of 200 and a 400", name, statuses, clean)
		return
	}
	var p problem
	if err := json.Unmarshal([]byte(body), &p); err != nil || p.Type != problemType+"bad-request" || p.Status != 400 || p.Detail != why.Error() {
		t.Errorf("%s: problem %q, %v, want bad-request: %v", name, body, err, why)
	}
	if ct := last.Header.Get("Content-Type"); ct != "application/problem+json" || !last.Close {
		t.Errorf("%s: Content-Type %q, close %v, want a problem that closes", name, ct, last.Close)
	}
}
