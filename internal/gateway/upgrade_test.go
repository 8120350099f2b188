package gateway

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// switchingUpstream agrees to any upgrade and hands the connection to talk.
func switchingUpstream(t *testing.T, talk func(net.Conn, *bufio.ReadWriter)) *through {
	return newThrough(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" {
			w.WriteHeader(426)
			return
		}
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		fmt.Fprintf(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\nX-End: 1\r\n\r\n", r.Header.Get("Upgrade"))
		rw.Flush()
		talk(conn, rw)
	}, false)
}

// dialUpgrade asks for an upgrade and sends early behind it.
func dialUpgrade(t *testing.T, base, protocol, early string) (*net.TCPConn, *bufio.Reader, *http.Response) {
	t.Helper()
	conn, err := net.Dial("tcp", base[len("http://"):])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprintf(conn, "GET /api/ws HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: %s\r\n\r\n%s", protocol, early)
	r := bufio.NewReader(conn)
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	return conn.(*net.TCPConn), r, res
}

func TestUpgradePipesBothWays(t *testing.T) {
	ended := make(chan string, 1)
	door := switchingUpstream(t, func(conn net.Conn, rw *bufio.ReadWriter) {
		for {
			line, err := rw.ReadString('\n')
			if err != nil { // the caller has ended its direction
				io.WriteString(conn, "bye\n")
				ended <- line
				return
			}
			io.WriteString(conn, "echo "+line)
		}
	})
	_, base := start(t, door, file(), Options{})
	conn, r, res := dialUpgrade(t, base, "websocket", "early\n")
	if res.StatusCode != 101 || res.Header.Get("Upgrade") != "websocket" || res.Header.Get("X-End") != "1" {
		t.Fatalf("answer = %d with %v, want 101 and the upstream's header", res.StatusCode, res.Header)
	}
	for i, want := range []string{"echo early\n", "echo a\n", "echo b\n"} {
		if i > 0 {
			io.WriteString(conn, want[len("echo "):])
		}
		if line, err := r.ReadString('\n'); line != want {
			t.Fatalf("got %q, %v, want %q", line, err, want)
		}
	}
	conn.CloseWrite()
	if rest, err := io.ReadAll(r); string(rest) != "bye\n" || err != nil {
		t.Errorf("after CloseWrite: %q, %v, want what the upstream had left to say", rest, err)
	}
	<-ended
}

func TestUpgradeEndsWithEitherSide(t *testing.T) {
	upstreamLeaves := make(chan bool, 1)
	ended := make(chan struct{}, 1)
	door := switchingUpstream(t, func(conn net.Conn, rw *bufio.ReadWriter) {
		if !<-upstreamLeaves {
			io.Copy(io.Discard, rw)
		}
		ended <- struct{}{}
	})
	_, base := start(t, door, file(), Options{})
	for _, upstream := range []bool{true, false} {
		conn, r, _ := dialUpgrade(t, base, "websocket", "")
		upstreamLeaves <- upstream
		if upstream {
			if rest, err := io.ReadAll(r); len(rest) != 0 || err != nil {
				t.Errorf("after the upstream left: %q, %v, want EOF", rest, err)
			}
		}
		conn.Close()
		<-ended
	}
}

func TestUpgradeRefusedByUpstreamIsAnAnswer(t *testing.T) {
	door := newThrough(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(403) }, false)
	_, base := start(t, door, file(), Options{})
	if _, _, res := dialUpgrade(t, base, "websocket", ""); res.StatusCode != 403 {
		t.Errorf("answer = %d, want the upstream's 403", res.StatusCode)
	}
}

func TestUpgradeToHTTP2IsNotPassed(t *testing.T) {
	door := switchingUpstream(t, func(net.Conn, *bufio.ReadWriter) {})
	_, base := start(t, door, file(), Options{})
	for _, protocol := range []string{"h2c", "H2c", "h2"} {
		if _, _, res := dialUpgrade(t, base, protocol, ""); res.StatusCode != 426 {
			t.Errorf("Upgrade: %s = %d, want an upstream that did not hear of it", protocol, res.StatusCode)
		}
	}
}

func TestUnaskedSwitchIsAnError(t *testing.T) {
	door := doorFunc(func(req *http.Request) (*http.Response, error) {
		res := answer(101, "")
		res.Header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {"other"}}
		return res, nil
	})
	_, base := start(t, door, file(), Options{})
	if _, _, res := dialUpgrade(t, base, "websocket", ""); res.StatusCode != 502 {
		t.Errorf("a switch to another protocol = %d, want 502", res.StatusCode)
	}
}

func TestShutdownEndsUpgradedConnections(t *testing.T) {
	door := switchingUpstream(t, func(conn net.Conn, rw *bufio.ReadWriter) { io.Copy(io.Discard, rw) })
	g, base := start(t, door, file(), Options{})
	_, r, _ := dialUpgrade(t, base, "websocket", "")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := g.Shutdown(ctx); err != context.DeadlineExceeded {
		t.Errorf("Shutdown with a pipe open = %v, want context.DeadlineExceeded", err)
	}
	if rest, err := io.ReadAll(r); len(rest) != 0 || err != nil && !strings.Contains(err.Error(), "reset") {
		t.Errorf("the caller read %q, %v, want an end", rest, err)
	}
}
