package headgate

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/headgate/headgate/config"
)

func TestPressureOfOneCredentialLeavesAnotherAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := openGate(t, &fake{}, config.Upstream{Limits: limits("50/1m"), Line: config.Line{MaxWait: config.Duration(time.Hour)}})
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range 200 {
			wg.Go(func() { try(ctx, g, "Authorization", "Bearer a") })
		}
		time.Sleep(40 * time.Second)
		var b sync.WaitGroup
		start := time.Now()
		for range 10 {
			b.Go(func() { try(ctx, g, "Authorization", "Bearer b") })
		}
		b.Wait()
		if took := time.Since(start); took > time.Second {
			t.Errorf("10 calls into the idle 50/1m of credential b took %v, want at once: its line is empty", took)
		}
		cancel()
		wg.Wait()
	})
}

func TestPaceFollowsSettledWeights(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := openGate(t, nil, config.Upstream{Limits: limits("tokens:1000/1m"), Line: config.Line{MaxWait: config.Duration(time.Hour)}})
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		var mu sync.Mutex
		done := 0
		start := time.Now()
		for range 20 {
			wg.Go(func() {
				for {
					p, err := g.Acquire(ctx, "api", Cost{"tokens": 100})
					if err != nil {
						return
					}
					time.Sleep(20 * time.Millisecond)
					p.Settle(Cost{"tokens": 10})
					p.Done(OK)
					if time.Since(start) > 2*time.Minute {
						mu.Lock()
						done++
						mu.Unlock()
					}
				}
			})
		}
		time.Sleep(12 * time.Minute)
		cancel()
		wg.Wait()
		if used := float64(done*10) / 10000; used < 0.9 {
			t.Errorf("over 10 windows of lasting demand %.1f %% of the tokens were used, want 90 or more", used*100)
		}
	})
}

func TestGivenBackPermitsLeaveNoGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := openGate(t, nil, config.Upstream{Limits: limits("50/1m"), Line: config.Line{MaxWait: config.Duration(time.Hour)}})
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		var mu sync.Mutex
		done, n := 0, 0
		start := time.Now()
		for range 20 {
			wg.Go(func() {
				for {
					p, err := g.Acquire(ctx, "api", nil)
					if err != nil {
						return
					}
					mu.Lock()
					n++
					never := n%4 != 0 // three of four are never written
					if !never && time.Since(start) > 2*time.Minute {
						done++
					}
					mu.Unlock()
					if never {
						p.Done(Cancelled)
					} else {
						p.Done(OK)
					}
				}
			})
		}
		time.Sleep(12 * time.Minute)
		cancel()
		wg.Wait()
		if used := float64(done) / 500; used < 0.9 {
			t.Errorf("%.1f %% of the quota was used over 10 windows with 3 of 4 permits given back at once, want 90 or more", used*100)
		}
	})
}

func TestStockKeepsToTheRamp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := openGate(t, nil, config.Upstream{Limits: limits("1000000/1m"), Retry: config.Retry{Base: config.Duration(time.Second), Cap: config.Duration(time.Second), Jitter: "none"}})
		mustAcquire(t, g).Done(Throttled)
		for range 12 {
			mustAcquire(t, g).Done(OK)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var mu sync.Mutex
		held := 0
		var wg sync.WaitGroup
		for range 300 {
			wg.Go(func() {
				if _, err := g.Acquire(ctx, "api", nil); err == nil {
					mu.Lock()
					held++
					mu.Unlock()
				}
			})
		}
		time.Sleep(time.Millisecond / 2)
		mu.Lock()
		if held > 32 {
			t.Errorf("%d in flight while ramping up after a pause, 12 answers in; want 13", held)
		}
		mu.Unlock()
		cancel()
		wg.Wait()
	})
}

func TestStockKeepsTheReserve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := openGate(t, nil, config.Upstream{Limits: limits("1000/1m"), Line: config.Line{Reserve: config.Reserve{Share: 0.5, From: 0, To: 1}}})
		urgent := WithCaller(t.Context(), Caller{Priority: 0})
		modest, cancel := context.WithTimeout(WithCaller(t.Context(), Caller{Priority: 5}), 100*time.Microsecond)
		defer cancel()
		for range 500 {
			p, err := g.Acquire(urgent, "api", nil)
			if err != nil {
				t.Fatal(err)
			}
			p.Done(OK)
		}
		n := 0
		for range 64 {
			if p, err := g.Acquire(modest, "api", nil); err == nil {
				n++
				p.Done(OK)
			}
		}
		if n > 0 {
			t.Errorf("%d calls of priority 5 took from the half that is reserved for 0-1", n)
		}
	})
}

func TestReloadKeepsCountsOfACredentialThatMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keys := func(values ...string) (c []config.Credential) {
			for _, v := range values {
				c = append(c, config.Credential{Header: "Authorization", Value: config.NewSecret(v)})
			}
			return c
		}
		f := &fake{}
		g := openGate(t, f, config.Upstream{Limits: limits("5/1m"), Credentials: keys("old")})
		for range 5 {
			get(t, g)
		}
		reload(t, g, config.Upstream{Limits: limits("5/1m"), Credentials: keys("new", "old")})
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() { get(t, g) })
		}
		time.Sleep(time.Second)
		synctest.Wait()
		n := 0
		for _, r := range f.requests {
			if r.Header.Get("Authorization") == "old" {
				n++
			}
		}
		if n > 5 {
			t.Errorf("credential old was used %d times within a minute, want at most 5", n)
		}
		wg.Wait()
	})
}

func TestPacedWaitsAreRefusedAtTheDoor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		f.answer = sequence(429, 200)
		g := openGate(t, f, config.Upstream{Limits: limits("60/1m"), Retry: config.Retry{Attempts: 1}})
		get(t, g)
		time.Sleep(2 * time.Minute) // pause and ramp
		for range 40 {
			get(t, g)
		}
		time.Sleep(2 * time.Minute)
		var wg sync.WaitGroup
		for range 40 {
			wg.Go(func() {
				start := time.Now()
				_, err := try(t.Context(), g, "Headgate-Max-Wait", "5s")
				if took := time.Since(start); err != nil && took > 0 {
					t.Errorf("refused after %v: %v", took, err)
				}
			})
		}
		wg.Wait()
	})
}

// A bucket of b cannot be overrun by b at once per (b/rate + spread).
func TestSmallBucketsUseWhatIsSafe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		g := openGate(t, f, config.Upstream{Limits: limits("1000/1s burst 10"), Line: config.Line{MaxWait: config.Duration(time.Hour)}})
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				for ctx.Err() == nil {
					try(ctx, g)
				}
			})
		}
		time.Sleep(20 * time.Second)
		cancel()
		wg.Wait()
		if got := f.attempts() / 20; got < 225 {
			t.Errorf("%d per second under lasting demand; 10 at once every 40 ms, 250 per second, are safe with a spread of 30 ms", got)
		}
	})
}

func TestReloadKeepsGuessesThatFit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := openGate(t, &fake{}, config.Upstream{Limits: limits("tokens:100/1m")})
		get(t, g, "Headgate-Cost", "tokens=100")
		var wg sync.WaitGroup
		wg.Go(func() {
			req := request(t.Context(), "POST", "/x", fmt.Sprintf("%1000d", 1))
			resp, err := g.RoundTripper("api").RoundTrip(req)
			if err != nil {
				t.Errorf("a call whose tokens were guessed: %v", err)
				return
			}
			resp.Body.Close()
		})
		synctest.Wait()
		reload(t, g, config.Upstream{Limits: limits("tokens:50/1m")})
		wg.Wait()
	})
}

// The seats of an upstream are made one after the other, and each may be one
// too many: those already looked at must stay.
func TestSweepKeepsThePickedSeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		up := func(c ...config.Credential) config.Upstream {
			return config.Upstream{URL: "http://api.test", Quota: "q", Limits: limits("1/1h"), Credentials: c}
		}
		g, err := Open(t.Context(), config.Config{Upstreams: map[string]config.Upstream{
			"open": up(),
			"api":  up(config.Credential{Header: "K", Value: config.NewSecret("one")}, config.Credential{Header: "K", Value: config.NewSecret("two")}),
		}}, Base(f))
		if err != nil {
			t.Fatal(err)
		}
		defer g.Close()
		for i := range seatsKept - 1 {
			resp, err := g.RoundTripper("open").RoundTrip(request(t.Context(), "GET", "/x", "", "Authorization", fmt.Sprint(i)))
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
		}
		start := len(f.requests)
		for range 4 {
			try(t.Context(), g)
		}
		n := map[string]int{}
		for _, r := range f.requests[start:] {
			n[r.Header.Get("K")]++
		}
		if n["one"] > 1 || n["two"] > 1 {
			t.Errorf("uses within the hour of 1/1h: %v", n)
		}
	})
}

func TestWaitersTakeWhicheverCredentialIsFree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		f.answer = func(n int, _ *http.Request) (*http.Response, error) {
			switch n {
			case 1:
				time.Sleep(50 * time.Second)
			case 2:
				time.Sleep(time.Second)
			}
			return reply(200), nil
		}
		g := openGate(t, f, config.Upstream{Limits: limits("concurrent:1"), Credentials: []config.Credential{
			{Header: "K", Value: config.NewSecret("one")}, {Header: "K", Value: config.NewSecret("two")}}})
		var wg sync.WaitGroup
		for i := range 3 {
			wg.Go(func() {
				start := time.Now()
				get(t, g)
				if took := time.Since(start); i == 2 && took > 2*time.Second {
					t.Errorf("the third call took %v; credential two was free after 1 s", took)
				}
			})
			time.Sleep(time.Millisecond)
		}
		wg.Wait()
	})
}

func TestFallbackGetsNoForeignCredential(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		g, err := Open(t.Context(), config.Config{Upstreams: map[string]config.Upstream{
			"api":   {URL: "http://api.test", Limits: limits("concurrent:1"), Line: config.Line{MaxLength: 1}, Fallback: []string{"other"}},
			"other": {URL: "http://other.test"},
		}}, Base(f))
		if err != nil {
			t.Fatal(err)
		}
		defer g.Close()
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		f.latency = time.Second
		for range 3 {
			wg.Go(func() { try(ctx, g, "Authorization", "Bearer secret-of-api") })
		}
		wg.Wait()
		cancel()
		for _, r := range f.requests {
			if r.URL.Host == "other.test" && r.Header.Get("Authorization") != "" {
				t.Errorf("%s was sent %q", r.URL.Host, r.Header.Get("Authorization"))
			}
		}
	})
}

func TestRampIsNotHeldUpByAttemptsOfBeforeThePause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		f.answer = func(n int, _ *http.Request) (*http.Response, error) {
			switch {
			case n <= 20:
				time.Sleep(50 * time.Second)
			case n == 21:
				return reply(429, "Retry-After", "1"), nil
			}
			return reply(200), nil
		}
		g := openGate(t, f, config.Upstream{Limits: limits("1000/1s")})
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() { get(t, g) })
		}
		time.Sleep(time.Second)
		start := time.Now()
		get(t, g)
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("told Retry-After: 1, the call took %v", took)
		}
		wg.Wait()
	})
}

func TestRetryAfterInUnixTimeIsAMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(2 * 366 * 24 * time.Hour) // past 1e9 of Unix time
		f := &fake{answer: func(int, *http.Request) (*http.Response, error) {
			return reply(429, "Retry-After", fmt.Sprint(time.Now().Unix()+30)), nil
		}}
		g := openGate(t, f, config.Upstream{})
		get(t, g)
		if d := time.Until(*g.Status().Upstreams[0].Credentials[0].PausedUntil); d > time.Minute {
			t.Errorf("paused for %v, want 30s or so", d)
		}
	})
}

func TestSettleCannotPassLimitsBy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := openGate(t, nil, config.Upstream{Limits: limits("5/1m"), Line: config.Line{MaxWait: config.Duration(time.Hour)}})
		start := time.Now()
		for range 20 {
			p := mustAcquire(t, g)
			p.Settle(Cost{"requests": 0})
			p.Done(OK)
		}
		if took := time.Since(start); took < 2*time.Minute {
			t.Errorf("20 attempts under 5/1m took %v", took)
		}
	})
}
