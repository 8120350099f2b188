package daemon

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/headgate/headgate/config"
)

// deadline is how long a test waits for what must come.
const deadline = 20 * time.Second

// running is a Run in this process.
type running struct {
	addrs   map[string]string // by plane
	signals chan os.Signal
	log     *logText
	err     chan error
}

func start(t *testing.T, o Options) *running {
	t.Helper()
	return startWith(t, context.Background(), o)
}

// startWith starts Run, and checks in the end that no goroutine is left.
func startWith(t *testing.T, ctx context.Context, o Options) *running {
	t.Helper()
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		eventually(t, "all goroutines have ended", func() bool { return runtime.NumGoroutine() <= before })
	})
	r := &running{addrs: map[string]string{}, signals: make(chan os.Signal), log: newLogText(), err: make(chan error, 1)}
	o.Signals, o.Log, o.Version = r.signals, r.log, "test"
	var mu sync.Mutex
	o.Listening = func(plane string, addr net.Addr) {
		mu.Lock()
		defer mu.Unlock()
		r.addrs[plane] = addr.String()
	}
	cfg, err := o.Load()
	if err != nil {
		t.Fatal(err)
	}
	go func() { r.err <- Run(ctx, o) }()
	last := Admin
	if cfg.Admin == "off" {
		last = Data
	}
	r.log.waitFor(t, "msg=listening plane="+last)
	return r
}

func (r *running) wait(t *testing.T) error {
	t.Helper()
	select {
	case err := <-r.err:
		return err
	case <-time.After(deadline):
		t.Fatal("Run has not returned")
		return nil
	}
}

// get returns the status and the body.
func (r *running) get(t *testing.T, plane, path string) string {
	t.Helper()
	resp, err := http.Get("http://" + r.addrs[plane] + path)
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

// hold makes a call that is in flight until up releases it.
func (r *running) hold(t *testing.T, up *upstream) <-chan string {
	t.Helper()
	answer := make(chan string, 1)
	go func() { answer <- r.get(t, Data, "/hold") }()
	select {
	case <-up.held:
	case <-time.After(deadline):
		t.Fatal("the call has not reached the upstream")
	}
	return answer
}

// upstream echoes, but for /hold, which is answered once released.
type upstream struct {
	*httptest.Server
	name          string
	held, release chan struct{}
}

func newUpstream(t *testing.T) *upstream {
	up := &upstream{held: make(chan struct{}, 1), release: make(chan struct{})}
	up.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hold" {
			up.held <- struct{}{}
			select {
			case <-up.release:
			case <-r.Context().Done():
				return
			}
		}
		fmt.Fprint(w, strings.TrimSpace(up.name+" "+r.Method+" "+r.RequestURI))
	}))
	t.Cleanup(up.Close)
	return up
}

func one(url string) func() (config.Config, error) {
	return func() (config.Config, error) {
		c := config.Config{
			Listen:    "127.0.0.1:0",
			Admin:     "127.0.0.1:0",
			Upstreams: map[string]config.Upstream{"default": {URL: url}},
		}
		return c, c.Validate()
	}
}

func load(file string) func() (config.Config, error) {
	return func() (config.Config, error) { return config.Load(file) }
}

func fileFor(url, listen, level string) string {
	return fmt.Sprintf("listen: %s\nadmin: 127.0.0.1:0\nlog: {level: %s}\nupstreams:\n  api: {url: %q}\n", listen, level, url)
}

// write replaces a file in one step, as careful editors do.
func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file+".new", []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
}

// logText keeps what is written, and tells of it.
type logText struct {
	mu      sync.Mutex
	text    strings.Builder
	written chan struct{} // closed and replaced by each write
}

func newLogText() *logText { return &logText{written: make(chan struct{})} }

func (l *logText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.written)
	l.written = make(chan struct{})
	return l.text.Write(p)
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// has waits up to d for a text to be written.
func (l *logText) has(text string, d time.Duration) bool {
	late := time.After(d)
	for {
		l.mu.Lock()
		found, written := strings.Contains(l.text.String(), text), l.written
		l.mu.Unlock()
		if found {
			return true
		}
		select {
		case <-written:
		case <-late:
			return false
		}
	}
}

func (l *logText) waitFor(t *testing.T, text string) {
	t.Helper()
	if !l.has(text, deadline) {
		t.Fatalf("log lacks %s:\n%s", text, l)
	}
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
			t.Errorf("not so after %v: %s", deadline, what)
			return
		}
	}
}
