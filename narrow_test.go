package headgate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/headgate/headgate/config"
	"github.com/headgate/headgate/internal/limit"
	"github.com/headgate/headgate/internal/mock"
)

// models is an upstream of which some models or routes refuse until a moment.
type models struct {
	fake
	mu   sync.Mutex
	full map[string]time.Time // by model, or by path
	seen map[string][]time.Time
	wait string // Retry-After of its refusals; "" is none
}

func newModels(latency time.Duration) *models {
	m := &models{full: make(map[string]time.Time), seen: make(map[string][]time.Time)}
	m.latency = latency
	m.answer = func(n int, req *http.Request) (*http.Response, error) {
		m.fake.mu.Lock()
		_, rest, _ := strings.Cut(m.bodies[n-1], `"model":"`)
		m.fake.mu.Unlock()
		key, _, _ := strings.Cut(rest, `"`)
		if key == "" {
			key = req.URL.Path
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		m.seen[key] = append(m.seen[key], time.Now())
		if time.Now().Before(m.full[key]) {
			if m.wait == "" {
				return reply(429), nil
			}
			return reply(429, "Retry-After", m.wait), nil
		}
		return reply(200), nil
	}
	return m
}

func (m *models) refuse(key string, d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.full[key] = time.Now().Add(d)
}

// arrivals returns when calls to one model or route came, counted from t0.
func (m *models) arrivals(key string, t0 time.Time) []time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	var at []time.Duration
	for _, t := range m.seen[key] {
		at = append(at, t.Sub(t0))
	}
	return at
}

// ask makes a call to a model, or to a path if it begins with "/".
func ask(ctx context.Context, g *Gate, model string, fields ...string) (int, error) {
	path, body := "/v1/chat/completions", fmt.Sprintf(`{"model":"%s","messages":[]}`, model)
	if strings.HasPrefix(model, "/") {
		path, body = model, "{}"
	}
	resp, err := g.RoundTripper("api").RoundTrip(request(ctx, "POST", path, body, fields...))
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}

// Pitfall R3: one model's limit froze all models.
func TestRefusalOfOneModelHoldsUpNoOther(t *testing.T) {
	for name, c := range map[string]struct {
		dialect, one, other, scope string
	}{
		"model": {"openai", "a", "b", "model:a"},
		"route": {"slack", "/api/chat.postMessage", "/api/users.list", "route:/api/chat.postMessage"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newModels(100 * time.Millisecond)
				m.wait = "60"
				m.refuse(c.one, 50*time.Second)
				var seen collect
				g := openGate(t, m, config.Upstream{Dialect: c.dialect, Limits: limits("concurrent:1")}, seen.option())
				t0 := time.Now()
				var wg sync.WaitGroup
				for i := range 6 { // in line before anything is known; later ones know
					wg.Go(func() {
						time.Sleep(time.Duration(i/3) * 5 * time.Second)
						if status, err := ask(t.Context(), g, c.one); status != 200 || err != nil {
							t.Errorf("a call that was refused ended with %d, %v", status, err)
						}
					})
				}
				for range 20 {
					wg.Go(func() {
						time.Sleep(time.Second)
						if status, err := ask(t.Context(), g, c.other); status != 200 || err != nil {
							t.Errorf("a call to another ended with %d, %v", status, err)
						}
						if took := time.Since(t0); took > 4*time.Second {
							t.Errorf("a call to another was answered after %v, want it to be held up by nobody", took)
						}
					})
				}
				wg.Wait()
				at := m.arrivals(c.one, t0)
				if len(at) != 7 || at[1] < 60*time.Second {
					t.Errorf("what was refused arrived at %v, want once, and six times from 1m0s on", at)
				}
				if len(seen.paused) != 1 || seen.paused[0].Scope != c.scope {
					t.Errorf("told of pauses %+v, want one of %s", seen.paused, c.scope)
				}
				free(t, g)
			})
		})
	}
}

func TestCallThatCannotOutlastItsModelsPauseHearsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModels(0)
		m.wait = "60"
		m.refuse("a", 50*time.Second)
		g := openGate(t, m, config.Upstream{Dialect: "openai"})
		t0 := time.Now()
		if status, err := ask(t.Context(), g, "a", "Headgate-Max-Wait", "10s"); status != 429 || err != nil {
			t.Errorf("the call that was refused got %d, %v, want the answer itself", status, err)
		}
		time.Sleep(time.Second - time.Since(t0))
		_, err := ask(t.Context(), g, "a", "Headgate-Max-Wait", "10s")
		r := refused(t, err, ErrDeadline)
		if took := time.Since(t0); took != time.Second {
			t.Errorf("refused after %v, want at once", took)
		}
		if at := r.RetryAt.Sub(t0); at < 60*time.Second || at > 61*time.Second {
			t.Errorf("RetryAt is %v after the start, want the end of the model's pause", at)
		}
		if _, err := ask(t.Context(), g, "b", "Headgate-Max-Wait", "10s"); err != nil {
			t.Errorf("a call to another model got %v", err)
		}
	})
}

// Where others fare well the breaker and the limits of all do not hear of it.
func TestBreakerHearsOfAModelOnlyWhileNoOtherFaresWell(t *testing.T) {
	for name, others := range map[string]bool{"alone": false, "beside another": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newModels(10 * time.Millisecond)
				m.refuse("a", time.Hour)
				var seen collect
				g := openGate(t, m, config.Upstream{
					Dialect: "openai", Limits: limits("1000/1s"),
					Breaker: config.Breaker{OpenAfter: config.OpenAfter{Throttled: 5, In: time.Hour}},
					Retry:   config.Retry{Attempts: 10, Base: config.Duration(time.Second), Cap: config.Duration(2 * time.Second)},
				}, seen.option())
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				var wg sync.WaitGroup
				wg.Go(func() { ask(ctx, g, "a") })
				if others {
					wg.Go(func() {
						for range 100 {
							time.Sleep(100 * time.Millisecond)
							if _, err := ask(ctx, g, "b"); err != nil {
								t.Errorf("a call to another model got %v", err)
							}
						}
					})
				}
				wg.Wait()
				if opened := len(seen.changed) > 0; opened == others {
					t.Errorf("breaker told of %+v, want it to open: %t", seen.changed, !others)
				}
			})
		})
	}
}

func TestRefusalThatNamesNothingHoldsUpAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModels(0)
		m.wait = "30"
		m.refuse("a", 10*time.Second)
		g := openGate(t, m, config.Upstream{Dialect: "generic"})
		var wg sync.WaitGroup
		wg.Go(func() { ask(t.Context(), g, "a") })
		time.Sleep(time.Second)
		_, err := ask(t.Context(), g, "b", "Headgate-Max-Wait", "5s")
		if !errors.Is(err, ErrDeadline) {
			t.Errorf("another call got %v, want %v", err, ErrDeadline)
		}
		wg.Wait()
	})
}

// After the pause of a model its calls ramp up, and no call uses up its attempts
// as the one that finds out.
func TestPausedModelIsProbedByOneAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModels(50 * time.Millisecond)
		m.refuse("a", 20*time.Second)
		g := openGate(t, m, config.Upstream{
			Dialect: "openai", Limits: limits("1000/1s"), Breaker: config.Breaker{OpenAfter: config.OpenAfter{Throttled: 1000, In: time.Minute}},
			Retry: config.Retry{Attempts: 4, Base: config.Duration(time.Second), Cap: config.Duration(4 * time.Second)},
		})
		t0 := time.Now()
		var wg sync.WaitGroup
		for range 30 {
			wg.Go(func() {
				if status, err := ask(t.Context(), g, "a"); status != 200 || err != nil {
					t.Errorf("a call ended with %d, %v", status, err)
				}
			})
		}
		wg.Wait()
		at := m.arrivals("a", t0)
		if n := len(at) - 30; n < 30 || n > 30+20 {
			t.Errorf("%d refusals, want the 30 of the first burst and then those of single attempts", n)
		}
	})
}

// OpenAI's refusals name a model each time: they teach no less for it.
func TestLimitIsLearnedFromRefusalsOfOneModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const span = 20 * time.Second
		l := mustLimit(t, "100/1s")
		up := newStrict(t, mock.Rules{Limits: []limit.Limit{l}})
		cfg := config.Config{Upstreams: map[string]config.Upstream{"api": {URL: "http://api.openai.com"}}}
		g, err := Open(t.Context(), cfg, Base(up))
		if err != nil {
			t.Fatal(err)
		}
		defer g.Close()
		start := time.Now()
		var callers sync.WaitGroup
		for range 60 {
			callers.Go(func() {
				for time.Since(start) < span {
					if status, err := ask(t.Context(), g, "a"); status != 200 || err != nil {
						t.Errorf("a call ended with %d, %v", status, err)
					}
				}
			})
		}
		callers.Wait()
		usage, refused := up.usage(l, span), float64(up.refused)/float64(len(up.attempts))
		t.Logf("usage %.1f %%, refused %.2f %%", 100*usage, 100*refused)
		if usage < 0.85 || refused > 0.01 {
			t.Errorf("usage %.1f %%, refused %.2f %%, want at least 85 %% and at most 1 %%", 100*usage, 100*refused)
		}
	})
}
