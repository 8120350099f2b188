package worker

import (
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/headgate/headgate"
	"github.com/headgate/headgate/config"
	"github.com/headgate/headgate/internal/job"
)

// of puts a job into the queue of a client.
func of(client string) func(*job.New) {
	return func(n *job.New) {
		n.Job.Client = client
		n.Job.Queue = job.Queue(n.Job.Upstream, client, "")
		n.Request.Path = "/" + client
	}
}

func TestClientsShareFairly(t *testing.T) {
	bubble(t, func(t *testing.T) {
		u := &upstream{latency: 10 * time.Millisecond}
		store := newStore()
		put(t, store, "api", 600, of("greedy"))
		for i := range 4 {
			put(t, store, "api", 150, of(fmt.Sprint("client-", i)))
		}
		start(t, store, openGate(t, u, map[string]config.Upstream{"api": {Limits: limits("50/1s")}}), Options{})
		time.Sleep(time.Second) // the first quota goes out without a line
		before := u.calls()
		time.Sleep(8 * time.Second)
		for path, n := range u.calls() {
			if n -= before[path]; n < 65 || n > 90 {
				t.Errorf("%s made %d calls of about 400, want a fifth each", path, n)
			}
		}
	})
}

func TestWeightsOfClientsCount(t *testing.T) {
	bubble(t, func(t *testing.T) {
		u := &upstream{latency: 10 * time.Millisecond}
		store := newStore()
		put(t, store, "api", 300, of("heavy"))
		put(t, store, "api", 300, of("light"))
		start(t, store, openGate(t, u, map[string]config.Upstream{"api": {Limits: limits("50/1s")}}), Options{Weight: func(client string) int {
			return map[string]int{"heavy": 4, "light": 1}[client]
		}})
		time.Sleep(time.Second) // the first quota goes out without a line
		before := u.calls()
		time.Sleep(4 * time.Second)
		calls := u.calls()
		heavy, light := calls["/base/heavy"]-before["/base/heavy"], calls["/base/light"]-before["/base/light"]
		if heavy < 3*light || heavy > 5*light {
			t.Errorf("heavy %d, light %d calls; want about 4 to 1", heavy, light)
		}
	})
}

func TestUrgentJobsGoFirst(t *testing.T) {
	bubble(t, func(t *testing.T) {
		u := &upstream{latency: 10 * time.Millisecond}
		store := newStore()
		put(t, store, "api", 500)
		start(t, store, openGate(t, u, map[string]config.Upstream{"api": {Limits: limits("10/1s")}}), Options{})
		time.Sleep(5 * time.Second)
		id := put(t, store, "api", 1, func(n *job.New) { n.Job.Priority = 0 })[0]
		time.Sleep(3 * time.Second)
		if got := get(t, store, id); got.State != job.Done {
			t.Errorf("3 s after it came the urgent job is %+v, want it done before the backlog", got)
		}
	})
}

// A backlog costs no goroutines, however long it is and over however many queues
// it spreads.
func TestBacklogCostsNoGoroutines(t *testing.T) {
	for _, test := range []struct {
		name         string
		queues, each int
		most         int
	}{
		{"one queue", 1, 3000, 100},
		{"many queues", 1000, 3, 2000},
	} {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				before := runtime.NumGoroutine()
				store := newStore()
				for i := range test.queues {
					put(t, store, "api", test.each, of(fmt.Sprint("client-", i)))
				}
				u := &upstream{latency: 10 * time.Millisecond}
				start(t, store, openGate(t, u, map[string]config.Upstream{"api": {Limits: limits("20/1s")}}), Options{})
				for range 20 {
					time.Sleep(500 * time.Millisecond)
					if n := runtime.NumGoroutine() - before; n > test.most {
						t.Fatalf("%d goroutines for %d waiting jobs, want at most %d", n, test.queues*test.each, test.most)
					}
				}
				if n := u.total(); n < 180 {
					t.Errorf("%d calls in 10 s at 20/1s, want about 200", n)
				}
			})
		})
	}
}

func TestMoreQueuesThanLanesAllGetOn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := newStore()
		for i := range 3 * lanesMost {
			put(t, store, "api", 2, of(fmt.Sprint("client-", i)))
		}
		u := &upstream{latency: 10 * time.Millisecond}
		start(t, store, openGate(t, u, map[string]config.Upstream{"api": {Limits: limits("1000/1s")}}), Options{})
		time.Sleep(5 * time.Second)
		if counts := states(t, store); counts[job.Done] != 6*lanesMost {
			t.Errorf("after 5 s %v, want %d done", counts, 6*lanesMost)
		}
	})
}

func TestQueueWithoutWorkCostsNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := &faulty{Memory: newStore()}
		w := start(t, store, openGate(t, &upstream{}, map[string]config.Upstream{"api": {}}), Options{})
		put(t, store, "api", 10)
		time.Sleep(time.Second + linger)
		synctest.Wait()
		w.lanes.mu.Lock()
		lanes, groups := len(w.lanes.mu.open), len(w.lanes.mu.groups)
		w.lanes.mu.Unlock()
		if lanes != 0 || groups != 0 {
			t.Errorf("%d lanes and %d groups without work, want none", lanes, groups)
		}
		before := store.taken()
		time.Sleep(time.Hour)
		if n := store.taken() - before; n != 0 {
			t.Errorf("%d Takes in an hour without work, want none", n)
		}
	})
}

// A queue that has to wait for long does not hold up what is more urgent in it
// and may go.
func TestUrgentJobsWakeTheirQueue(t *testing.T) {
	bubble(t, func(t *testing.T) {
		u := &upstream{latency: 10 * time.Millisecond}
		store := newStore()
		put(t, store, "api", 20)
		start(t, store, openGate(t, u, map[string]config.Upstream{"api": {
			Limits: limits("10/1h"), Line: config.Line{Reserve: config.Reserve{Share: 0.2, From: 0, To: 3}},
		}}), Options{})
		time.Sleep(5 * time.Second)
		before := u.total()
		if before < 7 || before > 8 {
			t.Fatalf("%d of 20 calls made, want 8: what is not reserved of 10 an hour", before)
		}
		id := put(t, store, "api", 1, func(n *job.New) { n.Job.Priority = 1 })[0]
		time.Sleep(2 * time.Second)
		if got := get(t, store, id); got.State != job.Done {
			t.Errorf("urgent, 2 s after it came: %+v, want it done", got)
		}
		if after := u.total(); after != before+1 {
			t.Errorf("%d calls more, want the urgent one alone", after-before)
		}
	})
}

// told is a receiver of callbacks.
type told struct {
	upstream
	mu     sync.Mutex
	signed []string
}

func (c *told) Transport() http.RoundTripper { return headgate.Transport(headgate.Base(&c.upstream)) }

func (c *told) Sign(h http.Header, id string, _ time.Time, body []byte) error {
	h.Set("Webhook-Id", id)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.signed = append(c.signed, string(body))
	return nil
}

func TestClientIsToldOfTheEnd(t *testing.T) {
	bubble(t, func(t *testing.T) {
		began := time.Now()
		receiver := &told{}
		receiver.answer = func(r *http.Request) *http.Response {
			if r.URL.String() != "https://hook.test/in?x=1" || r.Header.Get("Webhook-Id") == "" || r.Header.Get("Content-Type") != "application/json" {
				t.Errorf("told by %s %s with %v", r.Method, r.URL, r.Header)
			}
			if time.Since(began) < time.Minute {
				return reply(500)
			}
			return reply(204)
		}
		store := newStore()
		start(t, store, openGate(t, &upstream{}, map[string]config.Upstream{"api": {}}), Options{Callbacks: receiver})
		id := put(t, store, "api", 1, func(n *job.New) { n.Job.Callback = "https://hook.test/in?x=1" })[0]
		time.Sleep(4 * time.Minute)
		page, err := store.List(t.Context(), job.Filter{Kind: job.Callback})
		if err != nil || len(page.Jobs) != 1 {
			t.Fatalf("callbacks %+v, %v; want one", page, err)
		}
		got := page.Jobs[0]
		if got.State != job.Done || got.Parent != id || got.Attempted != 4 {
			t.Errorf("callback %+v, want it done by four attempts: at 0, 5, 35 and 155 s", got)
		}
		if len(receiver.signed) != 4 || !strings.Contains(receiver.signed[0], `"response":{"status":200,`) {
			t.Errorf("signed %q, want the answer in it", receiver.signed)
		}
	})
}

func TestCallbacksFailWhereNoneAreConfigured(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := newStore()
		start(t, store, openGate(t, &upstream{}, map[string]config.Upstream{"api": {}}), Options{})
		put(t, store, "api", 1, func(n *job.New) { n.Job.Callback = "https://hook.test/" })
		time.Sleep(10 * time.Second)
		page, err := store.List(t.Context(), job.Filter{Kind: job.Callback})
		if err != nil || len(page.Jobs) != 1 || page.Jobs[0].State != job.Failed || page.Jobs[0].Reason != errNoCallbacks.Error() {
			t.Errorf("callbacks %+v, %v; want one that failed and says why", page, err)
		}
	})
}
