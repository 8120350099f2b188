package cli

import (
	"encoding/json"
	"errors"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/headgate/headgate/internal/mock"
	"github.com/headgate/headgate/internal/redistest"
)

// needsRedis skips the test where demo could start no server.
func needsRedis(t *testing.T) {
	t.Helper()
	if _, err := findRedis(); err == nil {
		return
	}
	if os.Getenv("HEADGATE_REQUIRE_REDIS") == "1" {
		t.Fatal("needs redis-server or valkey-server in PATH")
	}
	t.Skip("needs redis-server or valkey-server in PATH")
}

func TestDemoSharesTheQuotaAmongInstances(t *testing.T) {
	server := redistest.Start(t)
	status, stdout, stderr := run(t, "", "demo", "--instances", "2", "--state", server.URL(), "--duration", "4s", "--limit", "50/1s", "--json")
	if status != 0 {
		t.Fatalf("demo = %d %s, want 0", status, stderr)
	}
	var got struct{ Around, Through *demoResult }
	if err := json.Unmarshal([]byte(stdout), &got); err != nil {
		t.Fatalf("demo --json: %v\n%s", err, stdout)
	}
	r := got.Through
	if r == nil || len(r.Instances) != 2 || r.MaxMin == nil || got.Around.Instances != nil {
		t.Fatalf("demo --json = %s, want 2 instances through the gate and none around it", stdout)
	}
	if r.Throttled != 0 || r.Instances[0].Calls+r.Instances[1].Calls != r.Answered {
		t.Errorf("demo --json = %s, want no 429, and calls of instances that sum up to those answered", stdout)
	}
	if *r.MaxMin > 2 {
		t.Errorf("demo --json = %s, want shares that resemble each other", stdout)
	}
	if want := "by 2 instances, which share the quota through "; !strings.Contains(stderr, want) || !strings.Contains(stderr, server.Addr) {
		t.Errorf("stderr lacks %q and %s:\n%s", want, server.Addr, stderr)
	}
}

func TestInterruptedDemoStopsItsRedis(t *testing.T) {
	needsRedis(t)
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	c := begin("demo", "--instances", "3", "--duration", "1h")
	addr := c.waitFor(t, `share the quota through \S+ \S+ at ([\d.:]+)\.\n`)
	c.signals <- os.Interrupt
	if status := c.wait(t); status != 0 {
		t.Errorf("demo = %d after Ctrl-C, want 0: %s", status, c.err)
	}
	if conn, err := net.Dial("tcp", addr); err == nil {
		conn.Close()
		t.Errorf("something answers at %s after the demo", addr)
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("left in %s: %v %v, want nothing", temp, left, err)
	}
}

func TestDemoSaysHowToGetARedis(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	status, stdout, stderr := run(t, "", "demo", "--instances", "4")
	if status != exitFailed || stdout != "" {
		t.Errorf("demo = %d %q, want 1 and nothing", status, stdout)
	}
	for _, want := range []string{"apt-get install redis-server\n", "brew install valkey\n", "docker run ", "--state redis://"} {
		if !strings.Contains(stderr, want) {
			t.Errorf("stderr lacks %q:\n%s", want, stderr)
		}
	}
}

func TestRedisOfTheDemoEndsWhenClosed(t *testing.T) {
	needsRedis(t)
	r, err := startRedis(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := r.close(); err != nil {
		t.Error(err)
	}
	if r.cmd.ProcessState == nil {
		t.Error("the server still runs")
	}
	if _, err := os.Stat(r.dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("stat %s = %v, want it gone", r.dir, err)
	}
}

func TestRedisThatExitsIsAnErrorWithItsLastWords(t *testing.T) {
	program, err := exec.LookPath("false")
	if err != nil {
		t.Skip("needs false in PATH")
	}
	if _, err := launchRedis(t.Context(), program); !errors.Is(err, errRedisExited) {
		t.Errorf("launch of a program that exits = %v, want %v", err, errRedisExited)
	}
}

func TestDemoTableHasARowForEachInstance(t *testing.T) {
	through := demoView{judge: mock.Stats{Limits: make([]mock.LimitStats, 1)}, calls: fleetCounts{answered: 40}}.result()
	through.divide([]int{18, 12, 10})
	var got strings.Builder
	if err := printDemoShares(&got, through); err != nil {
		t.Fatal(err)
	}
	golden(t, "demo-shares.txt", got.String())
}

func TestCallersAreSharedOutAmongClients(t *testing.T) {
	for _, n := range []int{1, 3, 4, 7, demoCallers} {
		least, most, all := demoCallers, 0, 0
		for _, c := range newFleet(make([]string, n), 0, false).clients {
			least, most, all = min(least, c.callers), max(most, c.callers), all+c.callers
		}
		if all != demoCallers || most-least > 1 {
			t.Errorf("%d clients have %d callers, %d to %d each; want %d, as equal as can be", n, all, least, most, demoCallers)
		}
	}
}
