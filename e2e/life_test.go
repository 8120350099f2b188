package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestSIGTERMDrainsAndRefusesNewCalls(t *testing.T) {
	t.Parallel()
	up := newHolding(t)
	g := serve(t, "--upstream", up.URL, "--limit", "concurrent:1")
	c := newClient(t)
	inFlight := begin(t, c, g.url+"/in-flight")
	up.next(t)
	inLine := begin(t, c, g.url+"/in-line")
	eventually(t, "a call is in line", func() bool { return g.metric(t, c, `headgate_line_length{upstream="default"}`) == 1 })
	g.signal(t, syscall.SIGTERM)
	g.waitFor(t, `msg=stopping grace=30s`)
	eventually(t, "new connections are refused", func() bool {
		conn, err := net.Dial("tcp", g.addr)
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
	if a := get(t, c, g.admin+"/readyz"); a.status != 503 {
		t.Errorf("readyz while stopping = %v, want 503", a)
	}
	close(up.release)
	for path, answered := range map[string]<-chan string{"/in-flight": inFlight, "/in-line": inLine} {
		if got := receive(t, "accepted calls are answered", answered); got != "200 answered "+path {
			t.Errorf("%s = %s, want its answer", path, got)
		}
	}
	if status := g.wait(t); status != 0 {
		t.Errorf("exit status %d, want 0:\n%s", status, g.stderr)
	}
}

func TestSecondSignalEndsTheProcess(t *testing.T) {
	t.Parallel()
	up := newHolding(t)
	g := serve(t, "--upstream", up.URL)
	c := newClient(t)
	inFlight := begin(t, c, g.url+"/in-flight")
	up.next(t)
	g.signal(t, syscall.SIGTERM)
	g.waitFor(t, `msg=stopping`)
	began := time.Now()
	g.signal(t, os.Interrupt)
	if status := g.wait(t); status != 1 {
		t.Errorf("exit status %d, want 1:\n%s", status, g.stderr)
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("the second signal took %v, want at once", took)
	}
	if got := receive(t, "the call in flight has ended", inFlight); strings.HasPrefix(got, "200") {
		t.Errorf("the call in flight = %s, want it cut off", got)
	}
}

func TestReloadBySignalAndByChangeOfTheFile(t *testing.T) {
	t.Parallel()
	named := func(name string) string {
		return newUpstream(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, name) }).URL
	}
	first, second := named("first"), named("second")
	file := func(url string) string { return fmt.Sprintf("upstreams: {api: {url: %q}}\n", url) }
	g, path := serveFile(t, file(first))
	c := newClient(t)
	calls := func(want string) func() bool {
		return func() bool { return get(t, c, g.url+"/api/").body == want }
	}
	if !calls("first")() {
		t.Fatal("the file is not in force")
	}
	replaceFile(t, path, file(second))
	g.signal(t, syscall.SIGHUP)
	eventually(t, "SIGHUP reloads the file", calls("second"))

	replaceFile(t, path, file(first))
	eventually(t, "replacing the file reloads it", calls("first"))

	if err := os.WriteFile(path, []byte(file(second)), 0o644); err != nil {
		t.Fatal(err)
	}
	eventually(t, "writing the file reloads it", calls("second"))
	g.waitFor(t, "msg=reloaded file="+regexp.QuoteMeta(path))
}

func TestBadReloadChangesNothing(t *testing.T) {
	t.Parallel()
	up := newHolding(t)
	g, path := serveFile(t, fmt.Sprintf("upstreams: {api: {url: %q, limits: [\"concurrent:1\"]}}\n", up.URL))
	c := newClient(t)
	inFlight := begin(t, c, g.url+"/api/in-flight")
	up.next(t)
	inLine := begin(t, c, g.url+"/api/in-line")
	eventually(t, "a call is in line", func() bool { return g.metric(t, c, `headgate_line_length{upstream="api"}`) == 1 })

	replaceFile(t, path, "upstreams:\n  api:\n    url: http://127.0.0.1:1\n    limts: [1/1s]\n")
	g.signal(t, syscall.SIGHUP)
	g.waitFor(t, `level=ERROR msg="reload refused; the old configuration stays in force" file=\S+ error="`+
		regexp.QuoteMeta(path)+`:4:5: upstreams\.api\.limts: unknown key; did you mean \\"limits\\"\?"`)
	if n := g.metric(t, c, `headgate_line_length{upstream="api"}`); n != 1 {
		t.Errorf("%v calls in line after a bad reload, want the one that was there", n)
	}
	close(up.release)
	for path, answered := range map[string]<-chan string{"/in-flight": inFlight, "/in-line": inLine} {
		if got := receive(t, "calls are answered", answered); got != "200 answered "+path {
			t.Errorf("%s = %s, want its answer", path, got)
		}
	}
	if a := get(t, c, g.url+"/api/after"); a.body != "answered /after" {
		t.Errorf("call after a bad reload = %v, want the old upstream's answer", a)
	}
}

func TestKilledGateLeavesNoFilesBehind(t *testing.T) {
	t.Parallel()
	up := newHolding(t)
	tmp := t.TempDir()
	g := serveWith(t, []string{"TMPDIR=" + tmp}, "--upstream", up.URL)
	// More than fits into memory, so that it is kept in a file for a retry.
	body, more := io.Pipe()
	req, err := http.NewRequestWithContext(t.Context(), "POST", g.url+"/upload", body)
	if err != nil {
		t.Fatal(err)
	}
	c := newClient(t)
	broken := make(chan error, 1)
	go func() {
		_, err := try(c, req)
		broken <- err
	}()
	if _, err := more.Write(make([]byte, 8<<20)); err != nil {
		t.Fatal(err)
	}
	up.next(t)
	if err := g.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	g.wait(t)
	more.CloseWithError(io.ErrUnexpectedEOF)
	if err := receive(t, "the call has ended", broken); err == nil {
		t.Error("the call was answered, want it broken off")
	}
	left, err := filepath.Glob(filepath.Join(tmp, "*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left in %s: %q, %v, want nothing", tmp, left, err)
	}
}

func TestAddressInUseIsAClearError(t *testing.T) {
	t.Parallel()
	up := newUpstream(t, func(http.ResponseWriter, *http.Request) {})
	taken := strings.TrimPrefix(up.URL, "http://")
	for _, args := range [][]string{
		{"serve", "--upstream", up.URL, "--listen", taken, "--admin", "off"},
		{"serve", "--upstream", up.URL, "--listen", "127.0.0.1:0", "--admin", taken},
		{"mock", "--listen", taken},
	} {
		r := run(t, headgate(args))
		if r.status != 1 || strings.Count(r.stderr, "\n") != 1 || r.stdout != "" ||
			!strings.Contains(r.stderr, taken) || !strings.Contains(r.stderr, "address already in use") {
			t.Errorf("headgate %q = %d\n%s%s\nwant 1 and one line that names %s", args, r.status, r.stdout, r.stderr, taken)
		}
	}
}

func TestHelpIsComplete(t *testing.T) {
	t.Parallel()
	r := run(t, headgate([]string{"--help"}))
	var commands []string
	for _, m := range regexp.MustCompile(`(?m)^  ([a-z]+)  +[A-Z]`).FindAllStringSubmatch(r.stdout, -1) {
		commands = append(commands, m[1])
	}
	for _, name := range []string{"serve", "batch", "explain", "key", "check", "schema", "mock", "demo", "top", "version"} {
		if !slices.Contains(commands, name) {
			t.Errorf("headgate --help lacks %s:\n%s", name, r.stdout)
		}
	}
	flag := regexp.MustCompile(`(?m)^ +(-\w, )?--([a-z-]+)(.*)$`)
	for _, name := range commands {
		r := run(t, headgate([]string{name, "--help"}))
		_, example, ok := strings.Cut(r.stdout, "\nExamples:\n")
		example, flags, _ := strings.Cut(example, "\nFlags:\n")
		for _, m := range regexp.MustCompile(`(?m)^  ([a-z]+)  +[A-Z]`).FindAllStringSubmatch(example, -1) {
			below := run(t, headgate([]string{name, m[1], "--help"})) // examples show these
			_, more, _ := strings.Cut(below.stdout, "\nFlags:\n")
			flags += more
		}
		if r.status != 0 || r.stderr != "" || !ok && name != "help" || !strings.Contains(r.stdout, "\nUsage:\n  headgate "+name) {
			t.Errorf("headgate %s --help = %d, want usage and an example:\n%s%s", name, r.status, r.stdout, r.stderr)
		}
		for _, m := range flag.FindAllStringSubmatch(flags, -1) {
			if len(strings.Fields(m[3])) < 2 {
				t.Errorf("headgate %s --help does not say what --%s is", name, m[2])
			}
		}
		for _, m := range regexp.MustCompile(`--([a-z-]+)`).FindAllStringSubmatch(example, -1) {
			if !strings.Contains(flags, "--"+m[1]) {
				t.Errorf("the example of headgate %s uses --%s, which is none of its flags", name, m[1])
			}
		}
	}
}
