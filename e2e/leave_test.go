package e2e

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"time"
)

// crowd is callers who wait in line.
type crowd struct {
	leave   context.CancelFunc
	waiting sync.WaitGroup
}

// newCrowd makes n calls that nobody will answer before the crowd leaves.
func newCrowd(t *testing.T, g *gate, c *http.Client, n int) *crowd {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	crowd := &crowd{leave: cancel}
	for range n {
		req, err := http.NewRequestWithContext(ctx, "GET", g.url+"/crowd", nil)
		if err != nil {
			t.Fatal(err)
		}
		crowd.waiting.Go(func() {
			if a, err := try(c, req); err == nil {
				t.Errorf("a caller in line got %v", a)
			}
		})
	}
	eventually(t, "all callers are in line", func() bool {
		return g.metric(t, c, `headgate_line_length{upstream="default"}`) == float64(n)
	})
	return crowd
}

// leaves has all callers hang up at once.
func (c *crowd) leaves() {
	c.leave()
	c.waiting.Wait()
}

func TestPermitGoesToWhoStaysWhenTheLineLeaves(t *testing.T) {
	up := newHolding(t)
	g := serve(t, "--upstream", up.URL, "--limit", "concurrent:1")
	c := newClient(t)
	first := begin(t, c, g.url+"/first")
	up.next(t)
	crowd := newCrowd(t, g, c, 100)
	stays := begin(t, c, g.url+"/stays") // behind all others
	eventually(t, "one more is in line", func() bool {
		return g.metric(t, c, `headgate_line_length{upstream="default"}`) == 101
	})
	crowd.leaves()
	eventually(t, "the gate has seen them leave", func() bool {
		return g.metric(t, c, `headgate_line_length{upstream="default"}`) == 1
	})
	released := time.Now()
	close(up.release)
	if got := receive(t, "the call in flight is answered", first); got != "200 answered /first" {
		t.Errorf("first = %s, want its answer", got)
	}
	if got := receive(t, "the call in line is answered", stays); got != "200 answered /stays" {
		t.Errorf("stays = %s, want its answer", got)
	}
	if took := time.Since(released); took > time.Second {
		t.Errorf("the permit took %v to get to the caller who stayed, want it at once", took)
	}
	if n := up.calls.Load(); n != 2 {
		t.Errorf("the upstream got %d calls, want 2: none of those who left", n)
	}
}

func TestWindowGoesToWhoStaysWhenTheLineLeaves(t *testing.T) {
	var mu sync.Mutex
	var arrivals []time.Time
	up := newUpstream(t, func(http.ResponseWriter, *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		arrivals = append(arrivals, time.Now())
	})
	g := serve(t, "--upstream", up.URL, "--limit", "10/1s")
	c := newClient(t)
	for range 10 {
		get(t, c, g.url+"/")
	}
	used := time.Now()
	crowd := newCrowd(t, g, c, 100)
	stays := begin(t, c, g.url+"/")
	eventually(t, "one more is in line", func() bool {
		return g.metric(t, c, `headgate_line_length{upstream="default"}`) == 101
	})
	crowd.leaves()
	if got := receive(t, "the call in line is answered", stays); got != "200 " {
		t.Errorf("stays = %s, want 200", got)
	}
	// A place is free one window after the first ten; a spacing is 100 ms, and
	// the machine is busy.
	if took := time.Since(used); took > 1500*time.Millisecond {
		t.Errorf("the caller who stayed waited %v, want about the window of 1 s", took)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(arrivals) != 11 {
		t.Errorf("the upstream got %d calls, want 11: none of those who left", len(arrivals))
	}
}

func TestCallersThatLeaveTheLineLeaveNothingBehind(t *testing.T) {
	up := newHolding(t)
	g := serve(t, "--upstream", up.URL, "--limit", "concurrent:1")
	c := newClient(t)
	first := begin(t, c, g.url+"/first")
	up.next(t)
	goroutines := func() float64 { return g.metric(t, c, "go_goroutines") }
	before := goroutines()
	crowd := newCrowd(t, g, c, 1000)
	if most := goroutines(); most < before+1000 {
		t.Errorf("%v goroutines with 1000 callers in line, %v before: what is measured?", most, before)
	}
	crowd.leaves()
	eventually(t, "goroutines are as many as before, ±20", func() bool { return goroutines() <= before+20 })
	eventually(t, "the line is empty", func() bool {
		return g.metric(t, c, `headgate_line_length{upstream="default"}`) == 0
	})
	close(up.release)
	if got := receive(t, "the call in flight is answered", first); got != "200 answered /first" {
		t.Errorf("first = %s, want its answer", got)
	}
	if n := up.calls.Load(); n != 1 {
		t.Errorf("the upstream got %d calls, want 1: none of those who left", n)
	}
}
