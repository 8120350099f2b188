package headgate

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/headgate/headgate/config"
	"github.com/headgate/headgate/internal/breaker"
	"github.com/headgate/headgate/internal/lease"
	"github.com/headgate/headgate/internal/limit"
	"github.com/headgate/headgate/internal/mock"
)

// acquireAll has n goroutines take permits of a gate for a span, hold each for
// a while, and returns how many they got.
func acquireAll(t *testing.T, g *Gate, n int, span, held time.Duration, c Caller, cost Cost) int {
	ctx, cancel := context.WithTimeout(WithCaller(context.Background(), c), span)
	defer cancel()
	var mu sync.Mutex
	var wg sync.WaitGroup
	got := 0
	for range n {
		wg.Go(func() {
			for {
				p, err := g.Acquire(ctx, "api", cost)
				if err != nil {
					return
				}
				time.Sleep(held)
				p.Done(OK)
				mu.Lock()
				got++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return got
}

func TestQuietInstancesLeaveTheirShareToBusyOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := newStrict(t, mock.Rules{Limits: []limit.Limit{mustLimit(t, "50/1s")}})
		st := newSharedStore()
		gates := openFleetOf(t, 4, st, up, config.Upstream{Limits: []config.Limit{{Limit: "50/1s"}}})
		ctx, cancel := context.WithCancel(t.Context())
		var mu sync.Mutex
		var worst time.Duration
		var wg sync.WaitGroup
		for i, g := range gates[1:] {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * 300 * time.Millisecond)
				for pass(ctx, 2*time.Second) == nil {
					start := time.Now()
					resp, err := g.Client("api").Get("/quiet")
					if err != nil {
						t.Error(err)
						return
					}
					resp.Body.Close()
					mu.Lock()
					worst = max(worst, time.Since(start))
					mu.Unlock()
				}
			})
		}
		saturate(t, gates[0], 40, 9*time.Second)
		cancel()
		wg.Wait()
		if up.refused > 0 {
			t.Errorf("%d attempts were refused, want none", up.refused)
		}
		if usage := up.usage(mustLimit(t, "50/1s"), 9*time.Second); usage < 0.95 {
			t.Errorf("usage %.2f %%, want at least 95 %%", 100*usage)
		}
		// The upstream takes up to 30 ms to count and then serves; the busy
		// instance's next attempt leaves its window within 20 ms.
		if worst > 200*time.Millisecond {
			t.Errorf("a quiet instance's call took %v, want at most 200 ms", worst)
		}
		t.Logf("the slowest call of a quiet instance took %v", worst)
		closeAll(gates)
	})
}

// Invariant 7 of the ledger.
func TestShareOfAnInstanceThatIsGoneGoesToTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := mustLimit(t, "100/1s")
		up := newStrict(t, mock.Rules{Limits: []limit.Limit{l}})
		st := newSharedStore()
		u := config.Upstream{Limits: []config.Limit{{Limit: "100/1s"}}}
		gates := openFleetOf(t, 4, st, up, u)
		start := time.Now()
		var wg sync.WaitGroup
		for i, g := range gates {
			span := 15 * time.Second
			if i == 3 {
				span = 5 * time.Second // then it is dead
				time.AfterFunc(span, func() { st.cutOff(3, true) })
			}
			wg.Go(func() { saturate(t, g, 20, span) })
		}
		wg.Wait()
		if up.refused > 0 {
			t.Errorf("%d attempts were refused, want none", up.refused)
		}
		// A lease, a beat until somebody looks, and a window.
		taken := start.Add(5*time.Second + lease.Kept + lease.Beat + 1500*time.Millisecond)
		n := 0
		for _, at := range up.accepted {
			if at.After(taken) && at.Before(start.Add(15*time.Second)) {
				n++
			}
		}
		span := start.Add(15 * time.Second).Sub(taken)
		if usage := float64(n) / (100 * span.Seconds()); usage < 0.95 {
			t.Errorf("usage %.2f %% once the lease had ended, want at least 95 %%", 100*usage)
		}
		closeAll(gates)
	})
}

func TestInstanceThatIsCutOffUsesNothingBeyondItsLease(t *testing.T) {
	for _, policy := range []string{"wait", "fail"} {
		synctest.Test(t, func(t *testing.T) {
			up := newStrict(t, mock.Rules{Limits: []limit.Limit{mustLimit(t, "100/1s")}})
			st := newSharedStore()
			cfg := config.Config{OnStoreLoss: policy, Upstreams: map[string]config.Upstream{
				"api": {URL: "http://api.test", Limits: []config.Limit{{Limit: "100/1s"}}},
			}}
			var gates []*Gate
			for range 2 {
				g, err := Open(t.Context(), cfg, Base(up), storeOption{st})
				if err != nil {
					t.Fatal(err)
				}
				gates = append(gates, g)
				synctest.Wait()
				time.Sleep(2 * time.Millisecond)
			}
			time.Sleep(lease.Grace + lease.Beat)
			st.cutOff(1, true)
			time.Sleep(lease.Held + time.Millisecond)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			start := time.Now()
			_, err := gates[1].Acquire(ctx, "api", nil)
			want, took := context.DeadlineExceeded, time.Second
			if policy == "fail" {
				want, took = ErrStoreLost, 0
			}
			if !errors.Is(err, want) || time.Since(start) != took {
				t.Errorf("%s: Acquire without a lease = %v after %v, want %v after %v", policy, err, time.Since(start), want, took)
			}
			st.cutOff(1, false)
			time.Sleep(lease.Beat)
			if p, err := gates[1].Acquire(t.Context(), "api", nil); err != nil {
				t.Errorf("%s: Acquire once the store was back: %v", policy, err)
			} else {
				p.Done(OK)
			}
			closeAll(gates)
		})
	}
}

func TestCallsWaitForAStoreThatWasNeverReached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := newStrict(t, mock.Rules{})
		st := newSharedStore()
		st.away = true
		g := openGate(t, up, config.Upstream{Limits: []config.Limit{{Limit: "10/1s"}}}, storeOption{st})
		time.AfterFunc(10*time.Second, func() {
			st.mu.Lock()
			defer st.mu.Unlock()
			st.away = false
		})
		start := time.Now()
		p, err := g.Acquire(t.Context(), "api", nil)
		if err != nil {
			t.Fatal(err)
		}
		p.Done(OK)
		if took := time.Since(start); took < 10*time.Second || took > 10*time.Second+lease.Grace+2*lease.Beat {
			t.Errorf("Acquire took %v, want until the store is there and has heard of everybody", took)
		}
		g.Close()
	})
}

// Pitfall R20: elsewhere a cooldown reaches other replicas ten seconds later.
func TestPauseReachesEveryInstanceAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := newStrict(t, mock.Rules{})
		var told time.Time
		up.status = func(now time.Time, n int) int {
			if n == 200 {
				told = now
				return http.StatusTooManyRequests
			}
			return http.StatusOK
		}
		st := newSharedStore()
		gates := openFleetOf(t, 4, st, retryAfter{up, "3"}, config.Upstream{Limits: []config.Limit{{Limit: "100/1s"}}})
		for i, got := range saturateAll(t, gates, 20, 9*time.Second) {
			if len(got) != 1 || got[http.StatusOK] == 0 {
				t.Errorf("gate %d: %v, want all 200", i, got)
			}
		}
		// Service is not waited for by a refusal; what was on the wire arrives
		// within 30 ms, and the news take two ways to the store.
		last := told.Add(32 * time.Millisecond)
		for _, at := range up.attempts {
			if at.After(last) && at.Before(told.Add(3*time.Second)) {
				t.Errorf("an attempt arrived %v after the upstream had told one instance to wait 3 s", at.Sub(told))
			}
		}
		closeAll(gates)
	})
}

// retryAfter adds Retry-After to refusals.
type retryAfter struct {
	http.RoundTripper
	value string
}

func (r retryAfter) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := r.RoundTripper.RoundTrip(req)
	if err == nil && resp.StatusCode == http.StatusTooManyRequests {
		resp.Header.Set("Retry-After", r.value)
	}
	return resp, err
}

func TestBreakerOpensForEveryInstanceAndOneProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := newStrict(t, mock.Rules{})
		well := time.Now().Add(20 * time.Second)
		up.status = func(now time.Time, _ int) int {
			if now.Before(well) {
				return http.StatusServiceUnavailable
			}
			return http.StatusOK
		}
		st := newSharedStore()
		gates := openFleetOf(t, 4, st, up, config.Upstream{
			Limits:  []config.Limit{{Limit: "1000/1s"}},
			Retry:   config.Retry{Attempts: 1},
			Breaker: config.Breaker{Failures: config.Failures{Share: 0.5, Of: 20}, OpenFor: config.Duration(5 * time.Second)},
		})
		for range 20 {
			resp, err := gates[0].Client("api").Get("/x")
			if err != nil {
				break
			}
			resp.Body.Close()
		}
		time.Sleep(2 * time.Millisecond)
		opened := time.Now()
		for i, g := range gates {
			if _, err := g.Client("api").Get("/x"); !errors.Is(err, ErrBreakerOpen) {
				t.Errorf("gate %d, right after gate 0 has opened its breaker: %v, want ErrBreakerOpen", i, err)
			}
		}
		// Everybody tries for as long as it takes: of all instances one at a time
		// probes.
		var wg sync.WaitGroup
		for _, g := range gates {
			wg.Go(func() {
				for time.Since(opened) < 19*time.Second {
					if resp, err := g.Client("api").Get("/x"); err == nil {
						resp.Body.Close()
					}
					time.Sleep(20 * time.Millisecond)
				}
			})
		}
		wg.Wait()
		var probes []time.Duration
		for _, at := range up.attempts {
			if d := at.Sub(opened); d > 0 && d < 19*time.Second {
				probes = append(probes, d)
			}
		}
		if len(probes) != 3 {
			t.Errorf("attempts %v after the breaker had opened, want one every 5 s", probes)
		}
		time.Sleep(time.Until(well) + 6*time.Second)
		for i, g := range gates {
			resp, err := g.Client("api").Get("/x")
			if err != nil {
				t.Errorf("gate %d, once the upstream is well: %v", i, err)
				continue
			}
			resp.Body.Close()
			time.Sleep(50 * time.Millisecond)
		}
		closeAll(gates)
	})
}

func TestBreakersCountTheOutcomesOfAllInstances(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := newStrict(t, mock.Rules{})
		up.status = func(time.Time, int) int { return http.StatusServiceUnavailable }
		st := newSharedStore()
		gates := openFleetOf(t, 4, st, up, config.Upstream{
			Limits:  []config.Limit{{Limit: "1000/1s"}},
			Retry:   config.Retry{Attempts: 1},
			Breaker: config.Breaker{Failures: config.Failures{Share: 0.5, Of: 40}, OpenFor: config.Duration(30 * time.Second)},
		})
		for range 10 { // 40 in all: none of them has seen enough alone
			for _, g := range gates {
				if resp, err := g.Client("api").Get("/x"); err == nil {
					resp.Body.Close()
				}
			}
		}
		time.Sleep(2 * lease.Beat)
		for i, g := range gates {
			for _, d := range g.desks {
				d.mu.Lock()
				for _, s := range d.mu.seats {
					if got := s.breaker.State(time.Now()); got != breaker.Open {
						t.Errorf("gate %d: breaker is %v, want open", i, got)
					}
				}
				d.mu.Unlock()
			}
		}
		closeAll(gates)
	})
}

func TestConcurrencyIsSharedAndHandedOver(t *testing.T) {
	for _, limit := range []string{"concurrent:1", "concurrent:6"} {
		synctest.Test(t, func(t *testing.T) {
			up := newStrict(t, mock.Rules{})
			st := newSharedStore()
			gates := openFleetOf(t, 4, st, up, config.Upstream{Limits: []config.Limit{{Limit: limit}}})
			most := mustLimit(t, limit).N
			var mu sync.Mutex
			var wg sync.WaitGroup
			var inFlight, peak int64
			got := make([]int, len(gates))
			for i, g := range gates {
				for range 5 {
					wg.Go(func() {
						ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
						defer cancel()
						for {
							p, err := g.Acquire(ctx, "api", nil)
							if err != nil {
								return
							}
							mu.Lock()
							inFlight++
							peak = max(peak, inFlight)
							got[i]++
							mu.Unlock()
							time.Sleep(100 * time.Millisecond)
							mu.Lock()
							inFlight--
							mu.Unlock()
							p.Done(OK)
						}
					})
				}
			}
			wg.Wait()
			if peak > most {
				t.Errorf("%s: %d were in flight at once", limit, peak)
			}
			sum, least, top := 0, got[0], got[0]
			for _, n := range got {
				sum, least, top = sum+n, min(least, n), max(top, n)
			}
			t.Logf("%s: %v", limit, got)
			if whole := int(most) * 200; sum < whole*8/10 {
				t.Errorf("%s: %v permits, want at least 80 %% of %d", limit, got, whole)
			}
			if float64(top) > 1.25*float64(least) {
				t.Errorf("%s: %v permits, want equal parts", limit, got)
			}
			closeAll(gates)
		})
	}
}

func TestUrgentCallsOfOneInstanceComeBeforeOthersOfAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := newStrict(t, mock.Rules{})
		st := newSharedStore()
		gates := openFleetOf(t, 2, st, up, config.Upstream{Limits: []config.Limit{{Limit: "50/1s"}}})
		var wg sync.WaitGroup
		var urgent, idle int
		wg.Go(func() { idle = acquireAll(t, gates[1], 40, 12*time.Second, 0, Caller{Priority: 5}, nil) })
		time.Sleep(3 * time.Second)
		wg.Go(func() { urgent = acquireAll(t, gates[0], 40, 6*time.Second, 0, Caller{Priority: 1}, nil) })
		wg.Wait()
		t.Logf("urgent %d, others %d", urgent, idle)
		if urgent < 230 { // 6 s of 50, less the window that the others had used up
			t.Errorf("%d urgent permits in 6 s, want at least 230", urgent)
		}
		closeAll(gates)
	})
}

// A call that weighs more than an instance's equal part must not wait for ever.
func TestHeavyCallGetsMoreThanAnEqualPart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := newStrict(t, mock.Rules{})
		st := newSharedStore()
		gates := openFleetOf(t, 4, st, up, config.Upstream{Limits: []config.Limit{{Limit: "tokens:1000/1s"}}})
		var wg sync.WaitGroup
		for _, g := range gates[1:] {
			wg.Go(func() { acquireAll(t, g, 20, 20*time.Second, 0, Caller{}, Cost{"tokens": 10}) })
		}
		time.Sleep(2 * time.Second)
		for range 3 {
			start := time.Now()
			p, err := gates[0].Acquire(t.Context(), "api", Cost{"tokens": 900})
			if err != nil {
				t.Fatal(err)
			}
			p.Done(OK)
			if took := time.Since(start); took > 4*time.Second {
				t.Errorf("a call of 900 of 1000 tokens waited %v, want at most 4 s", took)
			} else {
				t.Logf("waited %v", took)
			}
		}
		wg.Wait()
		closeAll(gates)
	})
}
