package e2e

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/redistest"
)

// counting is a silent upstream that knows how often it answered each path.
type counting struct {
	*silent
	mu   sync.Mutex
	seen map[string]int
}

func newCounting(t *testing.T, limit string) *counting {
	t.Helper()
	c := &counting{seen: make(map[string]int)}
	c.silent = newSilent(t, limit, func(s *silent, w http.ResponseWriter, r *http.Request) {
		if !s.admit(r, 1) {
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		c.mu.Lock()
		c.seen[r.URL.Path]++
		c.mu.Unlock()
		time.Sleep(serviceTime())
		fmt.Fprintf(w, "answer to %s", r.URL.Path)
	})
	return c
}

// moreThanOnce returns how many of the paths were seen more than once, and
// which were not seen at all.
func (c *counting) moreThanOnce(paths []string) (twice int, never []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, path := range paths {
		switch n := c.seen[path]; {
		case n == 0:
			never = append(never, path)
		case n > 1:
			twice++
		}
	}
	return twice, never
}

// jobState is what users read of a job.
type jobState struct {
	ID, State, Reason string
	Attempts          []struct{ Status int }
	Losses            int
}

// enqueue stores a call as a job.
func enqueue(t *testing.T, c *http.Client, url string, fields ...string) jobState {
	t.Helper()
	a := do(t, c, newRequest(t, "POST", url, "text", append(fields, "Prefer", "respond-async")...))
	var j jobState
	if err := json.Unmarshal([]byte(a.body), &j); err != nil || a.status != http.StatusAccepted || a.header.Get("Location") != "/jobs/"+j.ID {
		t.Fatalf("POST with respond-async = %v with %v, want 202 and where the job is", a, a.header)
	}
	return j
}

func TestKilledInstancesLoseNoJob(t *testing.T) {
	const (
		n     = 600
		limit = "100/1s"
	)
	for _, test := range []struct {
		name      string
		open      func(t *testing.T) (jobs string, redis *redistest.Server)
		killStore bool
	}{
		{"SQLite", func(t *testing.T) (string, *redistest.Server) {
			return filepath.Join(t.TempDir(), "jobs.db"), nil
		}, false},
		{"Redis", func(t *testing.T) (string, *redistest.Server) {
			s := redistest.Start(t, redistest.WithAOF())
			return s.URL(), s
		}, false},
		{"Redis that is killed too", func(t *testing.T) (string, *redistest.Server) {
			s := redistest.Start(t, redistest.WithAOF())
			return s.URL(), s
		}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			up := newCounting(t, limit)
			jobs, redis := test.open(t)
			start := func() *gate { return serve(t, "--upstream", up.URL, "--limit", limit, "--jobs", jobs) }
			var mu sync.Mutex // guards g
			g := start()
			current := func() *gate {
				mu.Lock()
				defer mu.Unlock()
				return g
			}

			c := newClient(t)
			var stored []string // IDs of the jobs that were accepted
			var paths []string
			var posting sync.WaitGroup
			posting.Go(func() {
				for i := 0; len(stored) < n; i++ {
					path := fmt.Sprintf("/job/%d", i)
					req, err := http.NewRequest("POST", current().url+path, strings.NewReader("text"))
					if err != nil {
						t.Error(err)
						return
					}
					req.Header.Set("Prefer", "respond-async")
					a, err := try(c, req)
					if err != nil || a.status != http.StatusAccepted {
						time.Sleep(20 * time.Millisecond) // nobody is there just now
						continue
					}
					stored, paths = append(stored, strings.TrimPrefix(a.header.Get("Location"), "/jobs/")), append(paths, path)
				}
			})
			for range 3 {
				time.Sleep(time.Second + rand.N(time.Second))
				if err := current().cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
				<-current().ended
				if test.killStore && redis != nil {
					redis.Restart() // which kills it
				}
				mu.Lock()
				g = start()
				mu.Unlock()
			}
			posting.Wait()

			late := time.Now().Add(3 * deadline)
			var undone []jobState
			for _, id := range stored {
				var j jobState
				for j.State != "done" && j.State != "failed" && time.Now().Before(late) {
					a := get(t, c, g.url+"/jobs/"+id, "Prefer", "wait=5")
					if err := json.Unmarshal([]byte(a.body), &j); err != nil || a.status != 200 {
						t.Fatalf("job %s = %v", id, a)
					}
				}
				if j.State != "done" {
					undone = append(undone, j)
				}
			}
			twice, never := up.moreThanOnce(paths)
			t.Logf("%d jobs, %d sent more than once; %d of %d requests refused", n, twice, up.history().refused(), len(up.history()))
			if len(undone) > 0 {
				t.Errorf("%d of %d jobs are not done, such as %+v", len(undone), n, undone[0])
			}
			if len(never) > 0 {
				t.Errorf("%d jobs never reached the upstream, such as %s", len(never), never[0])
			}
			if twice > 60 {
				t.Errorf("%d jobs were sent more than once, want at most 60", twice)
			}
			if refused := up.history().refused(); refused > 3 {
				t.Errorf("%d requests were refused, want at most 3", refused)
			}
		})
	}
}

func TestJobsLetLiveCallsGoFirst(t *testing.T) {
	const backlog = 10_000
	up := newSilent(t, "50/1s", (*silent).serve)
	g := serve(t, "--upstream", up.URL, "--limit", "50/1s", "--jobs", filepath.Join(t.TempDir(), "jobs.db"))
	c := newClient(t)
	var storing sync.WaitGroup
	for range 20 {
		storing.Go(func() {
			for range backlog / 20 {
				a, err := try(c, newRequest(t, "POST", g.url+"/job", "text", "Prefer", "respond-async"))
				if err != nil || a.status != http.StatusAccepted {
					t.Errorf("POST with respond-async = %v, %v, want 202", a, err)
					return
				}
			}
		})
	}
	storing.Wait()

	var mu sync.Mutex
	var waits []float64 // ms
	var calling sync.WaitGroup
	for range 200 {
		calling.Go(func() {
			a, err := try(c, newRequest(t, "GET", g.url+"/live", ""))
			if err != nil || a.status != 200 {
				t.Errorf("live call = %v, %v, want 200", a, err)
				return
			}
			var waited float64
			if _, err := fmt.Sscanf(a.header.Get("Server-Timing"), "line;dur=%f", &waited); err != nil {
				t.Errorf("Server-Timing %q: %v", a.header.Get("Server-Timing"), err)
			}
			mu.Lock()
			defer mu.Unlock()
			waits = append(waits, waited)
		})
		time.Sleep(50 * time.Millisecond)
	}
	calling.Wait()
	if len(waits) == 0 {
		t.Fatal("no live call was answered")
	}
	slices.Sort(waits)
	p50, p99 := waits[len(waits)/2], waits[len(waits)*99/100]
	t.Logf("live calls waited %.0f ms (p50), %.0f ms (p99), %.0f ms (most)", p50, p99, waits[len(waits)-1])
	if p99 > 150 {
		t.Errorf("p99 wait of live calls = %.0f ms, want at most 150 ms", p99)
	}
	if refused := up.history().refused(); refused > 0 {
		t.Errorf("%d requests were refused, want none", refused)
	}
}

func TestSourceLosesNoMessage(t *testing.T) {
	const n = 500
	up := newCounting(t, "100/1s")
	redis := redistest.Start(t, redistest.WithAOF())
	file := fmt.Sprintf(`
upstreams: {api: {url: %q, limits: [100/1s]}}
sources:
  - name: reviews
    redis: %s
    list: reviews:pending
    request: {upstream: api, path: "/review/{{ .JSON.n }}", body: '{"text": {{ json .JSON.text }}}'}
    results: {hash: reviews:results}
    dead: {list: reviews:dead}
`, up.URL, redis.URL())
	push := []string{"LPUSH", "reviews:pending"}
	var paths []string
	for i := range n {
		if i == n/2 {
			push = append(push, `{"n": 250, "text": `) // it breaks off
			continue
		}
		push = append(push, fmt.Sprintf(`{"n": %d, "text": "review %d"}`, i, i))
		paths = append(paths, fmt.Sprintf("/review/%d", i))
	}
	redis.CLI(push...)
	g, _ := serveFile(t, file)
	time.Sleep(2500 * time.Millisecond)
	if err := g.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-g.ended
	serveFile(t, file)
	eventually(t, "each message has a result", func() bool { return redis.CLI("HLEN", "reviews:results") == fmt.Sprint(n-1) })

	twice, never := up.moreThanOnce(paths)
	t.Logf("%d messages sent more than once; %d of %d requests refused", twice, up.history().refused(), len(up.history()))
	if len(never) > 0 || twice > 40 {
		t.Errorf("%d messages never reached the upstream, %d did more than once; want none, and at most 40", len(never), twice)
	}
	var dead struct{ Reason, Message string }
	if text := redis.CLI("LRANGE", "reviews:dead", "0", "-1"); json.Unmarshal([]byte(text), &dead) != nil || dead.Reason == "" {
		t.Errorf("dead letters = %s, want the message that broke off, with a reason", text)
	}
	if refused := up.history().refused(); refused > 10 {
		t.Errorf("%d requests were refused, want at most 10: nobody remembers what the killed instance sent, but both kept it apart", refused)
	}
	if left := redis.CLI("LLEN", "reviews:pending"); left != "0" {
		t.Errorf("%s messages are left in the list, want none", left)
	}
}
