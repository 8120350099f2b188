package headgate

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/headgate/headgate/config"
)

// reload puts u in force as "api".
func reload(t *testing.T, g *Gate, u config.Upstream) {
	t.Helper()
	if u.URL == "" {
		u.URL = "http://api.test"
	}
	if err := g.Reload(config.Config{Upstreams: map[string]config.Upstream{"api": u}}); err != nil {
		t.Fatalf("Reload: %v", err)
	}
}

func TestReloadKeepsCounts(t *testing.T) {
	tests := []struct {
		name string
		to   string
		more int // that go at once after 6 of 10
	}{
		{"the same", "10/1m", 4},
		{"more", "15/1m", 9},
		{"fewer", "7/1m", 1},
		{"fewer than were used", "3/1m", 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := openGate(t, &fake{}, config.Upstream{Limits: limits("10/1m")})
				for range 6 {
					get(t, g)
				}
				reload(t, g, config.Upstream{Limits: limits(test.to)})
				more := 0
				for range 20 {
					if _, err := try(t.Context(), g, "Headgate-Max-Wait", "0s"); err == nil {
						more++
					}
				}
				if more != test.more {
					t.Errorf("%d calls went at once, want %d", more, test.more)
				}
			})
		})
	}
}

func TestReloadKeepsTheLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		g := openGate(t, f, config.Upstream{Limits: limits("1/1h"), Line: config.Line{MaxWait: config.Duration(24 * time.Hour)}})
		get(t, g)
		start := time.Now()
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() { get(t, g) })
		}
		synctest.Wait()
		reload(t, g, config.Upstream{Limits: limits("6/1h")})
		wg.Wait()
		if took := time.Since(start); took > time.Minute {
			t.Errorf("those in line took %v, want the larger limit to serve them", took)
		}
	})
}

// Those in line are measured by the rules in force: also where a rule of a path
// comes or goes.
func TestReloadMeasuresTheLineByTheNewRules(t *testing.T) {
	path := func(limit, scope string) config.Limit { return config.Limit{Limit: limit, Scope: "path:" + scope} }
	tests := []struct {
		name  string
		to    []config.Limit
		least time.Duration
		most  time.Duration
	}{
		{"path no longer limited", []config.Limit{path("1/1m", "/y")}, 0, time.Second},
		{"another path's rule before it", []config.Limit{path("1/1s", "/y"), path("1/1m", "/x")}, 59 * time.Second, 61 * time.Second},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := openGate(t, &fake{}, config.Upstream{Limits: []config.Limit{path("1/1m", "/x")}})
				get(t, g)
				start := time.Now()
				var wg sync.WaitGroup
				wg.Go(func() { get(t, g) })
				synctest.Wait()
				reload(t, g, config.Upstream{Limits: test.to})
				wg.Wait()
				if took := time.Since(start); took < test.least || took > test.most {
					t.Errorf("who was in line took %v, want %v to %v", took, test.least, test.most)
				}
			})
		})
	}
}

func TestReloadRefusesWhatNoLongerFits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := openGate(t, &fake{}, config.Upstream{Limits: limits("tokens:100/1m")})
		get(t, g, "Headgate-Cost", "tokens=100")
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := try(t.Context(), g, "Headgate-Cost", "tokens=80")
			if !errors.Is(err, ErrTooHeavy) {
				t.Errorf("got %v, want %v", err, ErrTooHeavy)
			}
		})
		synctest.Wait()
		reload(t, g, config.Upstream{Limits: limits("tokens:50/1m")})
		wg.Wait()
	})
}

func TestReloadAddsAndRemovesUpstreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{latency: time.Second}
		g := openGate(t, f, config.Upstream{Limits: limits("concurrent:1", "3/1h")})
		other := config.Config{Upstreams: map[string]config.Upstream{"other": {URL: "http://other.test"}}}
		var wg sync.WaitGroup
		for range 2 { // one in flight, one in line
			wg.Go(func() { get(t, g) })
		}
		time.Sleep(time.Millisecond)
		if err := g.Reload(other); err != nil {
			t.Fatal(err)
		}
		if _, err := try(t.Context(), g); !errors.Is(err, ErrUnknownUpstream) {
			t.Errorf("a removed upstream: got %v, want %v", err, ErrUnknownUpstream)
		}
		resp, err := g.Client("other").Get("/x")
		if err != nil {
			t.Errorf("an added upstream: %v", err)
		} else {
			resp.Body.Close()
		}
		wg.Wait() // those who were there before end as they would have
		// What was counted before counts when the upstream comes back.
		reload(t, g, config.Upstream{Limits: limits("concurrent:1", "3/1h")})
		get(t, g)
		_, err = try(t.Context(), g)
		refused(t, err, ErrDeadline)
	})
}

// The line of an upstream that is gone ends with the gate.
func TestCloseEndsTheLineOfARemovedUpstream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := openGate(t, &fake{}, config.Upstream{Limits: limits("concurrent:1")})
		defer occupy(t, g)()
		var wg sync.WaitGroup
		wg.Go(func() {
			start := time.Now()
			if _, err := try(t.Context(), g); !errors.Is(err, ErrClosed) {
				t.Errorf("got %v, want %v", err, ErrClosed)
			}
			if took := time.Since(start); took != 0 {
				t.Errorf("heard after %v, want as the gate closed", took)
			}
		})
		synctest.Wait()
		if err := g.Reload(config.Config{}); err != nil {
			t.Fatal(err)
		}
		g.Close()
		wg.Wait()
	})
}

func TestReloadRefusesFaults(t *testing.T) {
	tests := map[string]config.Upstream{
		"bad limit":   {URL: "http://api.test", Limits: limits("50/1min")},
		"no URL":      {},
		"bad jitter":  {URL: "http://api.test", Retry: config.Retry{Jitter: "some"}},
		"bad dialect": {URL: "http://api.test", Dialect: "klingon"},
	}
	for name, u := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fake{}
				g := openGate(t, f, config.Upstream{Limits: limits("1/1m")})
				get(t, g)
				good := config.Upstream{URL: "http://other.test"}
				err := g.Reload(config.Config{Upstreams: map[string]config.Upstream{"api": u, "other": good}})
				if err == nil {
					t.Fatal("the fault was taken")
				}
				if _, err := try(t.Context(), g); !errors.Is(err, nil) {
					t.Errorf("after the refusal: %v", err)
				}
				if _, err := g.Acquire(t.Context(), "other", nil); !errors.Is(err, ErrUnknownUpstream) {
					t.Errorf("an upstream of the refused configuration: got %v, want %v", err, ErrUnknownUpstream)
				}
				if gap := f.arrivals[1].Sub(f.arrivals[0]); gap < time.Minute {
					t.Errorf("the next attempt came after %v, want the old limit in force", gap)
				}
			})
		})
	}
}

func TestReloadRotatesCredentials(t *testing.T) {
	keys := func(values ...string) (c []config.Credential) {
		for _, v := range values {
			c = append(c, config.Credential{Header: "X-Api-Key", Value: config.NewSecret(v)})
		}
		return c
	}
	tests := []struct {
		name     string
		from, to []config.Credential
		used     string // by who was in line
	}{
		{"another value", keys("old"), keys("new"), "new"},
		{"one less", keys("a", "b"), keys("a2"), "a2"},
		{"one more", keys("a"), keys("a2", "b2"), "b2"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fake{}
				g := openGate(t, f, config.Upstream{Limits: limits("1/1m"), Credentials: test.from})
				for range test.from {
					get(t, g)
				}
				var wg sync.WaitGroup
				wg.Go(func() { get(t, g) })
				synctest.Wait()
				reload(t, g, config.Upstream{Limits: limits("1/1m"), Credentials: test.to})
				wg.Wait()
				if got := f.requests[len(f.requests)-1].Header.Get("X-Api-Key"); got != test.used {
					t.Errorf("who was in line was sent with %q, want %q", got, test.used)
				}
			})
		})
	}
}

func TestReloadLeavesCallsInFlightAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ch := make(chan any, 2)
		f := &fake{answer: func(n int, _ *http.Request) (*http.Response, error) {
			if n == 1 {
				return stream(ch), nil
			}
			return reply(200), nil
		}}
		g := openGate(t, f, config.Upstream{Limits: limits("concurrent:1")})
		ch <- "data: 1\n\n"
		resp, err := g.Client("api").Get("/x")
		if err != nil {
			t.Fatal(err)
		}
		reload(t, g, config.Upstream{Limits: limits("concurrent:2"), URL: "http://elsewhere.test"})
		get(t, g) // the second place
		time.AfterFunc(time.Second, func() { ch <- "data: 2\n\n"; close(ch) })
		got, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if string(got) != "data: 1\n\ndata: 2\n\n" || err != nil {
			t.Errorf("read %q and %v, want both events", got, err)
		}
		if n := inFlight(g); n != 0 {
			t.Errorf("%d permits are left in flight", n)
		}
	})
}

// Anybody may reload while calls come and go.
func TestReloadWhileCallsPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := openGate(t, &fake{answer: sequence(200, 429, 503, 200)}, config.Upstream{Limits: limits("50/1s")})
		start := time.Now()
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				for time.Since(start) < 5*time.Second {
					get(t, g)
				}
			})
		}
		for i := range 50 {
			time.Sleep(100 * time.Millisecond)
			reload(t, g, config.Upstream{Limits: []config.Limit{
				{Limit: []string{"50/1s", "70/1s"}[i%2]}, {Limit: "concurrent:10", Scope: []string{"upstream", "path:/x", "credential"}[i%3]},
			}})
		}
		wg.Wait()
		if n := inFlight(g); n != 0 {
			t.Errorf("%d permits are left in flight", n)
		}
	})
}
