package redistest_test

import (
	"errors"
	"fmt"
	"net"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/headgate/headgate/internal/redistest"
)

func TestKilledServerComesBackEmptyOnItsPort(t *testing.T) {
	s := redistest.Start(t)
	if got, want := s.URL(), "redis://"+s.Addr; got != want {
		t.Errorf("URL = %q, want %q", got, want)
	}
	if got := s.CLI("PING"); got != "PONG" {
		t.Errorf("PING = %q, want PONG", got)
	}
	s.CLI("SET", "k", "v")

	s.Kill()
	if conn, err := net.Dial("tcp", s.Addr); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("Dial a killed server = %v, %v, want connection refused", conn, err)
	}
	addr := s.Addr
	s.Restart()
	if s.Addr != addr {
		t.Errorf("after Restart the address is %s, want %s", s.Addr, addr)
	}
	if got := s.CLI("DBSIZE"); got != "0" {
		t.Errorf("DBSIZE after Restart = %s, want 0", got)
	}
}

func TestRestartKillsARunningServer(t *testing.T) {
	s := redistest.Start(t)
	s.CLI("SET", "k", "v")
	s.Restart()
	if got := s.CLI("DBSIZE"); got != "0" {
		t.Errorf("DBSIZE after Restart = %s, want 0", got)
	}
}

func TestAppendOnlyFileOutlivesAKill(t *testing.T) {
	s := redistest.Start(t, redistest.WithAOF())
	s.CLI("SET", "k", "v")
	s.Kill()
	s.Restart()
	if got := s.CLI("GET", "k"); got != "v" {
		t.Errorf("GET k after Restart = %q, want v", got)
	}
}

func TestPasswordIsAskedFor(t *testing.T) {
	for _, tt := range []struct{ user, inURL, whoami string }{
		{"", ":s3 cret@", "default"},
		{"app", "app:s3 cret@", "app"},
	} {
		s := redistest.Start(t, redistest.WithPassword(tt.user, "s3 cret"))
		if got, want := s.URL(), "redis://"+strings.ReplaceAll(tt.inURL, " ", "%20")+s.Addr; got != want {
			t.Errorf("user %q: URL = %q, want %q", tt.user, got, want)
		}
		if got := s.CLI("ACL", "WHOAMI"); got != tt.whoami {
			t.Errorf("user %q: ACL WHOAMI = %q, want %q", tt.user, got, tt.whoami)
		}
		if got := say(t, dial(t, s.Addr), "PING"); !strings.HasPrefix(got, "-NOAUTH") {
			t.Errorf("user %q: PING without a password = %q, want -NOAUTH …", tt.user, got)
		}
	}
}

func TestConfigLinesReachTheServer(t *testing.T) {
	s := redistest.Start(t, redistest.WithConfig("maxmemory 8mb", "maxmemory-policy allkeys-lru"))
	if got, want := s.CLI("CONFIG", "GET", "maxmemory-policy"), "maxmemory-policy\nallkeys-lru"; got != want {
		t.Errorf("CONFIG GET maxmemory-policy = %q, want %q", got, want)
	}
}

func TestStoppedServerAnswersAfterContinue(t *testing.T) {
	s := redistest.Start(t)
	conn := dial(t, s.Addr)
	say(t, conn, "PING")

	s.Stop()
	write(t, conn, "INCR n")
	expectSilence(t, conn)
	s.Continue()
	if got := read(t, conn); got != ":1" {
		t.Errorf("INCR n after Continue = %q, want :1", got)
	}

	s.Stop()
	s.Kill() // a stopped one dies too
}

func TestFlushAllForgetsEverything(t *testing.T) {
	s := redistest.Start(t)
	s.CLI("SET", "k", "v")
	s.FlushAll()
	if got := s.CLI("GET", "k"); got != "" {
		t.Errorf("GET k after FlushAll = %q, want nothing", got)
	}
}

func TestCLIPrintsLists(t *testing.T) {
	s := redistest.Start(t)
	s.CLI("RPUSH", "l", "a", "b")
	if got, want := s.CLI("EVAL", "return {redis.call('LRANGE', KEYS[1], 0, -1), 7, false, 'z'}", "1", "l"), "a\nb\n7\n\nz"; got != want {
		t.Errorf("CLI = %q, want %q", got, want)
	}
}

func TestStartWithoutABinarySkipsUnlessRequired(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	for _, tt := range []struct{ required, skipped, failed string }{
		{"", "apt-get install redis-server", ""},
		{"1", "", "apt-get install redis-server"},
	} {
		t.Setenv("HEADGATE_REQUIRE_REDIS", tt.required)
		r := record(t)
		if !strings.HasSuffix(r.skipped, tt.skipped) || !strings.HasSuffix(r.failed, tt.failed) {
			t.Errorf("HEADGATE_REQUIRE_REDIS=%q: skipped %q, failed %q; want %q, %q", tt.required, r.skipped, r.failed, tt.skipped, tt.failed)
		}
	}
}

func TestStartShowsTheLogOfAServerThatRefuses(t *testing.T) {
	redistest.Start(t) // skips here, not below, where there is no server
	r := record(t, redistest.WithConfig("no-such-directive 1"))
	if !strings.Contains(r.failed, "exited") || !strings.Contains(r.failed, "no-such-directive") {
		t.Errorf("failed with %q, want that it exited, and what it said", r.failed)
	}
}

// record starts a server for a test of its own, which does not end well.
func record(t *testing.T, opts ...redistest.Option) *recorder {
	r := &recorder{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		redistest.Start(r, opts...)
	}()
	<-done
	return r
}

// recorder is a test that keeps to itself how it ended.
type recorder struct {
	testing.TB
	skipped, failed string
}

func (r *recorder) Skip(args ...any) {
	r.skipped = args[0].(string)
	runtime.Goexit()
}

func (r *recorder) Fatalf(format string, args ...any) { r.Fatal(fmt.Sprintf(format, args...)) }

func (r *recorder) Fatal(args ...any) {
	r.failed = args[0].(string)
	runtime.Goexit()
}
