package redistest

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"testing"
)

// errExited reports a server that ended while it was expected to answer.
var errExited = errors.New("the server exited")

// find returns the path of a Redis server, or skips the test.
func find(tb testing.TB) string {
	tb.Helper()
	for _, name := range []string{"redis-server", "valkey-server"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	const missing = "needs redis-server or valkey-server in PATH: apt-get install redis-server"
	if os.Getenv("HEADGATE_REQUIRE_REDIS") == "1" {
		tb.Fatal(missing)
	}
	tb.Skip(missing)
	return ""
}

// child is a process that we started, and reap.
type child struct {
	process *os.Process
	gone    chan struct{} // closed when it has ended
}

// spawn starts a program in dir, with its output appended to the file log.
func spawn(dir, log, program string, args ...string) (*child, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, out, out
	cmd.SysProcAttr = diesWithParent()
	c := &child{gone: make(chan struct{})}
	started := make(chan error)
	go func() {
		// Linux takes the end of the starting thread for the parent's.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		c.process = cmd.Process
		started <- err
		if err == nil {
			cmd.Wait() // the status of a killed process says nothing new
			close(c.gone)
		}
	}()
	return c, <-started
}

// kill ends the process and returns when it has been reaped.
func (c *child) kill() {
	c.process.Kill() // fails only if it has ended
	<-c.gone
}

func (c *child) exited() bool {
	select {
	case <-c.gone:
		return true
	default:
		return false
	}
}
