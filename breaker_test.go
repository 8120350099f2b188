package headgate

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/headgate/headgate/config"
	"github.com/headgate/headgate/internal/breaker"
)

// An upstream refuses everything for six seconds and says nothing of when to
// come back. Few attempts go into it, and no call is lost.
func TestOutageOfThrottlingLosesNoCall(t *testing.T) {
	const outage = 6 * time.Second
	for _, limit := range []string{"", "50/1s"} {
		for _, atOnce := range []bool{false, true} {
			t.Run(fmt.Sprintf("limit %q, at once %v", limit, atOnce), func(t *testing.T) {
				for range 5 { // the backoffs are random
					synctest.Test(t, func(t *testing.T) {
						t0 := time.Now()
						f := &fake{latency: 20 * time.Millisecond, answer: func(int, *http.Request) (*http.Response, error) {
							if time.Since(t0) < outage {
								return reply(429), nil
							}
							return reply(200), nil
						}}
						u := config.Upstream{Breaker: config.Breaker{
							OpenAfter: config.OpenAfter{Throttled: 10, In: time.Minute},
							OpenFor:   config.Duration(2 * time.Second),
						}}
						if limit != "" {
							u.Limits = limits(limit)
						}
						g := openGate(t, f, u)
						var wg sync.WaitGroup
						for range 20 {
							wg.Go(func() {
								for time.Since(t0) < 2*outage {
									if status := get(t, g); status != 200 {
										t.Errorf("a call got %d, want 200", status)
									}
								}
							})
							if !atOnce {
								time.Sleep(30 * time.Millisecond)
							}
						}
						wg.Wait()
						n := 0
						for _, at := range f.since(t0) {
							if at < outage {
								n++
							}
						}
						if n > 60 {
							t.Errorf("%d attempts in the outage, want at most 60", n)
						}
						if len(f.arrivals) < 2*n {
							t.Errorf("%d attempts after the outage, want calls to go on", len(f.arrivals)-n)
						}
					})
				}
			})
		}
	}
}

func failures(share float64, of int, openFor time.Duration) config.Breaker {
	return config.Breaker{Failures: config.Failures{Share: config.Percent(share), Of: of}, OpenFor: config.Duration(openFor)}
}

func TestBreakerOpensProbesAndCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen collect
		f := &fake{latency: 100 * time.Millisecond, answer: sequence(503, 503, 503, 503, 503, 200)}
		g := openGate(t, f, config.Upstream{
			Limits:  limits("concurrent:4"),
			Retry:   config.Retry{Methods: "none"},
			Breaker: failures(1, 1, 10*time.Second),
			Line:    config.Line{MaxWait: config.Duration(time.Hour)},
		}, seen.option())
		t0 := time.Now()
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() { get(t, g) })
		}
		time.Sleep(time.Millisecond)
		var served atomic.Int32
		for range 3 { // in line as the breaker opens
			wg.Go(func() {
				if get(t, g) == 200 {
					served.Add(1)
				}
			})
		}
		time.Sleep(time.Second)
		for range 5 { // new ones
			start := time.Now()
			_, err := try(t.Context(), g)
			r := refused(t, err, ErrBreakerOpen)
			if took, at := time.Since(start), r.RetryAt.Sub(t0); took != 0 || at != 10100*time.Millisecond {
				t.Errorf("refused after %v until %v, want at once until 10.1s", took, at)
			}
		}
		wg.Wait()
		// One probe at 10.1 s, which fails; one at 20.2 s, which succeeds.
		at := f.since(t0)
		want := []time.Duration{0, 0, 0, 0, 10100 * time.Millisecond, 20200 * time.Millisecond, 20300 * time.Millisecond}
		if fmt.Sprint(at) != fmt.Sprint(want) {
			t.Errorf("attempts at %v, want %v", at, want)
		}
		if served := served.Load(); served != 2 {
			t.Errorf("%d of those in line were answered, want the two that were no failed probe", served)
		}
		var states []breaker.State
		for _, e := range seen.changed {
			states = append(states, e.State)
		}
		if fmt.Sprint(states) != fmt.Sprint([]breaker.State{breaker.Open, breaker.Open, breaker.Closed}) {
			t.Errorf("told %v, want open, open, closed", states)
		}
	})
}

// A call that is retried waits for the breaker rather than be lost to it.
func TestRetriesWaitForTheBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{answer: sequence(503, 503, 200)}
		g := openGate(t, f, config.Upstream{Breaker: failures(1, 2, 10*time.Second)})
		t0 := time.Now()
		get(t, g)
		if at := f.since(t0)[2]; at < 10*time.Second {
			t.Errorf("the third attempt came after %v, want it to wait for the breaker", at)
		}
	})
}

// R24: who goes away says nothing about the upstream.
func TestCallersWhoLeaveDoNotTripTheBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{latency: time.Hour}
		g := openGate(t, f, config.Upstream{Breaker: failures(0.5, 2, time.Minute)})
		for range 10 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if _, err := try(ctx, g); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v, want %v", err, context.DeadlineExceeded)
			}
			cancel()
		}
		free(t, g)
	})
}

// A probe whose caller leaves makes room for the next.
func TestProbeOfALeaverIsNotLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{answer: sequence(503, 503, 200)}
		g := openGate(t, f, config.Upstream{Breaker: failures(1, 2, time.Second), Retry: config.Retry{Attempts: 1}})
		get(t, g)
		get(t, g)
		time.Sleep(time.Second)
		f.latency = time.Hour
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		try(ctx, g)
		f.latency = time.Millisecond
		get(t, g)
		free(t, g)
	})
}

// twoUpstreams opens a gate with "api" and its fallback "spare".
func twoUpstreams(t *testing.T, send http.RoundTripper, api, spare config.Upstream, opts ...Option) *Gate {
	t.Helper()
	api.URL, spare.URL = "http://api.test/a", "http://spare.test/b"
	api.Fallback = []string{"spare"}
	api.Credentials = []config.Credential{{Header: "Authorization", Value: config.NewSecret("Bearer api")}}
	spare.Credentials = []config.Credential{{Header: "X-Api-Key", Value: config.NewSecret("spare")}}
	cfg := config.Config{Upstreams: map[string]config.Upstream{"api": api, "spare": spare}}
	g, err := Open(t.Context(), cfg, append(opts, Base(send))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Close() })
	return g
}

func TestFallbackTakesOver(t *testing.T) {
	tests := []struct {
		name string
		api  config.Upstream
		busy func(t *testing.T, g *Gate) (done func())
	}{
		{name: "breaker open", api: config.Upstream{Breaker: failures(1, 1, time.Minute), Retry: config.Retry{Attempts: 1}},
			busy: func(t *testing.T, g *Gate) func() {
				p, err := g.Acquire(t.Context(), "api", nil)
				if err != nil {
					t.Fatal(err)
				}
				p.Done(Overloaded)
				return func() {}
			}},
		{name: "open by throttling", api: config.Upstream{Breaker: config.Breaker{OpenAfter: config.OpenAfter{Throttled: 1, In: time.Minute}}},
			busy: func(t *testing.T, g *Gate) func() {
				p, err := g.Acquire(t.Context(), "api", nil)
				if err != nil {
					t.Fatal(err)
				}
				p.Done(Throttled)
				return func() {}
			}},
		{name: "line full", api: config.Upstream{Limits: limits("concurrent:1"), Line: config.Line{MaxLength: 1}},
			busy: func(t *testing.T, g *Gate) func() {
				release := occupy(t, g)
				ctx, cancel := context.WithCancel(t.Context())
				var wg sync.WaitGroup
				wg.Go(func() { try(ctx, g) })
				synctest.Wait()
				return func() { cancel(); wg.Wait(); release() }
			}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fake{}
				var seen collect
				g := twoUpstreams(t, f, test.api, config.Upstream{Limits: limits("tokens:100/1m")}, seen.option())
				defer test.busy(t, g)()
				resp, err := g.RoundTripper("api").RoundTrip(request(t.Context(), "POST", "/x", string(make([]byte, 1000)), "Authorization", "theirs"))
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				sent := f.requests[0]
				if got := sent.URL.String(); got != "http://spare.test/b/x" {
					t.Errorf("sent to %s, want the fallback", got)
				}
				if sent.Header.Get("X-Api-Key") != "spare" || sent.Header.Get("Authorization") != "" {
					t.Errorf("sent %v, want the fallback's credential alone", sent.Header)
				}
				for _, u := range g.Status().Upstreams {
					if u.Name == "spare" && u.Credentials[0].Limits[0].Used != 100 {
						t.Errorf("the fallback counted %d tokens, want 100, the guess held to its limit", u.Credentials[0].Limits[0].Used)
					}
				}
				if e := seen.ended[len(seen.ended)-1]; e.Upstream != "spare" || e.Attempts != 1 {
					t.Errorf("told %+v, want one attempt at spare", e)
				}
			})
		})
	}
}

// Those who are in line as the breaker opens go to the fallback too.
func TestFallbackTakesThoseInLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{latency: 100 * time.Millisecond, answer: func(_ int, req *http.Request) (*http.Response, error) {
			if req.URL.Host == "api.test" {
				return reply(503), nil
			}
			return reply(200), nil
		}}
		g := twoUpstreams(t, f, config.Upstream{Limits: limits("concurrent:1"), Breaker: failures(1, 1, time.Minute)}, config.Upstream{})
		start := time.Now()
		var wg sync.WaitGroup
		for range 5 { // the first of them fails, and is retried at the fallback
			wg.Go(func() {
				if status := get(t, g); status != 200 {
					t.Errorf("got %d, want 200", status)
				}
			})
		}
		wg.Wait()
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("took %v, want no wait for the breaker", took)
		}
	})
}

// With the fallback away too, the call is where it would be without one.
func TestFallbackThatRefusesChangesNothing(t *testing.T) {
	tests := []struct {
		name     string
		outcome  Outcome // that opens both breakers
		breaker  config.Breaker
		answered bool
	}{
		{"both fail", Overloaded, failures(1, 1, 5*time.Second), false},
		{"both throttle", Throttled, config.Breaker{OpenAfter: config.OpenAfter{Throttled: 1, In: time.Minute}, OpenFor: config.Duration(5 * time.Second)}, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var seen collect
				g := twoUpstreams(t, &fake{}, config.Upstream{Breaker: test.breaker}, config.Upstream{Breaker: test.breaker}, seen.option())
				for _, name := range []string{"api", "spare"} {
					p, err := g.Acquire(t.Context(), name, nil)
					if err != nil {
						t.Fatal(err)
					}
					p.Done(test.outcome)
				}
				start := time.Now()
				_, err := try(t.Context(), g)
				if test.answered {
					if took := time.Since(start); err != nil || took < 5*time.Second {
						t.Errorf("got %v after %v, want an answer when the breaker is half-open", err, took)
					}
					return
				}
				if r := refused(t, err, ErrBreakerOpen); r.Upstream != "api" || r.RetryAt.Sub(start) != 5*time.Second {
					t.Errorf("refused by %q until %v, want api until in 5s", r.Upstream, r.RetryAt.Sub(start))
				}
				if e := seen.ended[len(seen.ended)-1]; e.Upstream != "api" || e.Outcome != OutcomeRefused {
					t.Errorf("told %+v, want a refused call of api", e)
				}
			})
		})
	}
}

// A reload may take a fallback away between a call's attempts.
func TestFallbackRemovedByAReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := twoUpstreams(t, &fake{}, config.Upstream{Breaker: failures(1, 1, time.Minute)}, config.Upstream{})
		p, err := g.Acquire(t.Context(), "api", nil)
		if err != nil {
			t.Fatal(err)
		}
		p.Done(Overloaded)
		get(t, g)
		if err := g.Reload(config.Config{Upstreams: map[string]config.Upstream{"api": {
			URL: "http://api.test", Breaker: failures(1, 1, time.Minute),
			Credentials: []config.Credential{{Header: "Authorization", Value: config.NewSecret("Bearer api")}},
		}}}); err != nil {
			t.Fatal(err)
		}
		_, err = try(t.Context(), g)
		refused(t, err, ErrBreakerOpen)
	})
}
