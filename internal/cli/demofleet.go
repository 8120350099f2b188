package cli

import (
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"
)

// How people retry: the wait doubles, and after so many tries they give up.
const (
	retryFirst = 500 * time.Millisecond
	retryTries = 5
)

// fleet is callers who each want one answer after the other: a closed loop
// with time to think in between.
type fleet struct {
	think   time.Duration // on average
	retries bool          // callers retry by themselves
	clients []demoClient

	mu struct {
		sync.Mutex
		fleetCounts
	}
}

// fleetCounts is what the callers know of their calls.
type fleetCounts struct {
	wanted, answered, lost int
	retries                int             // attempts of a call after its first
	took                   []time.Duration // of those answered
	by                     []int           // those answered, of each client
}

// demoClient is callers with connections of their own, as a process has.
type demoClient struct {
	*http.Client
	url     string
	callers int
}

// unfinished is the calls that wait or are being tried; at the end, those that
// were cut short.
func (c fleetCounts) unfinished() int { return c.wanted - c.answered - c.lost }

// quantile returns what the given share of answers took at most.
func (c fleetCounts) quantile(q float64) (time.Duration, bool) {
	if len(c.took) == 0 {
		return 0, false
	}
	sorted := slices.Sorted(slices.Values(c.took))
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)], true
}

// newFleet returns a fleet with a client for each URL, who share the callers.
func newFleet(urls []string, think time.Duration, retries bool) *fleet {
	f := &fleet{think: think, retries: retries}
	for i, url := range urls {
		callers := demoCallers*(i+1)/len(urls) - demoCallers*i/len(urls)
		f.clients = append(f.clients, demoClient{
			Client:  &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: callers}},
			url:     url,
			callers: callers,
		})
	}
	f.mu.by = make([]int, len(urls))
	return f
}

// run has all callers call until ctx ends, and returns after the last one has.
// Calls that have not ended then are neither answered nor lost.
func (f *fleet) run(ctx context.Context) {
	var callers sync.WaitGroup
	for i, client := range f.clients {
		for j := range client.callers {
			r := rand.New(rand.NewPCG(uint64(i), uint64(j)))
			callers.Go(func() { f.caller(ctx, i, r) })
		}
	}
	callers.Wait()
	for _, client := range f.clients {
		client.CloseIdleConnections()
	}
}

func (f *fleet) counts() fleetCounts {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.mu.fleetCounts
	c.took, c.by = slices.Clone(c.took), slices.Clone(c.by)
	return c
}

// caller is one caller of a client.
func (f *fleet) caller(ctx context.Context, client int, r *rand.Rand) {
	for pause(ctx, min(time.Duration(r.ExpFloat64()*float64(f.think)), 3*f.think)) {
		f.count(func(c *fleetCounts) { c.wanted++ })
		start := time.Now()
		ok := f.call(ctx, f.clients[client])
		if ctx.Err() != nil {
			return
		}
		f.count(func(c *fleetCounts) {
			if ok {
				c.answered++
				c.by[client]++
				c.took = append(c.took, time.Since(start))
			} else {
				c.lost++
			}
		})
	}
}

// call makes one call, with the retries that its caller knows of.
func (f *fleet) call(ctx context.Context, client demoClient) bool {
	for try, wait := 1, retryFirst; ; try, wait = try+1, 2*wait {
		ok := f.attempt(ctx, client)
		if ok || !f.retries || try == retryTries || !pause(ctx, wait) {
			return ok
		}
		f.count(func(c *fleetCounts) { c.retries++ })
	}
}

func (f *fleet) attempt(ctx context.Context, client demoClient) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, client.url+"/v1/items", nil)
	if err != nil {
		return false
	}
	resp, err := client.Do(req)
	if err != nil {
		return false
	}
	_, err = io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	if n, numErr := strconv.Atoi(resp.Header.Get("Headgate-Attempts")); numErr == nil && n > 1 {
		f.count(func(c *fleetCounts) { c.retries += n - 1 })
	}
	return err == nil && resp.StatusCode == http.StatusOK
}

func (f *fleet) count(change func(*fleetCounts)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(&f.mu.fleetCounts)
}

// pause waits for d, and reports whether ctx let it.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
