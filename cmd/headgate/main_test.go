package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// deadline is how long a test waits for what must come.
const deadline = 30 * time.Second

var binary string

// TestMain builds the program once.
func TestMain(m *testing.M) {
	os.Exit(func() int {
		if runtime.GOOS == "windows" {
			fmt.Println("skipped: needs SIGHUP and SIGTERM")
			return 0
		}
		dir, err := os.MkdirTemp("", "headgate")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		binary = filepath.Join(dir, "headgate")
		if out, err := exec.Command("go", "build", "-ldflags",
			"-X github.com/headgate/headgate/internal/cli.version=v9.8.7 -X github.com/headgate/headgate/internal/cli.commit=abc",
			"-o", binary, ".").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

func TestVersionIsThatOfTheLinker(t *testing.T) {
	out, err := exec.Command(binary, "version").Output()
	want := "headgate v9.8.7\ncommit abc\n" + runtime.Version() + "\n"
	if err != nil || string(out) != want {
		t.Errorf("version = %q, %v; want %q", out, err, want)
	}
}

func TestBadFileEndsServeWithStatus2(t *testing.T) {
	file := filepath.Join(t.TempDir(), "headgate.yaml")
	write(t, file, "upstreams: {api: {ulr: http://a}}\n")
	var stderr bytes.Buffer
	cmd := exec.Command(binary, "serve", "-c", file)
	cmd.Stderr = &stderr
	err := cmd.Run()
	want := file + ":1:13: upstreams.api.url: is missing\n" + file + ":1:19: upstreams.api.ulr: unknown key; did you mean \"url\"?\n"
	if statusOf(err) != 2 || stderr.String() != want {
		t.Errorf("serve = %v\n%s\nwant status 2 and\n%s", err, &stderr, want)
	}
}

func TestServeReloadsOnSIGHUPAndStopsOnSIGTERM(t *testing.T) {
	first, second := echo(t, "first"), echo(t, "second")
	file := filepath.Join(t.TempDir(), "headgate.yaml")
	write(t, file, fileFor(first))
	p := startServe(t, "-c", file)
	if got := get(p.data + "/api/"); got != "200 first" {
		t.Errorf("call = %s, want the first upstream", got)
	}

	write(t, file, "upstreams: 7\n")
	p.signal(t, syscall.SIGHUP)
	p.waitFor(t, `level=ERROR msg="reload refused; the old configuration stays in force"`)
	if got := get(p.data + "/api/"); got != "200 first" {
		t.Errorf("call after a bad file = %s, want the first upstream", got)
	}

	write(t, file, fileFor(second))
	p.signal(t, syscall.SIGHUP)
	p.waitFor(t, `msg=reloaded`)
	if got := get(p.data + "/api/"); got != "200 second" {
		t.Errorf("call after SIGHUP = %s, want the second upstream", got)
	}

	p.signal(t, syscall.SIGTERM)
	if err := p.wait(t); err != nil {
		t.Errorf("serve after SIGTERM = %v, want status 0", err)
	}
}

func TestSecondSignalEndsServeAtOnce(t *testing.T) {
	held := make(chan struct{}, 1)
	upstream := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		held <- struct{}{}
		<-r.Context().Done()
	}))
	defer upstream.Close()
	p := startServe(t, "--upstream", upstream.URL, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--grace", "1h")
	answer := make(chan string, 1)
	go func() { answer <- get(p.data + "/") }()
	<-held
	p.signal(t, syscall.SIGTERM)
	p.waitFor(t, `msg=stopping`)
	if got := get(p.admin + "/readyz"); got != "503 stopping\n" {
		t.Errorf("readyz while stopping = %q, want 503 stopping", got)
	}
	p.signal(t, syscall.SIGTERM)
	if err := p.wait(t); statusOf(err) != 1 {
		t.Errorf("serve after a second signal = %v, want status 1", err)
	}
	if got := <-answer; strings.HasPrefix(got, "200") {
		t.Errorf("the call in flight = %s, want it cut off", got)
	}
}

// process is a running headgate serve.
type process struct {
	cmd         *exec.Cmd
	lines       chan string // of stderr; closed at its end
	data, admin string      // URLs
}

func startServe(t *testing.T, args ...string) *process {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	t.Cleanup(cancel)
	p := &process{cmd: exec.CommandContext(ctx, binary, append([]string{"serve"}, args...)...), lines: make(chan string, 1000)}
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.lines)
		for s := bufio.NewScanner(stderr); s.Scan(); {
			p.lines <- s.Text()
		}
	}()
	p.data = "http://" + p.waitFor(t, `msg=listening plane=data addr=(\S+)`)
	p.admin = "http://" + p.waitFor(t, `msg=listening plane=admin addr=(\S+)`)
	return p
}

// waitFor reads stderr up to a line that matches, and returns the first group.
func (p *process) waitFor(t *testing.T, pattern string) string {
	t.Helper()
	var seen []string
	for line := range p.lines {
		if match := regexp.MustCompile(pattern).FindStringSubmatch(line); match != nil {
			return match[len(match)-1]
		}
		seen = append(seen, line)
	}
	t.Fatalf("stderr lacks %s:\n%s", pattern, strings.Join(seen, "\n"))
	return ""
}

func (p *process) signal(t *testing.T, s os.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// wait returns how the process ended: nil for status 0.
func (p *process) wait(t *testing.T) error {
	t.Helper()
	for range p.lines {
	}
	return p.cmd.Wait()
}

func statusOf(err error) int {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	return 0
}

func echo(t *testing.T, name string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, name) }))
	t.Cleanup(s.Close)
	return s.URL
}

func fileFor(url string) string {
	return fmt.Sprintf("listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\nupstreams:\n  api: {url: %q}\n", url)
}

// write replaces a file in one step.
func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file+".new", []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
}

func get(url string) string {
	resp, err := http.Get(url)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%d %s", resp.StatusCode, body)
}
