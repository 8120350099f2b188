package redistest_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/redistest"
)

func TestLatencyDelaysAnswers(t *testing.T) {
	s := redistest.Start(t)
	p := redistest.StartProxy(t, s.Addr)
	conn := dial(t, p.Addr)
	say(t, conn, "PING")

	p.Latency(100 * time.Millisecond)
	start := time.Now()
	say(t, conn, "PING")
	if took := time.Since(start); took < 100*time.Millisecond {
		t.Errorf("PING took %v, want at least the latency of 100ms", took)
	}
	p.Latency(time.Hour)
	write(t, conn, "PING")
	expectSilence(t, conn)
	p.Heal()
	if got := read(t, conn); got != "+PONG" {
		t.Errorf("answer after Heal = %q, want +PONG", got)
	}
}

func TestBlackholeSwallowsCommands(t *testing.T) {
	s := redistest.Start(t)
	p := redistest.StartProxy(t, s.Addr)
	before := dial(t, p.Addr)
	say(t, before, "PING")

	p.Blackhole()
	after := dial(t, p.Addr)
	for _, conn := range []net.Conn{before, after} {
		write(t, conn, "INCR n")
		expectSilence(t, conn)
	}
	p.Heal()
	for _, conn := range []net.Conn{before, after} {
		expectReset(t, conn)
	}
	if got := say(t, dial(t, p.Addr), "GET n"); got != "$-1" {
		t.Errorf("GET n after Heal = %q, want $-1: no INCR arrived", got)
	}
}

func TestHalfOpenSwallowsAnswersOnly(t *testing.T) {
	s := redistest.Start(t)
	p := redistest.StartProxy(t, s.Addr)
	p.HalfOpen()
	conn := dial(t, p.Addr)
	write(t, conn, "RPUSH l x")
	if got := s.CLI("BLPOP", "l", "4"); got != "l\nx" {
		t.Errorf("BLPOP l = %q, want l, x: the command arrived", got)
	}
	expectSilence(t, conn)
	p.Heal()
	expectReset(t, conn)
}

func TestResetCutsOpenConnectionsOnce(t *testing.T) {
	s := redistest.Start(t)
	p := redistest.StartProxy(t, s.Addr)
	conn := dial(t, p.Addr)
	say(t, conn, "PING")
	p.Reset()
	expectReset(t, conn)
	if got := say(t, dial(t, p.Addr), "PING"); got != "+PONG" {
		t.Errorf("PING over a new connection = %q, want +PONG", got)
	}
}

func TestProxyEndsConnectionsWithItsServer(t *testing.T) {
	s := redistest.Start(t)
	p := redistest.StartProxy(t, s.Addr)
	conn := dial(t, p.Addr)
	say(t, conn, "PING")
	s.Kill()
	expectEnd(t, conn)
	expectEnd(t, dial(t, p.Addr))
	s.Restart()
	if got := say(t, dial(t, p.Addr), "PING"); got != "+PONG" {
		t.Errorf("PING after Restart = %q, want +PONG", got)
	}
}

// dial opens a connection that lasts as long as the test.
func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// say sends an inline command and returns the first line of the answer.
func say(t *testing.T, conn net.Conn, command string) string {
	t.Helper()
	write(t, conn, command)
	return read(t, conn)
}

func write(t *testing.T, conn net.Conn, command string) {
	t.Helper()
	if _, err := io.WriteString(conn, command+"\r\n"); err != nil {
		t.Fatalf("send %q: %v", command, err)
	}
}

func read(t *testing.T, conn net.Conn) string {
	t.Helper()
	conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		t.Fatalf("read answer: %q, %v", line, err)
	}
	return strings.TrimSpace(line)
}

// expectSilence fails if anything comes within a moment.
func expectSilence(t *testing.T, conn net.Conn) {
	t.Helper()
	conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if n, err := conn.Read(make([]byte, 64)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Read = %d bytes, %v, want nothing for 50ms", n, err)
	}
}

func expectReset(t *testing.T, conn net.Conn) {
	t.Helper()
	conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	if n, err := conn.Read(make([]byte, 64)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("Read = %d bytes, %v, want connection reset", n, err)
	}
}

// expectEnd wants the connection closed, in whichever way.
func expectEnd(t *testing.T, conn net.Conn) {
	t.Helper()
	conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	if n, err := conn.Read(make([]byte, 64)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Read = %d bytes, %v, want the end", n, err)
	}
}
