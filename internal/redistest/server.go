// Package redistest starts real Redis servers on loopback for tests: single
// ones, a cluster, a master with sentinels, and a proxy that spoils the way to
// them. It is to a store in Redis what net/http/httptest is to a client, and
// only tests import it.
//
// It needs redis-server or valkey-server in PATH. Without one a test is
// skipped, or fails if HEADGATE_REQUIRE_REDIS is 1.
//
// Everything started here ends with its test and leaves nothing on disk, and
// the log of each server is shown if the test failed. On Linux the servers end
// with the test binary too, however that dies. What does not work as it should fails the test: no function
// returns an error. Functions and methods belong to the goroutine of the test.
package redistest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Server is one Redis server: a process of its own, on a port of its own, with
// a directory of its own.
type Server struct {
	// Addr is where it listens, as in "127.0.0.1:10042". Restart keeps it.
	Addr string

	tb       testing.TB
	settings settings
	binary   string
	dir      string
	child    *child // nil before the first start
}

// Start starts a server that keeps nothing on disk, unless an option says
// otherwise, and returns when it answers.
func Start(tb testing.TB, opts ...Option) *Server {
	tb.Helper()
	return launch(tb, newSettings(opts))
}

// launch starts a server on a free port. A port that somebody took between
// the choice and the start makes the server exit; then another is tried.
func launch(tb testing.TB, settings settings) *Server {
	tb.Helper()
	binary := find(tb)
	for attempt := 1; ; attempt++ {
		port := freePort(tb)
		s := &Server{
			Addr:     net.JoinHostPort("127.0.0.1", strconv.Itoa(port)),
			tb:       tb,
			settings: settings,
			binary:   binary,
			dir:      tb.TempDir(),
		}
		if err := os.WriteFile(s.path("redis.conf"), []byte(settings.file(port, s.dir)), 0o600); err != nil {
			tb.Fatal(err)
		}
		err := s.start()
		if err == nil {
			tb.Cleanup(s.close)
			return s
		}
		s.Kill()
		if attempt == 3 || !errors.Is(err, errExited) {
			tb.Fatalf("start %s on %s: %v\n%s", binary, s.Addr, err, s.log())
		}
	}
}

// URL returns the address as redis://host:port, with user and password if the
// server was started with some.
func (s *Server) URL() string {
	u := url.URL{Scheme: "redis", Host: s.Addr}
	if s.settings.password != "" {
		u.User = url.UserPassword(s.settings.user, s.settings.password)
	}
	return u.String()
}

// Kill ends the server by SIGKILL, as a crash would, and returns when it is
// gone. Killing a dead or stopped one is fine.
func (s *Server) Kill() {
	if s.child != nil {
		s.child.kill()
	}
}

// Restart starts the server again, on the same port and with the same
// directory, after killing it if it runs. It returns when the server answers.
// The server is empty then, unless it was started WithAOF; a node of a cluster
// still knows the cluster, and what a Sentinel told a server it still obeys.
func (s *Server) Restart() {
	s.tb.Helper()
	s.Kill()
	if err := s.start(); err != nil {
		s.tb.Fatalf("restart %s on %s: %v", s.binary, s.Addr, err)
	}
}

// Stop halts the server by SIGSTOP: connections stay open and new ones are
// taken, but nothing is answered until Continue.
func (s *Server) Stop() { s.signal(haltSignal) }

// Continue lets a stopped server go on, by SIGCONT. It then answers what it
// was asked meanwhile.
func (s *Server) Continue() { s.signal(resumeSignal) }

// CLI runs one command and returns the answer as redis-cli prints it to a
// pipe: a line for each element, an empty one for nil. An answer that is an
// error fails the test.
func (s *Server) CLI(args ...string) string {
	s.tb.Helper()
	answer, err := s.run(args)
	if err != nil {
		s.tb.Fatalf("%s: %s: %v", s.Addr, strings.Join(args, " "), err)
	}
	return answer
}

// FlushAll empties the server: amnesia without a restart. Functions and
// scripts stay, as with FLUSHALL.
func (s *Server) FlushAll() {
	s.tb.Helper()
	s.CLI("FLUSHALL")
}

// start starts the process and returns when it answers. It returns errExited
// if the process ended instead.
func (s *Server) start() error {
	c, err := spawn(s.dir, s.path("log"), s.binary, s.arguments()...)
	if err != nil {
		return err
	}
	s.child = c
	return poll(func() error {
		if c.exited() {
			return errExited
		}
		return s.ping()
	})
}

func (s *Server) arguments() []string {
	args := []string{s.path("redis.conf")}
	if s.settings.sentinel {
		args = append(args, "--sentinel")
	}
	return args
}

// ping says whether the server takes commands, and is ours: the port may
// have gone to somebody else's.
func (s *Server) ping() error {
	info, err := s.run([]string{"INFO", "server"})
	if err != nil {
		return err
	}
	if pid := strconv.Itoa(s.child.process.Pid); field(info, "process_id") != pid {
		return fmt.Errorf("process %s answers instead of %s", field(info, "process_id"), pid)
	}
	_, err = s.run([]string{"PING"}) // refused while an append-only file is read
	return err
}

func (s *Server) signal(sig os.Signal) {
	s.tb.Helper()
	if err := s.child.process.Signal(sig); err != nil {
		s.tb.Fatalf("%v to the server on %s: %v", sig, s.Addr, err)
	}
}

func (s *Server) close() {
	s.Kill()
	if s.tb.Failed() {
		s.tb.Logf("log of %s on %s:\n%s", filepath.Base(s.binary), s.Addr, s.log())
	}
}

// log returns the last 8 KiB of what the server wrote.
func (s *Server) log() string {
	text, err := os.ReadFile(s.path("log"))
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-8<<10):])
}

func (s *Server) path(name string) string { return filepath.Join(s.dir, name) }

// freePort returns a port that is free, and whose bus port, 10000 higher, is
// free too: a node of a cluster listens on both. Both lie below the ports that
// systems hand out to connections (32768 on Linux), so that the port of a
// killed server is still free when it restarts.
func freePort(tb testing.TB) int {
	tb.Helper()
	for range 100 {
		port := 10000 + rand.IntN(10000)
		if free(port) && free(port+10000) {
			return port
		}
	}
	tb.Fatal("no free port between 10000 and 19999")
	return 0
}

func free(port int) bool {
	ln, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return false
	}
	ln.Close()
	return true
}
