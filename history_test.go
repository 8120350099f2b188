package headgate

import (
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/headgate/headgate/config"
)

// Whatever callers and upstream do, in the end every call has been told of
// once, every answer that was not passed on is closed, and all permits are back.
func TestRandomHistoriesLeaveNothingBehind(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 1))
			var mu sync.Mutex
			chance := func(n int) int { mu.Lock(); defer mu.Unlock(); return rnd.IntN(n) }
			f := &fake{latency: 5 * time.Millisecond}
			f.answer = func(int, *http.Request) (*http.Response, error) {
				time.Sleep(time.Duration(chance(20)) * time.Millisecond)
				switch chance(10) {
				case 0:
					return reply(429), nil
				case 1:
					return reply(429, "Retry-After", "1"), nil
				case 2:
					return reply(503), nil
				case 3:
					return nil, errBroken
				case 4:
					return stream(pieces("data: 1\n\n", errBroken)), nil
				case 5:
					return stream(pieces("event: error\ndata: {\"error\":{\"type\":\"overloaded_error\"}}\n\n")), nil
				case 6:
					return stream(make(chan any)), nil // silence
				default:
					return reply(200), nil
				}
			}
			var seen collect
			u := config.Upstream{
				URL: "http://api.test", Limits: limits("concurrent:4", "200/1s"),
				Retry:   config.Retry{Base: config.Duration(10 * time.Millisecond)},
				Breaker: config.Breaker{Failures: config.Failures{Share: 0.8, Of: 10}, OpenFor: config.Duration(time.Second)},
				Line:    config.Line{MaxWait: config.Duration(20 * time.Second), MaxLength: 50},
				Timeout: config.Timeout{Attempt: config.Duration(20 * time.Millisecond), IdleStream: config.Duration(time.Second)},
			}
			if seed%2 == 1 {
				u.Credentials = []config.Credential{
					{Header: "X-Api-Key", Value: config.NewSecret("one")},
					{Header: "X-Api-Key", Value: config.NewSecret("two")},
				}
			}
			g := openGate(t, f, u, seen.option())
			const calls = 150
			var wg sync.WaitGroup
			for range calls {
				wg.Go(func() {
					time.Sleep(time.Duration(chance(3000)) * time.Millisecond)
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					if chance(2) == 0 {
						time.AfterFunc(time.Duration(1+chance(200))*time.Millisecond, cancel)
					}
					resp, err := g.RoundTripper("api").RoundTrip(request(ctx, "PUT", "/x", "text"))
					if (resp == nil) == (err == nil) {
						t.Errorf("got %v and %v, want one of them", resp, err)
					}
					if err != nil {
						return
					}
					switch chance(4) {
					case 0:
						resp.Body.Close()
					case 1: // forgotten: the context's end ends it
						resp.Body.Read(make([]byte, 1000))
					default:
						io.Copy(io.Discard, resp.Body)
						resp.Body.Close()
					}
				})
			}
			wg.Wait()
			synctest.Wait()
			if n := inFlight(g); n != 0 {
				t.Errorf("seed %d: %d permits are left in flight", seed, n)
			}
			if n := len(seen.ended); n != calls {
				t.Errorf("seed %d: told of the end of %d calls, want %d", seed, n, calls)
			}
			time.Sleep(5 * time.Minute) // pauses and breakers
			probe := occupy(t, g)
			time.Sleep(time.Millisecond)
			probe() // ends a ramp's first step
			if s := g.Status().Upstreams[0]; s.Line.Length != 0 || s.Line.Bytes != 0 {
				t.Errorf("seed %d: line is %+v, want it empty", seed, s.Line)
			}
		})
	}
}

// A context may end at the very moment an answer is passed on.
func TestContextsThatEndAsAnswersPass(t *testing.T) {
	for range 50 {
		f := &fake{}
		cfg := config.Config{Upstreams: map[string]config.Upstream{"api": {URL: "http://api.test", Limits: limits("concurrent:1")}}}
		g, err := Open(t.Context(), cfg, Base(f))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		f.answer = func(int, *http.Request) (*http.Response, error) {
			go cancel()
			return stream(pieces("data: 1\n\n")), nil
		}
		resp, err := g.RoundTripper("api").RoundTrip(request(ctx, "GET", "/x", ""))
		if err == nil {
			resp.Body.Read(make([]byte, 100))
			resp.Body.Close()
		}
		cancel()
		p, err := g.Acquire(t.Context(), "api", nil)
		if err != nil {
			t.Fatal(err)
		}
		p.Done(OK)
		g.Close()
	}
}
