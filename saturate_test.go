package headgate

import (
	"bytes"
	"context"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptrace"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/headgate/headgate/config"
	"github.com/headgate/headgate/internal/limit"
	"github.com/headgate/headgate/internal/mock"
)

// strict is an upstream that counts at arrival: between being written and
// being counted an attempt spends 5 to 30 ms, and its service takes a
// lognormal 20 ms.
type strict struct {
	mu       sync.Mutex
	rnd      *rand.Rand
	judge    *mock.Judge
	from, to time.Duration // arrival
	storm    time.Duration // arrival of the first burst takes so much longer
	last     time.Time     // when it was sent
	accepted []time.Time
	refused  int
	status   func(now time.Time, n int) int // 0: what the judge says
	attempts []time.Time
}

func newStrict(t *testing.T, rules mock.Rules) *strict {
	t.Helper()
	return &strict{
		rnd:   rand.New(rand.NewPCG(1, 2)),
		judge: mock.NewJudge(rules),
		from:  5 * time.Millisecond,
		to:    30 * time.Millisecond,
	}
}

func (s *strict) RoundTrip(req *http.Request) (*http.Response, error) {
	trace := httptrace.ContextClientTrace(req.Context())
	trace.GetConn("")
	trace.GotConn(httptrace.GotConnInfo{})
	trace.WroteRequest(httptrace.WroteRequestInfo{})
	if req.Body != nil {
		io.Copy(io.Discard, req.Body)
		req.Body.Close()
	}
	s.mu.Lock()
	arrival := s.from + time.Duration(s.rnd.Float64()*float64(s.to-s.from))
	if now := time.Now(); s.last.IsZero() || now.Equal(s.last) {
		arrival += s.storm
		s.last = now
	}
	service := time.Duration(20 * math.Exp(0.4*s.rnd.NormFloat64()) * float64(time.Millisecond))
	s.mu.Unlock()
	if err := pass(req.Context(), arrival); err != nil {
		return nil, err
	}
	status := s.arrive()
	if status == http.StatusOK {
		if err := pass(req.Context(), service); err != nil {
			return nil, err
		}
	}
	return &http.Response{
		StatusCode: status, ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{},
		Body: io.NopCloser(bytes.NewReader([]byte("ok"))), ContentLength: 2, Request: req,
	}, nil
}

func (s *strict) arrive() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.attempts = append(s.attempts, now)
	if s.status != nil {
		if status := s.status(now, len(s.attempts)); status != 0 {
			return status
		}
	}
	if ok, _ := s.judge.Arrive(now, 1); !ok {
		s.refused++
		return http.StatusTooManyRequests
	}
	s.accepted = append(s.accepted, now)
	return http.StatusOK
}

// usage is the share of n per window that was accepted in a span from the
// first arrival on.
func (s *strict) usage(l limit.Limit, span time.Duration) float64 {
	n := 0
	for _, at := range s.accepted {
		if at.Before(s.accepted[0].Add(span)) {
			n++
		}
	}
	return float64(n) / (float64(l.N) * float64(span) / float64(l.Window))
}

func pass(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// openGate opens a gate with one upstream, "api", that send answers for.
func openGate(t *testing.T, send http.RoundTripper, u config.Upstream, opts ...Option) *Gate {
	t.Helper()
	u.URL = "http://api.test"
	if len(u.Limits) == 0 {
		u.Limits = []config.Limit{{Limit: "concurrent:1000000"}} // else it would look for one
	}
	cfg := config.Config{Upstreams: map[string]config.Upstream{"api": u}}
	g, err := Open(t.Context(), cfg, append(opts, Base(send))...)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() { g.Close() })
	return g
}

// saturate has callers call again and again for a span, and returns how many
// calls got which status; -1 is an error.
func saturate(t *testing.T, g *Gate, callers int, span time.Duration) map[int]int {
	t.Helper()
	client := g.Client("api")
	start := time.Now()
	got := make(map[int]int)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for time.Since(start) < span {
				status := -1
				if resp, err := client.Get("/x"); err != nil {
					t.Log(err)
				} else {
					io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
					status = resp.StatusCode
				}
				mu.Lock()
				got[status]++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return got
}

func mustLimit(t *testing.T, s string) limit.Limit {
	t.Helper()
	l, err := limit.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestSaturatedGateUsesTheQuotaWithoutRefusals is the promise of the house, in
// virtual time: invariants 1 and 2 of the ledger from the outside.
func TestSaturatedGateUsesTheQuotaWithoutRefusals(t *testing.T) {
	tests := []struct {
		name         string
		limit        string // as configured
		upstream     string // as the upstream has it; "" the same
		countRefused bool
		far          time.Duration // added to each arrival
		storm        time.Duration // added to the arrivals of the first burst
		callers      int
		span         time.Duration
		usage        float64 // at least
	}{
		{name: "sliding", limit: "50/1s", callers: 40, span: 9 * time.Second, usage: 0.97},
		{name: "sliding, ten times", limit: "500/1s", callers: 200, span: 9 * time.Second, usage: 0.97},
		{name: "sliding, the first burst arrives late", limit: "500/1s", storm: 100 * time.Millisecond, callers: 200, span: 9 * time.Second, usage: 0.97},
		{name: "sliding, a minute", limit: "50/1m", callers: 40, span: 3 * time.Minute, usage: 0.995},
		{name: "sliding, longer", limit: "50/1s", callers: 40, span: time.Minute, usage: 0.97},
		{name: "sliding against fixed", limit: "50/1s", upstream: "50/1s fixed", callers: 40, span: 9 * time.Second, usage: 0.97},
		{name: "fixed", limit: "50/1s fixed", callers: 40, span: 9 * time.Second, usage: 0.97},
		{name: "fixed, ten times", limit: "500/1s fixed", callers: 200, span: 9 * time.Second, usage: 0.97},
		{name: "fixed, far away", limit: "50/1s fixed", far: 200 * time.Millisecond, callers: 40, span: 9 * time.Second, usage: 0.9},
		{name: "sliding, far away", limit: "50/1s", far: 200 * time.Millisecond, callers: 40, span: 9 * time.Second, usage: 0.97},
		{name: "bucket", limit: "50/1s burst 10", callers: 40, span: 9 * time.Second, usage: 0.95},
		{name: "refused requests count", limit: "50/1s", countRefused: true, callers: 40, span: 9 * time.Second, usage: 0.97},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				upstream := test.upstream
				if upstream == "" {
					upstream = test.limit
				}
				l := mustLimit(t, upstream)
				s := newStrict(t, mock.Rules{Limits: []limit.Limit{l}, CountRefused: test.countRefused})
				s.from, s.to, s.storm = s.from+test.far, s.to+test.far, test.storm
				g := openGate(t, s, config.Upstream{Limits: []config.Limit{{Limit: test.limit}}})
				got := saturate(t, g, test.callers, test.span)
				if s.refused > 0 {
					t.Errorf("%d attempts were refused, want none", s.refused)
				}
				usage := s.usage(l, test.span)
				t.Logf("usage %.2f %%", 100*usage)
				if usage < test.usage {
					t.Errorf("usage %.2f %%, want at least %.2f %%", 100*usage, 100*test.usage)
				}
				for status, n := range got {
					if status != http.StatusOK {
						t.Errorf("%d calls ended with %d, want all 200", n, status)
					}
				}
			})
		})
	}
}
