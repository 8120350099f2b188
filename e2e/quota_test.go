package e2e

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/limit"
	upstream "github.com/headgate/headgate/internal/mock"
)

// These tests measure, so that they do not run beside others.

func TestStrictUpstreamRefusesNothingAtFullQuota(t *testing.T) {
	l, err := limit.Parse("50/1s")
	if err != nil {
		t.Fatal(err)
	}
	judge := upstream.New(upstream.Config{
		Limits:     []limit.Limit{l},
		MinArrival: 5 * time.Millisecond,
		Jitter:     25 * time.Millisecond,
		Latency:    20 * time.Millisecond,
	})
	up := httptest.NewServer(judge)
	t.Cleanup(up.Close)
	g := serve(t, "--upstream", up.URL, "--limit", "50/1s")
	lateness := watchTimers(t)
	statuses := load(t, g.url, 40, 5*time.Second)
	s := judge.Stats()
	// The gate takes the arrival spread for 30 ms. The upstream makes 25 ms of
	// it, and a busy machine more than the rest: then a few are refused, where
	// a limiter that counts when it sends has 9 %. That none are, the door's
	// own tests hold in virtual time.
	t.Logf("%d of %d were refused; timers came up to %v late", s.Refused, s.Arrivals, lateness())
	if s.Refused > s.Arrivals/50 {
		t.Errorf("the upstream refused %d of %d, want 2 %% at most", s.Refused, s.Arrivals)
	}
	if len(statuses) != 1 || statuses[200] == 0 {
		t.Errorf("callers got %v, want all 200", statuses)
	}
	if usage := s.Limits[0].Usage; usage < 0.9 {
		t.Errorf("usage = %.1f %%, want 90 %% or more", 100*usage)
	}
	if s.Limits[0].Max > 50 {
		t.Errorf("%d arrived within one window, want at most 50", s.Limits[0].Max)
	}
}

func TestNginxRefusesNothingAtFullQuota(t *testing.T) {
	n := startNginx(t)
	g := serve(t, "--upstream", "http://"+n.addr, "--limit", "50/1s burst 10")
	statuses := load(t, g.url, 40, 5*time.Second)
	accepted, refused, span := n.counts(t)
	if refused != 0 || len(statuses) != 1 || statuses[200] == 0 {
		t.Errorf("callers got %v, nginx refused %d, want all 200 and none refused", statuses, refused)
	}
	if usage := float64(accepted) / (50 * span.Seconds()); usage < 0.95 {
		t.Errorf("usage = %.1f %% (%d in %v), want 95 %% or more", 100*usage, accepted, span)
	}
}

// watchTimers watches how late timers come until lateness is called, which
// returns the most.
func watchTimers(t *testing.T) (lateness func() time.Duration) {
	ctx, cancel := context.WithCancel(t.Context())
	var most time.Duration
	var running sync.WaitGroup
	running.Go(func() {
		const every = time.Millisecond
		timer := time.NewTimer(every)
		defer timer.Stop()
		for due := time.Now().Add(every); ; due = time.Now().Add(every) {
			select {
			case <-ctx.Done():
				return
			case <-timer.C:
				most = max(most, time.Since(due))
				timer.Reset(every)
			}
		}
	})
	return func() time.Duration {
		cancel()
		running.Wait()
		return most
	}
}

// load has callers call one after the other for some time, and returns how
// often each status came. Calls that broke off count as 0.
func load(t *testing.T, url string, callers int, d time.Duration) map[int]int {
	t.Helper()
	c := newClient(t)
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	var mu sync.Mutex
	statuses := make(map[int]int)
	var running sync.WaitGroup
	for range callers {
		running.Go(func() {
			for ctx.Err() == nil {
				req, err := http.NewRequestWithContext(ctx, "GET", url, nil)
				if err != nil {
					t.Error(err)
					return
				}
				a, err := try(c, req)
				if err != nil && ctx.Err() != nil {
					return // the time is over
				}
				mu.Lock()
				statuses[a.status]++
				mu.Unlock()
			}
		})
	}
	running.Wait()
	return statuses
}

// nginx is an nginx that lets 50 requests a second through, and 10 at once.
type nginx struct {
	addr, log string
}

func startNginx(t *testing.T) nginx {
	t.Helper()
	path, err := exec.LookPath("nginx")
	if err != nil {
		if path, err = exec.LookPath("/usr/sbin/nginx"); err != nil {
			t.Skipf("needs nginx: %v", err)
		}
	}
	dir := t.TempDir()
	n := nginx{addr: freeAddress(t), log: filepath.Join(dir, "access.log")}
	user := ""
	if os.Geteuid() == 0 {
		user = "user root;" // others may not look into dir
	}
	conf := fmt.Sprintf(`
daemon off; master_process off; %[1]s
pid %[2]s/pid; error_log %[2]s/error.log;
events {}
http {
  log_format counted '$msec $status';
  access_log %[3]s counted;
  client_body_temp_path %[2]s/body; proxy_temp_path %[2]s/proxy; fastcgi_temp_path %[2]s/fastcgi;
  uwsgi_temp_path %[2]s/uwsgi; scgi_temp_path %[2]s/scgi;
  limit_req_zone $server_name zone=all:1m rate=50r/s;
  limit_req_status 429;
  server {
    listen %[4]s; server_name all; root %[2]s/www; keepalive_requests 100000;
    location / { limit_req zone=all burst=10 nodelay; }
  }
}
`, user, dir, n.log, n.addr)
	if err := os.Mkdir(filepath.Join(dir, "www"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"www/index.html": "ok\n", "nginx.conf": conf} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	p := start(t, exec.Command(path, "-e", filepath.Join(dir, "error.log"), "-c", filepath.Join(dir, "nginx.conf")))
	eventually(t, "nginx listens", func() bool {
		select {
		case <-p.ended:
			errors, _ := os.ReadFile(filepath.Join(dir, "error.log"))
			t.Fatalf("nginx ended with %v\n%s%s", p.cmd.ProcessState, p.stderr, errors)
		default:
		}
		conn, err := net.Dial("tcp", n.addr)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	return n
}

// counts reads the access log: the requests that were accepted and refused,
// and the time from the first to the last.
func (n nginx) counts(t *testing.T) (accepted, refused int, span time.Duration) {
	t.Helper()
	content, err := os.ReadFile(n.log)
	if err != nil {
		t.Fatal(err)
	}
	var first, last float64
	for _, m := range regexp.MustCompile(`(?m)^([\d.]+) (\d+)$`).FindAllStringSubmatch(string(content), -1) {
		at, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			t.Fatal(err)
		}
		switch m[2] {
		case "200", "499": // 499: the caller has left, its request counts
			accepted++
		case "429":
			refused++
		default:
			t.Errorf("nginx answered %s", strings.TrimSpace(m[0]))
		}
		if first == 0 {
			first = at
		}
		last = max(last, at)
	}
	return accepted, refused, time.Duration((last - first) * float64(time.Second))
}

// freeAddress returns an address of loopback that nobody listens on, for
// programs that cannot choose one themselves.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
