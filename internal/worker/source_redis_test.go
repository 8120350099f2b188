package worker

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/headgate/headgate"
	"github.com/headgate/headgate/config"
	"github.com/headgate/headgate/internal/redisstore"
	"github.com/headgate/headgate/internal/redistest"
	"github.com/headgate/headgate/internal/source"
)

// Where a process that only drains a source is told what to drain; see
// TestMain.
const (
	envRedis    = "HEADGATE_TEST_SOURCE_REDIS"
	envUpstream = "HEADGATE_TEST_SOURCE_UPSTREAM"
)

func TestMain(m *testing.M) {
	if addr := os.Getenv(envRedis); addr != "" {
		drainForEver(addr, os.Getenv(envUpstream))
	}
	os.Exit(m.Run())
}

// drainForEver is an instance, until it is killed.
func drainForEver(addr, upstream string) {
	queue, err := redisstore.OpenSource(redisstore.SourceOptions{
		Options: redisstore.Options{Addrs: []string{addr}}, Name: "reviews", Holder: "pid" + strconv.Itoa(os.Getpid()), List: "reviews",
		Results: redisstore.Destination{Hash: "results"}, Dead: redisstore.Destination{List: "dead"},
	})
	if err != nil {
		panic(err)
	}
	template, err := source.ParseTemplate(source.Request{Path: "/v1/analyze", Body: `{"text": {{ json .JSON.text }}}`})
	if err != nil {
		panic(err)
	}
	gate, err := headgate.Open(context.Background(), config.Config{Upstreams: map[string]config.Upstream{
		"api": {URL: upstream, Limits: limits("200/1s")},
	}})
	if err != nil {
		panic(err)
	}
	NewSource(SourceOptions{Name: "reviews", Upstream: "api", Queue: queue, Template: template, Door: gate}).
		Run(context.Background(), context.Background())
}

// 500 messages in a list, one of which cannot be rendered; the instance is killed
// in the middle, and another goes on.
func TestKilledInstanceLosesNoMessageOfAList(t *testing.T) {
	server := redistest.Start(t)
	var mu sync.Mutex
	seen := map[string]int{}
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		seen[string(body)]++
		mu.Unlock()
		time.Sleep(20 * time.Millisecond)
		w.Header().Set("Content-Type", "application/json")
		w.Write([]byte(`{"ok":true}`))
	}))
	defer upstream.Close()
	for i := range 500 {
		message := fmt.Sprintf(`{"id":%d,"text":"review %d"}`, i, i)
		if i == 250 {
			message = "not JSON"
		}
		server.CLI("LPUSH", "reviews", message)
	}
	count := func(args ...string) int {
		n, _ := strconv.Atoi(strings.TrimSpace(server.CLI(args...)))
		return n
	}
	await := func(done func() bool) {
		t.Helper()
		for end := time.Now().Add(time.Minute); !done(); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%d results, %d dead, %d wait", count("HLEN", "results"), count("LLEN", "dead"), count("LLEN", "reviews"))
			}
		}
	}
	start := func() *exec.Cmd {
		t.Helper()
		exe, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(exe)
		cmd.Env = append(os.Environ(), envRedis+"="+server.Addr, envUpstream+"="+upstream.URL)
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
		return cmd
	}
	first := start()
	await(func() bool { return count("HLEN", "results") > 200 })
	first.Process.Kill()
	first.Wait()
	killed := time.Now()
	start()
	await(func() bool { return count("HLEN", "results") == 499 && count("LLEN", "dead") == 1 })
	t.Logf("all done %v after the kill", time.Since(killed).Round(time.Millisecond))

	var letter struct{ Reason, Message string }
	if err := json.Unmarshal([]byte(server.CLI("LINDEX", "dead", "0")), &letter); err != nil || letter.Message != "not JSON" || !strings.Contains(letter.Reason, "not JSON") {
		t.Errorf("dead letter %+v, %v", letter, err)
	}
	if got := server.CLI("HGET", "results", "7"); !strings.Contains(got, `"status":200`) || !strings.Contains(got, `"body":{"ok":true}`) {
		t.Errorf("result %s", got)
	}
	if n := count("LLEN", "reviews"); n != 0 {
		t.Errorf("%d messages wait still", n)
	}
	mu.Lock()
	defer mu.Unlock()
	twice := 0
	for _, n := range seen {
		if n > 1 {
			twice++
		}
	}
	if len(seen) != 499 || twice > 40 {
		t.Errorf("the upstream saw %d messages, %d twice, want 499 and at most 40", len(seen), twice)
	}
	t.Logf("the upstream saw %d messages twice", twice)
}
