package cli

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/headgate/headgate/config"
)

// deadline is how long a test waits for what must come.
const deadline = 20 * time.Second

func TestServeRunsOneUpstreamFromFlags(t *testing.T) {
	t.Setenv("HEADGATE_TEST_KEY", "hush-hush")
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Header.Get("Authorization"), " ", r.RequestURI)
	}))
	defer upstream.Close()
	c := begin("serve", "--upstream", upstream.URL, "--limit", "100/1s", "--limit", "concurrent:4",
		"--credential", "Authorization: Bearer ${env:HEADGATE_TEST_KEY}",
		"--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--log-format", "json")
	data := c.waitFor(t, `"msg":"listening","plane":"data","addr":"([^"]+)"`)
	admin := c.waitFor(t, `"msg":"listening","plane":"admin","addr":"([^"]+)"`)
	if got, want := get(t, "http://"+data+"/v1/items"), "200 Bearer hush-hush /v1/items"; got != want {
		t.Errorf("call = %q, want %q", got, want)
	}
	if got := get(t, "http://"+admin+"/readyz"); got != "200 ready\n" {
		t.Errorf("readyz = %q, want 200 ready", got)
	}
	c.signals <- syscall.SIGTERM
	if status := c.wait(t); status != 0 {
		t.Errorf("serve = %d after SIGTERM, want 0", status)
	}
	if c.out.String() != "" || strings.Contains(c.err.String(), "hush-hush") {
		t.Errorf("stdout %q, stderr %s; want no stdout and no secret", c.out, c.err)
	}
}

func TestServeReportsAnAddressThatIsTaken(t *testing.T) {
	taken := httptest.NewServer(nil)
	defer taken.Close()
	addr := strings.TrimPrefix(taken.URL, "http://")
	status, _, stderr := run(t, "", "serve", "-u", "http://a", "-a", addr, "--admin", "off")
	want := "headgate: listen on " + addr + " for the data plane: address already in use; stop what listens there, or choose another address with --listen, or listen in the file\n"
	if status != exitFailed || stderr != want {
		t.Errorf("serve = %d %s\nwant 1 and\n%s", status, stderr, want)
	}
}

func TestFlagsSayWhatAFileWouldSay(t *testing.T) {
	file, err := config.Parse("headgate.yaml", []byte(`
listen: 127.0.0.1:1
admin: "off"
state: redis://:hunter2@cache
namespace: prod
on_store_loss: wait
log: {level: debug, format: json}
upstreams:
  default:
    url: https://api.example.com
    dialect: ietf
    limits: ["50/1m", "10/1s burst 20"]
    credentials: [{header: X-Key, value: "a: b"}]
    line: {max_wait: 5s, max_length: 7}
    retry: {attempts: 3}
    breaker: {open_after: 10 throttled in 1m, open_for: 5s}
`))
	if err != nil {
		t.Fatal(err)
	}
	cmd := newServe(World{})
	u := upstreamFlags{
		url: "https://api.example.com", dialect: "ietf",
		limits: []string{"50/1m", "10/1s burst 20"}, credentials: []string{"X-Key: a: b"},
		maxWait: "5s", maxLength: "7", attempts: "3",
		openAfter: "10 throttled in 1m", openFor: "5s",
	}
	flags, err := u.config(cmd, processFlags{
		stateFlags: stateFlags{"redis://:hunter2@cache", "prod", "wait"},
		listen:     "127.0.0.1:1", admin: "off", logLevel: "debug", logFormat: "json",
	})
	if err != nil {
		t.Fatal(err)
	}
	var want, got strings.Builder
	if err := file.WithDefaults().Print(&want); err != nil {
		t.Fatal(err)
	}
	if err := flags.WithDefaults().Print(&got); err != nil {
		t.Fatal(err)
	}
	if got.String() != want.String() {
		t.Errorf("flags mean\n%s\nwant what the file means\n%s", &got, &want)
	}
	if got := flags.Upstreams["default"].Credentials[0].Value.Reveal(); got != "a: b" {
		t.Errorf("credential = %q, want all behind the first colon", got)
	}
}

func TestMockServesAndPrintsItsStats(t *testing.T) {
	c := begin("mock", "--listen", "127.0.0.1:0", "--limit", "2/1h", "--retry-after", "seconds")
	addr := c.waitFor(t, `mock at (http://[\d.:]+);`)
	var got []string
	for range 3 {
		got = append(got, get(t, addr+"/v1/items")[:3])
	}
	if s := strings.Join(got, " "); s != "200 200 429" {
		t.Errorf("three calls at 2/1h = %s, want 200 200 429", s)
	}
	c.signals <- os.Interrupt
	if status := c.wait(t); status != 0 {
		t.Errorf("mock = %d after Ctrl-C, want 0: %s", status, c.err)
	}
	want := regexp.MustCompile(`^ +arrivals +accepted +refused +errors +span\n +3 +2 +1 +0 +\S+\n\n` +
		`limit +refused +most in a window +usage\n2/1h +1 +2 +100\.0 %\n$`)
	if !want.MatchString(c.out.String()) {
		t.Errorf("mock printed\n%s\nwant 3 arrivals, 2 accepted, 1 refused", c.out)
	}
}

// command is a command that runs until it is told to stop.
type command struct {
	out, err *text
	signals  chan os.Signal
	status   chan int
}

func begin(args ...string) *command {
	c := &command{out: newText(), err: newText(), signals: make(chan os.Signal), status: make(chan int, 1)}
	w := World{
		In: strings.NewReader(""), Out: c.out, Err: c.err,
		Signals: func(...os.Signal) (<-chan os.Signal, func()) { return c.signals, func() {} },
	}
	go func() { c.status <- Main(args, w) }()
	return c
}

// wait returns the exit status.
func (c *command) wait(t *testing.T) int {
	t.Helper()
	http.DefaultClient.CloseIdleConnections()
	select {
	case status := <-c.status:
		return status
	case <-time.After(deadline):
		t.Fatalf("the command has not ended:\n%s", c.err)
		return -1
	}
}

// waitFor waits for stderr to match, and returns the first group.
func (c *command) waitFor(t *testing.T, pattern string) string {
	t.Helper()
	re := regexp.MustCompile(pattern)
	late := time.After(deadline)
	for {
		now, written := c.err.read()
		if match := re.FindStringSubmatch(now); match != nil {
			return match[len(match)-1]
		}
		select {
		case <-written:
		case status := <-c.status:
			t.Fatalf("the command ended with %d:\n%s", status, c.err)
		case <-late:
			t.Fatalf("stderr lacks %s:\n%s", pattern, now)
		}
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

func (x *text) read() (string, <-chan struct{}) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.b.String(), x.written
}

func (x *text) String() string {
	s, _ := x.read()
	return s
}

func get(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%d %s", resp.StatusCode, body)
}
