package headgate

import (
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/headgate/headgate/config"
)

func TestWaitingTellsWhoWaitsForWhatUntilWhen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := openGate(t, &fake{}, config.Upstream{Limits: limits("2/1m"), Line: config.Line{MaxWait: config.Duration(time.Hour)}})
		start := time.Now()
		get(t, g)
		get(t, g)
		var wg sync.WaitGroup
		enqueue(t, &wg, g, Caller{Name: "batch", Priority: 5}, "/v1/items?a=1", func() {})
		time.Sleep(time.Second)
		for range 3 {
			enqueue(t, &wg, g, Caller{Name: "web", Priority: 1}, "/v1/now", func() {})
		}
		s, err := g.Waiting("api", 0)
		if err != nil || s.Total != 4 || len(s.Calls) != 4 {
			t.Fatalf("Waiting = %+v, %v, want 4 calls", s, err)
		}
		for i, want := range []struct {
			client, path string
			earliest     time.Duration // since the start, about
		}{{"web", "/v1/now", time.Minute}, {"web", "/v1/now", time.Minute}, {"web", "/v1/now", 2 * time.Minute}, {"batch", "/v1/items", 2 * time.Minute}} {
			c := s.Calls[i]
			if c.Client != want.client || c.Path != want.path || c.Method != "GET" || c.Position != i+1 || c.For != ForLimit || c.Limit != "2/1m" || c.Attempts != 0 {
				t.Errorf("call %d = %+v, want %s for the limit", i, c, want.client)
			}
			if c.Earliest == nil || c.Earliest.Sub(start) < want.earliest || c.Earliest.Sub(start) > want.earliest+20*time.Second {
				t.Errorf("call %d: earliest %v, want about %v after the start", i, c.Earliest, want.earliest)
			}
			if c.Deadline == nil || !c.Deadline.Equal(c.Since.Add(time.Hour)) {
				t.Errorf("call %d: deadline %v, since %v, want an hour between", i, c.Deadline, c.Since)
			}
		}
		if len(s.Clients) != 2 || s.Clients[0] != (WaitingClient{"web", 3}) {
			t.Errorf("clients = %+v, want web with 3 first", s.Clients)
		}
		if some, _ := g.Waiting("api", 1); len(some.Calls) != 1 || some.Total != 4 {
			t.Errorf("Waiting for 1 = %+v, want one call of 4", some)
		}
		wg.Wait()
	})
}

func TestWaitingTellsOfPauseBreakerAndInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := openGate(t, &fake{latency: time.Hour}, config.Upstream{
			Limits: limits("concurrent:1"), Line: config.Line{MaxWait: config.Duration(5 * time.Hour)}, Timeout: config.Timeout{Attempt: config.Duration(3 * time.Hour)},
			Breaker: config.Breaker{OpenFor: config.Duration(4 * time.Hour)},
		})
		var wg sync.WaitGroup
		enqueue(t, &wg, g, Caller{}, "/", func() {})
		enqueue(t, &wg, g, Caller{}, "/", func() {})
		want := func(why, limit string, until time.Duration) {
			t.Helper()
			s, err := g.Waiting("api", 0)
			if err != nil || len(s.Calls) != 1 {
				t.Fatalf("Waiting = %+v, %v, want a call", s, err)
			}
			c := s.Calls[0]
			if c.For != why || c.Limit != limit || (c.Earliest == nil) != (until == 0) || until != 0 && !c.Earliest.Equal(time.Now().Add(until)) {
				t.Errorf("call = %+v, want it to wait for %s %s in %v", c, why, limit, until)
			}
		}
		want(ForLimit, "concurrent:1", 0)
		if err := g.Pause("api", 2*time.Hour); err != nil {
			t.Fatal(err)
		}
		want(ForPause, "", 2*time.Hour)
		if err := g.OpenBreaker("api"); err != nil {
			t.Fatal(err)
		}
		want(ForBreaker, "", 4*time.Hour)
		if err := errors.Join(g.CloseBreaker("api"), g.Resume("api")); err != nil {
			t.Fatal(err)
		}
		want(ForLimit, "concurrent:1", 0)
		wg.Wait()
	})
}

func TestWaitingRefusesUnknownUpstreams(t *testing.T) {
	g := openGate(t, &fake{}, config.Upstream{})
	if _, err := g.Waiting("nope", 0); !errors.Is(err, ErrUnknownUpstream) {
		t.Errorf("Waiting = %v, want ErrUnknownUpstream", err)
	}
	if s, err := g.Waiting("api", 0); err != nil || s.Calls == nil || s.Clients == nil {
		t.Errorf("Waiting of an empty line = %+v, %v, want empty lists", s, err)
	}
}

// BenchmarkWaiting measures for how long the desk's lock is held.
func BenchmarkWaiting(b *testing.B) {
	for _, clients := range []int{5, 10_000} {
		for _, n := range []int{waitingUsual, waitingMost} {
			b.Run(fmt.Sprintf("first %d of 10000, %d clients", n, clients), func(b *testing.B) {
				cfg := config.Config{Upstreams: map[string]config.Upstream{"api": {
					URL: "http://api.test", Limits: limits("100/1m", "tokens:100000/1m", "concurrent:8"), Line: config.Line{MaxWait: config.Duration(1e6 * time.Hour)},
				}}}
				g, err := Open(b.Context(), cfg, Base(roundTrips(func(*http.Request) (*http.Response, error) { return nil, errBroken })))
				if err != nil {
					b.Fatal(err)
				}
				defer g.Close()
				u := g.upstream("api")
				for i := range 10_100 {
					w := &waiter{upstream: u, keys: nobody, ready: make(chan struct{}, 1)}
					w.entry.Value, w.entry.Client = w, fmt.Sprint(i%clients)
					if _, err := u.desk.enter(w, false); err != nil && !errors.Is(err, ErrLineFull) {
						b.Fatal(err)
					}
				}
				for b.Loop() {
					if total, calls, _ := u.desk.waiting(n); total < 9_000 || len(calls) != n {
						b.Fatal(total, len(calls))
					}
				}
			})
		}
	}
}
