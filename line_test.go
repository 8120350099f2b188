package headgate

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/headgate/headgate/config"
)

// enqueue makes a call in the name of a caller, and returns when it is in line.
func enqueue(t *testing.T, wg *sync.WaitGroup, g *Gate, c Caller, path string, then func(), fields ...string) {
	t.Helper()
	wg.Go(func() {
		req := request(WithCaller(t.Context(), c), "GET", path, "", fields...)
		resp, err := g.RoundTripper("api").RoundTrip(req)
		if err != nil {
			t.Errorf("call of %s to %s: %v", c.Name, path, err)
			return
		}
		then()
		resp.Body.Close()
	})
	synctest.Wait()
}

// order notes in which order names were told.
type order struct {
	mu    sync.Mutex
	names []string
}

func (o *order) note(name string) func() {
	return func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.names = append(o.names, name)
	}
}

func TestFullLineRefusesAtTheDoor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := openGate(t, &fake{}, config.Upstream{Limits: limits("1/10s"), Line: config.Line{MaxLength: 2}})
		get(t, g)
		var wg sync.WaitGroup
		for range 2 {
			enqueue(t, &wg, g, Caller{Name: "a"}, "/x", func() {})
		}
		start := time.Now()
		_, err := try(t.Context(), g)
		r := refused(t, err, ErrLineFull)
		if took := time.Since(start); took != 0 {
			t.Errorf("refused after %v, want at once", took)
		}
		if at := r.RetryAt.Sub(start); at < 29*time.Second || at > 31*time.Second {
			t.Errorf("RetryAt is in %v, want in 30s, when those ahead are through", at)
		}
		wg.Wait()
	})
}

func TestLineServesByPriority(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := openGate(t, &fake{}, config.Upstream{Limits: limits("concurrent:1")})
		release := occupy(t, g)
		var wg sync.WaitGroup
		var o order
		c := Caller{Name: "a", Priority: DefaultPriority}
		enqueue(t, &wg, g, c, "/x", o.note("batch"), "Priority", "u=5")
		enqueue(t, &wg, g, c, "/x", o.note("plain"))
		enqueue(t, &wg, g, c, "/x", o.note("malformed"), "Priority", "u=high")
		enqueue(t, &wg, g, Caller{Name: "a", Priority: 1}, "/x", o.note("by caller"))
		enqueue(t, &wg, g, c, "/x", o.note("urgent"), "Priority", "u=0, i")
		release()
		wg.Wait()
		want := []string{"urgent", "by caller", "plain", "malformed", "batch"}
		if !slices.Equal(o.names, want) {
			t.Errorf("served %q, want %q", o.names, want)
		}
	})
}

func TestLineIsFairByWeight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := openGate(t, &fake{}, config.Upstream{Limits: limits("concurrent:1")})
		release := occupy(t, g)
		var wg sync.WaitGroup
		var o order
		for range 40 { // the greedy one comes first, with all its calls
			enqueue(t, &wg, g, Caller{Name: "greedy", Weight: 1, Priority: 3}, "/x", o.note("greedy"))
		}
		for range 20 {
			enqueue(t, &wg, g, Caller{Name: "paying", Weight: 3, Priority: 3}, "/x", o.note("paying"))
		}
		release()
		wg.Wait()
		paying := 0
		for _, name := range o.names[:24] {
			if name == "paying" {
				paying++
			}
		}
		if paying < 16 || paying > 20 {
			t.Errorf("of the first 24 permits %d went to the client of weight 3, want about 18", paying)
		}
	})
}

func TestRetriesKeepTheirPlace(t *testing.T) {
	for _, status := range []int{429, 503} {
		synctest.Test(t, func(t *testing.T) {
			var o order
			f := &fake{latency: 100 * time.Millisecond}
			f.answer = func(n int, req *http.Request) (*http.Response, error) {
				o.note(req.URL.Path)()
				if n == 1 {
					return reply(status), nil
				}
				return reply(200), nil
			}
			g := openGate(t, f, config.Upstream{
				Limits: limits("concurrent:1"), Retry: config.Retry{Base: config.Duration(50 * time.Millisecond), Jitter: "none"},
			})
			var wg sync.WaitGroup
			for i := range 5 {
				enqueue(t, &wg, g, Caller{Name: "a"}, fmt.Sprintf("/%d", i), func() {})
				time.Sleep(time.Millisecond)
			}
			wg.Wait()
			// A pause holds everybody; while an overloaded call backs off, one goes before it.
			want := []string{"/0", "/0", "/1", "/2", "/3", "/4"}
			if status == 503 {
				want = []string{"/0", "/1", "/0", "/2", "/3", "/4"}
			}
			if !slices.Equal(o.names, want) {
				t.Errorf("after a %d: sent %q, want %q", status, o.names, want)
			}
		})
	}
}

func TestReserveIsKeptForTheUrgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := openGate(t, &fake{}, config.Upstream{
			Limits: limits("10/1m"), Line: config.Line{MaxWait: config.Duration(time.Hour), Reserve: config.Reserve{Share: 0.2, From: 0, To: 3}},
		})
		var wg sync.WaitGroup
		served := 0
		var mu sync.Mutex
		for range 20 {
			enqueue(t, &wg, g, Caller{Name: "batch", Priority: 5}, "/x", func() { mu.Lock(); served++; mu.Unlock() })
		}
		time.Sleep(time.Second)
		mu.Lock()
		if served != 8 {
			t.Errorf("%d batch calls were let through, want 8 of 10", served)
		}
		mu.Unlock()
		for range 2 {
			start := time.Now()
			get(t, g)
			if took := time.Since(start); took > time.Millisecond {
				t.Errorf("an urgent call took %v, want the reserve to be there", took)
			}
		}
		wg.Wait()
	})
}

// A call without urgency that has waited long stands in front of urgent ones.
// It must not hold them up by leaving them the reserve.
func TestReserveIsNotBlockedByTheAged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := openGate(t, &fake{}, config.Upstream{
			Limits: limits("10/5m"), Line: config.Line{
				MaxWait: config.Duration(time.Hour), Reserve: config.Reserve{Share: 0.2, From: 0, To: 3},
			},
		})
		for range 8 {
			get(t, g, "Priority", "u=5")
		}
		var wg sync.WaitGroup
		enqueue(t, &wg, g, Caller{Name: "batch", Priority: 5}, "/x", func() {})
		time.Sleep(31 * time.Second) // three classes
		start := time.Now()
		get(t, g)
		if took := time.Since(start); took > time.Second {
			t.Errorf("an urgent call took %v, want the reserve to be there", took)
		}
		wg.Wait()
	})
}

func TestTooHeavyCallsAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		g := openGate(t, f, config.Upstream{Limits: limits("tokens:100/1s", "500/1s")})
		get(t, g, "Headgate-Cost", "tokens=100")
		_, err := try(t.Context(), g, "Headgate-Cost", "tokens=101")
		if r := refused(t, err, ErrTooHeavy); r.Limit != "tokens:100/1s" || !r.RetryAt.IsZero() {
			t.Errorf("refused by %q until %v, want tokens:100/1s and no moment to come back", r.Limit, r.RetryAt)
		}
		// A guess never is too heavy.
		resp, err := g.RoundTripper("api").RoundTrip(request(t.Context(), "POST", "/x", string(make([]byte, 10_000))))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	})
}

// A heavy call in front is not starved by light ones behind, and nobody of low
// priority waits for ever.
func TestNobodyStarves(t *testing.T) {
	tests := []struct {
		name   string
		fields []string
		most   time.Duration
	}{
		{"heavy", []string{"Headgate-Cost", "tokens=90"}, 5 * time.Second},
		{"least urgent", []string{"Headgate-Cost", "tokens=1", "Priority", "u=7"}, 90 * time.Second},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := openGate(t, &fake{}, config.Upstream{Limits: limits("tokens:100/1s")})
				ctx, cancel := context.WithCancel(t.Context())
				var wg sync.WaitGroup
				for range 30 { // more than the quota lets through
					wg.Go(func() {
						for ctx.Err() == nil {
							try(ctx, g, "Headgate-Cost", "tokens=5")
						}
					})
				}
				time.Sleep(3 * time.Second)
				start := time.Now()
				get(t, g, test.fields...)
				if took := time.Since(start); took > test.most {
					t.Errorf("took %v, want at most %v", took, test.most)
				}
				cancel()
				wg.Wait()
			})
		})
	}
}

func TestPathLimitsDoNotBlockOtherPaths(t *testing.T) {
	for _, full := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			line := config.Line{}
			if full {
				line.MaxLength = 5
			}
			g := openGate(t, &fake{}, config.Upstream{
				Limits: []config.Limit{{Limit: "1/10s", Scope: "path:/slow*"}, {Limit: "100/1s"}}, Line: line,
			})
			var wg sync.WaitGroup
			for range 6 { // one is let through
				enqueue(t, &wg, g, Caller{Name: "a"}, "/slow/x", func() {})
			}
			start := time.Now()
			get(t, g)
			if took := time.Since(start); took != time.Millisecond {
				t.Errorf("line full: %v: a call to another path took %v, want no wait", full, took)
			}
			wg.Wait()
			if took := time.Since(start); took < 50*time.Second {
				t.Errorf("6 calls to the limited path took %v, want 50s", took)
			}
		})
	}
}

func TestScopes(t *testing.T) {
	keys := []config.Credential{
		{Header: "Authorization", Value: config.NewSecret("Bearer one")},
		{Header: "Authorization", Value: config.NewSecret("Bearer two")},
	}
	tests := []struct {
		name  string
		up    config.Upstream
		auth  func(i int) string // of the caller
		total int                // attempts let through at once
		each  int                // per credential
	}{
		{name: "configured credentials, each its own", up: config.Upstream{Credentials: keys, Limits: limits("5/1m")}, total: 10, each: 5},
		{name: "configured credentials, one limit for all",
			up: config.Upstream{Credentials: keys, Limits: []config.Limit{{Limit: "5/1m", Scope: "upstream"}}}, total: 5},
		{name: "passed through, each its own", up: config.Upstream{Limits: limits("5/1m")},
			auth: func(i int) string { return fmt.Sprint("Bearer ", i%3) }, total: 15, each: 5},
		{name: "passed through, one limit for all", up: config.Upstream{Limits: []config.Limit{{Limit: "5/1m", Scope: "upstream"}}},
			auth: func(i int) string { return fmt.Sprint("Bearer ", i%3) }, total: 5},
		{name: "none", up: config.Upstream{Limits: limits("5/1m")}, total: 5},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fake{}
				g := openGate(t, f, test.up)
				ctx, cancel := context.WithCancel(t.Context())
				var wg sync.WaitGroup
				for i := range 30 {
					wg.Go(func() {
						if test.auth != nil {
							try(ctx, g, "Authorization", test.auth(i))
						} else {
							try(ctx, g)
						}
					})
				}
				time.Sleep(10 * time.Second)
				if n := f.attempts(); n != test.total {
					t.Errorf("%d attempts at once, want %d", n, test.total)
				}
				by := map[string]int{}
				for _, req := range f.requests {
					by[req.Header.Get("Authorization")]++
				}
				for key, n := range by {
					if test.each > 0 && n != test.each {
						t.Errorf("%d attempts with %q, want %d", n, key, test.each)
					}
				}
				cancel()
				wg.Wait()
			})
		})
	}
}

func TestUpstreamsOfOneQuotaShareIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		u := config.Upstream{URL: "http://api.test", Limits: limits("4/1m"), Quota: "shared"}
		v := u
		v.URL = "http://api.test/v2"
		g, err := Open(t.Context(), config.Config{Upstreams: map[string]config.Upstream{"a": u, "b": v}}, Base(f))
		if err != nil {
			t.Fatal(err)
		}
		defer g.Close()
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() {
				resp, err := g.RoundTripper([]string{"a", "b"}[i%2]).RoundTrip(request(ctx, "GET", "/x", ""))
				if err == nil {
					resp.Body.Close()
				}
			})
		}
		time.Sleep(10 * time.Second)
		if n := f.attempts(); n != 4 {
			t.Errorf("%d attempts of both, want 4", n)
		}
		cancel()
		wg.Wait()
	})
}
