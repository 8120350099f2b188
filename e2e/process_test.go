package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// process is a running command.
type process struct {
	cmd            *exec.Cmd
	stdout, stderr *text
	ended          chan struct{} // closed once it has ended and been waited for
}

// headgate is a command of the binary under test. Its environment holds
// nothing but what the command needs, and env.
func headgate(args []string, env ...string) *exec.Cmd {
	cmd := exec.Command(binary, args...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "TMPDIR=" + os.TempDir()}, env...)
	return cmd
}

// start starts a command. It is killed, by its process id, when the test ends.
func start(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{cmd: cmd, stdout: newText(), stderr: newText(), ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = p.stdout, p.stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		_ = cmd.Wait() // the exit status is in ProcessState
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		<-p.ended
		if found := unseemly(p.stderr.String()); found != "" {
			t.Errorf("stderr of headgate %q has %q:\n%s", cmd.Args[1:], found, p.stderr)
		}
	})
	return p
}

// unseemly returns what no user should ever read on stderr, "" if nothing of
// it is there.
func unseemly(stderr string) string {
	return regexp.MustCompile(`panic|goroutine |runtime error|\*?(config|gateway|headgate|http|json|errors)\.[A-Z]\w+|0xc[0-9a-f]{9}|%!`).FindString(stderr)
}

// wait returns the exit status, -1 if a signal ended it.
func (p *process) wait(t *testing.T) int {
	t.Helper()
	select {
	case <-p.ended:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(deadline):
		t.Fatalf("headgate %q has not ended:\n%s", p.cmd.Args[1:], p.stderr)
		return -1
	}
}

func (p *process) signal(t *testing.T, s os.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatalf("signal %v: %v", s, err)
	}
}

// waitFor waits for stderr to match, and returns the first group.
func (p *process) waitFor(t *testing.T, pattern string) string {
	t.Helper()
	re := regexp.MustCompile(pattern)
	late := time.After(deadline)
	for {
		now, written := p.stderr.read()
		if match := re.FindStringSubmatch(now); match != nil {
			return match[len(match)-1]
		}
		select {
		case <-written:
		case <-p.ended:
			if now := p.stderr.String(); !re.MatchString(now) {
				t.Fatalf("headgate %q ended with %v; stderr lacks %s:\n%s", p.cmd.Args[1:], p.cmd.ProcessState, pattern, now)
			}
		case <-late:
			t.Fatalf("stderr of headgate %q lacks %s:\n%s", p.cmd.Args[1:], pattern, now)
		}
	}
}

// mostResident is the most memory that the process has held so far, in bytes.
func (p *process) mostResident(t *testing.T) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Skipf("needs /proc: %v", err)
	}
	match := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(status)
	if match == nil {
		t.Fatalf("no VmHWM in\n%s", status)
	}
	kb, err := strconv.ParseInt(string(match[1]), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kb << 10
}

// gate is a headgate serve.
type gate struct {
	*process
	url   string // of the data plane
	addr  string // of the data plane
	admin string // URL of the admin plane
}

// serve runs headgate serve with further arguments.
func serve(t *testing.T, args ...string) *gate {
	t.Helper()
	return serveWith(t, nil, args...)
}

// serveWith is serve with variables in the environment.
func serveWith(t *testing.T, env []string, args ...string) *gate {
	t.Helper()
	args = append([]string{"serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"}, args...)
	p := start(t, headgate(args, env...))
	g := &gate{process: p}
	g.addr = p.waitFor(t, `msg=listening plane=data addr=(\S+)`)
	g.url = "http://" + g.addr
	g.admin = "http://" + p.waitFor(t, `msg=listening plane=admin addr=(\S+)`)
	return g
}

// serveFile runs headgate serve with a file, which is returned too.
func serveFile(t *testing.T, yaml string, env ...string) (g *gate, file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "headgate.yaml")
	replaceFile(t, file, yaml)
	return serveWith(t, env, "-c", file), file
}

// mock runs headgate mock, and returns its URL.
func mock(t *testing.T, args ...string) string {
	t.Helper()
	p := start(t, headgate(append([]string{"mock", "--listen", "127.0.0.1:0"}, args...)))
	return p.waitFor(t, `mock at (http://[\d.:]+);`)
}

// result is what a command that ended by itself left behind.
type result struct {
	status         int
	stdout, stderr string
}

// run runs a command to its end.
func run(t *testing.T, cmd *exec.Cmd) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	timer := time.AfterFunc(3*deadline, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s: %v", cmd, err)
	}
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// replaceFile replaces a file in one step, as careful editors do.
func replaceFile(t *testing.T, file, content string) {
	t.Helper()
	if err := os.WriteFile(file+".new", []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
}

// text keeps what is written, and tells of it.
type text struct {
	mu      sync.Mutex
	b       strings.Builder
	written chan struct{} // closed and replaced by each write
}

func newText() *text { return &text{written: make(chan struct{})} }

func (x *text) Write(p []byte) (int, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	close(x.written)
	x.written = make(chan struct{})
	return x.b.Write(p)
}

func (x *text) read() (now string, written <-chan struct{}) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.b.String(), x.written
}

func (x *text) String() string {
	now, _ := x.read()
	return now
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.After(deadline)
	for !ok() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("not so after %v: %s", deadline, what)
		}
	}
}
