package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/redistest"
)

// instances is how many a fleet has.
const instances = 4

// fleet is instances that share a quota.
type fleet struct {
	redis    *redistest.Server
	upstream *strict
	gates    []*gate
	lateness func() time.Duration // of timers, at most
}

// newFleet starts instances in front of a strict upstream of n/1s, and a Redis
// that they share.
func newFleet(t *testing.T, n int) *fleet {
	t.Helper()
	f := &fleet{redis: redistest.Start(t), upstream: newStrict(t, n), lateness: watchTimers(t)}
	t.Cleanup(func() { t.Logf("timers came up to %v late", f.lateness()) })
	for range instances {
		f.gates = append(f.gates, serve(t, "--upstream", f.upstream.URL, "--limit", fmt.Sprintf("%d/1s", n), "--state", f.redis.URL()))
	}
	f.together(t)
	return f
}

// together waits until every instance knows of all others and holds a share:
// a store that is new gives none before it has heard of everybody.
func (f *fleet) together(t *testing.T) {
	t.Helper()
	c := newClient(t)
	for i, g := range f.gates {
		eventually(t, fmt.Sprintf("instance %d shares with all %d", i, len(f.gates)), func() bool {
			peers := g.standing(t, c).peers()
			holding := slices.ContainsFunc(peers, func(p peer) bool { return p.Self && slices.Max(p.shares()) > 0 })
			return len(peers) == len(f.gates) && holding
		})
	}
}

// standing is what an instance says of itself.
type standing struct {
	Store     struct{ Standing, Instance string }
	Upstreams []struct{ Credentials []struct{ Instances []peer } }
}

// peer is an instance as another knows it.
type peer struct {
	Instance string
	Self     bool
	Shares   map[string]int64
}

// shares returns what the instance holds of each limit.
func (p peer) shares() []int64 { return slices.Collect(maps.Values(p.Shares)) }

func (g *gate) standing(t *testing.T, c *http.Client) standing {
	t.Helper()
	a := get(t, c, g.admin+"/api/v1/status")
	var s standing
	if err := json.Unmarshal([]byte(a.body), &s); err != nil || a.status != 200 {
		t.Fatalf("status = %v: %v", a, err)
	}
	return s
}

// peers returns who shares the limits of the only credential.
func (s standing) peers() []peer {
	for _, u := range s.Upstreams {
		for _, c := range u.Credentials {
			return c.Instances
		}
	}
	return nil
}

// callers call one instance, each of them again as soon as it is answered.
type callers struct {
	stop    context.CancelFunc
	running sync.WaitGroup

	mu       sync.Mutex
	statuses map[int]int
	broken   []error
	worst    time.Duration // in line
}

// saturate has n callers call an instance until the test ends them. One that
// gets no answer leaves.
func (f *fleet) saturate(t *testing.T, instance, n int) *callers {
	t.Helper()
	return f.call(t, instance, n, 0)
}

// call is saturate with callers who wait between two calls, and fields.
func (f *fleet) call(t *testing.T, instance, n int, every time.Duration, fields ...string) *callers {
	t.Helper()
	req := newRequest(t, "GET", f.gates[instance].url+"/", "", append(fields, instanceHeader, strconv.Itoa(instance))...)
	return startCallers(t, n, every, func() *http.Request { return req.Clone(t.Context()) })
}

// startCallers has n callers make calls, and wait between two of them, until
// they are ended. One that gets no answer leaves. What next returns is safe to
// be asked for by all at once.
func startCallers(t *testing.T, n int, every time.Duration, next func() *http.Request) *callers {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	c := &callers{stop: stop, statuses: make(map[int]int)}
	client := newClient(t)
	for range n {
		c.running.Go(func() {
			pause := time.NewTimer(0)
			defer pause.Stop()
			for {
				select {
				case <-ctx.Done():
				case <-pause.C:
				}
				if ctx.Err() != nil {
					return
				}
				a, err := try(client, next())
				c.note(a, err)
				if err != nil {
					return
				}
				pause.Reset(every)
			}
		})
	}
	return c
}

func (c *callers) note(a answer, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.broken = append(c.broken, err)
		return
	}
	c.statuses[a.status]++
	c.worst = max(c.worst, inLine(a))
}

// inLine returns how long a call waited for its permits, as Server-Timing says.
func inLine(a answer) time.Duration {
	for part := range strings.SplitSeq(a.header.Get("Server-Timing"), ",") {
		if ms, ok := strings.CutPrefix(strings.TrimSpace(part), "line;dur="); ok {
			f, err := strconv.ParseFloat(ms, 64)
			if err == nil {
				return time.Duration(f * float64(time.Millisecond))
			}
		}
	}
	return 0
}

// endAll lets each caller hear the answer that it waits for, and no more.
func endAll(all ...*callers) {
	for _, c := range all {
		c.stop()
	}
	for _, c := range all {
		c.running.Wait()
	}
}

// wantAll200 checks that no caller was answered anything else.
func wantAll200(t *testing.T, all ...*callers) {
	t.Helper()
	for i, c := range all {
		if len(c.broken) > 0 {
			t.Errorf("callers %d: %d calls broke off, the first with: %v", i, len(c.broken), c.broken[0])
		}
		if len(c.statuses) != 1 || c.statuses[200] == 0 {
			t.Errorf("callers %d got %v, want all 200", i, c.statuses)
		}
	}
}

// saturateAll has n callers call each instance.
func (f *fleet) saturateAll(t *testing.T, n int) []*callers {
	t.Helper()
	var all []*callers
	for i := range f.gates {
		all = append(all, f.saturate(t, i, n))
	}
	return all
}

// missed reports a figure that was missed when all was over.
func (f *fleet) missed(t *testing.T, format string, args ...any) {
	t.Helper()
	missed(t, f.lateness(), format, args...)
}

// missed reports a figure that was missed while timers came up to late after
// their time. It is none of the gate's fault if the machine stood still.
func missed(t *testing.T, late time.Duration, format string, args ...any) {
	t.Helper()
	const still = 100 * time.Millisecond
	if late > still {
		t.Logf("the machine stood still for %v; else it would be wrong that "+format, append([]any{late}, args...)...)
		return
	}
	t.Errorf(format, args...)
}

// wantNoneRefused checks that the limit had room for all that came.
func (f *fleet) wantNoneRefused(t *testing.T) {
	t.Helper()
	h, refused := f.upstream.history(), f.upstream.refused()
	if len(refused) == 0 {
		return
	}
	by := make(map[int]int)
	for _, a := range refused {
		by[a.instance]++
	}
	t.Errorf("%d of %d had no room, want none; by instance: %v; the first %v after the first arrival",
		len(refused), len(h), by, refused[0].at.Sub(h[0].at))
}

// shares returns how much each instance used from one moment to another, the
// least first.
func (f *fleet) shares(from, to time.Time) []int {
	h := f.upstream.history().between(from, to)
	by := make(map[int]int)
	for i := range f.gates {
		by[i] = len(h.by(i))
	}
	return slices.Sorted(maps.Values(by))
}

// newFleetWithoutStore starts one instance whose store is away, but can be
// started.
func newFleetWithoutStore(t *testing.T, args ...string) *fleet {
	t.Helper()
	f := &fleet{redis: redistest.Start(t), upstream: newStrict(t, 100)}
	f.redis.Kill()
	args = append(args, "--upstream", f.upstream.URL, "--limit", "100/1s", "--state", f.redis.URL())
	f.gates = append(f.gates, serve(t, args...))
	return f
}
