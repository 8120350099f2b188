package headgate

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/headgate/headgate/config"
	"github.com/headgate/headgate/internal/lease"
	"github.com/headgate/headgate/internal/limit"
	"github.com/headgate/headgate/internal/mock"
	"github.com/headgate/headgate/internal/retry"
)

// openUnlimited opens a gate with an upstream, "api", whose limits nobody has
// configured.
func openUnlimited(t *testing.T, send http.RoundTripper, opts ...Option) *Gate {
	t.Helper()
	cfg := config.Config{Upstreams: map[string]config.Upstream{"api": {URL: "http://api.test"}}}
	g, err := Open(t.Context(), cfg, append(opts, Base(send))...)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() { g.Close() })
	return g
}

func TestLimitThatNobodyToldIsFound(t *testing.T) {
	const span, seeds = 30 * time.Second, 3
	for _, test := range []struct {
		limit   string
		usage   float64 // at least, of the first 30 s
		refused float64 // at most, of the attempts
	}{
		{"100/1s", 0.85, 0.01},
		// Of these single runs came to 81 %, by where the windows' bounds fell.
		{"100/1s fixed", 0.75, 0.015},
		{"500/1s", 0.8, 0.01},
		{"100/1s burst 20", 0.85, 0.01},
		// Each time that it finds out it is refused, and that is much of few.
		{"20/1s", 0.75, 0.02},
		// The first burst takes all there is for ten seconds.
		{"300/10s", 0.4, 0.05},
	} {
		t.Run(test.limit, func(t *testing.T) {
			var usage, refused float64
			l := mustLimit(t, test.limit)
			for seed := range uint64(seeds) {
				synctest.Test(t, func(t *testing.T) {
					up := newStrict(t, mock.Rules{Limits: []limit.Limit{l}})
					up.rnd = rand.New(rand.NewPCG(seed, 2))
					if got := saturate(t, openUnlimited(t, up), 60, span); len(got) != 1 || got[http.StatusOK] == 0 {
						t.Errorf("seed %d: %v, want all 200", seed, got)
					}
					usage += up.usage(l, span) / seeds
					refused += float64(up.refused) / float64(len(up.attempts)) / seeds
				})
			}
			t.Logf("%s: usage %.1f %%, refused %.2f %%", test.limit, 100*usage, 100*refused)
			if usage < test.usage || refused > test.refused {
				t.Errorf("%s: usage %.1f %%, refused %.2f %%, want at least %.0f %% and at most %.0f %%", test.limit, 100*usage, 100*refused, 100*test.usage, 100*test.refused)
			}
		})
	}
}

// telling tells its quota as the drafts 03 to 06 do, in windows that begin with
// the first request.
type telling struct {
	*strict
	n      int
	window time.Duration

	mu      sync.Mutex
	until   time.Time
	used    int
	refused int
	good    []time.Time
}

func (s *telling) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := s.strict.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if now.After(s.until) {
		s.until, s.used = now.Add(s.window), 0
	}
	s.used++
	left := max(s.n-s.used, 0)
	resp.Header.Set("RateLimit-Limit", strconv.Itoa(s.n))
	resp.Header.Set("RateLimit-Policy", fmt.Sprintf("%d;w=%d", s.n, int(s.window.Seconds())))
	resp.Header.Set("RateLimit-Remaining", strconv.Itoa(left))
	reset := strconv.Itoa(int((s.until.Sub(now) + time.Second - 1) / time.Second))
	resp.Header.Set("RateLimit-Reset", reset)
	if s.used > s.n {
		s.refused++
		resp.StatusCode = http.StatusTooManyRequests
		resp.Header.Set("Retry-After", reset)
	} else {
		s.good = append(s.good, now)
	}
	return resp, nil
}

func TestLimitThatAnswersTellIsUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := &telling{strict: newStrict(t, mock.Rules{}), n: 80, window: 2 * time.Second}
		var learned []LimitLearned
		g := openUnlimited(t, up, WithEvents(Events{LimitLearned: func(e LimitLearned) { learned = append(learned, e) }}))
		start := time.Now()
		got := saturate(t, g, 40, 10*time.Second)
		n := 0
		for _, at := range up.good {
			if d := at.Sub(start); d > 2*time.Second && d < 10*time.Second {
				n++
			}
		}
		usage := float64(n) / (80 * 4)
		t.Logf("usage %.1f %%, %d refused", 100*usage, up.refused)
		if usage < 0.85 || up.refused > 12 {
			t.Errorf("usage %.1f %%, %d refused, want at least 85 %% and at most 12", 100*usage, up.refused)
		}
		if len(got) != 1 {
			t.Errorf("%v, want all 200", got)
		}
		want := LimitLearned{Upstream: "api", Limit: "80/2s", Source: "told", InForce: 80, Window: 2 * time.Second}
		if len(learned) != 1 || learned[0] != want {
			t.Errorf("learned %+v, want %+v once", learned, want)
		}
		l := g.Status().Upstreams[0].Credentials[0].Limits
		if len(l) != 1 || l[0].Limit != "80/2s" || l[0].Source != "told" || l[0].Confidence != "high" || l[0].Max != 80 || l[0].WindowMS != 2000 {
			t.Errorf("status %+v, want 80/2s, told, of high confidence", l)
		}
	})
}

// Another limit than those that are told refuses: the upstream says that half
// of its quota is left.
func TestUpstreamThatRefusesWithQuotaLeftIsSentLess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := mustLimit(t, "50/1s")
		up := &telling{strict: newStrict(t, mock.Rules{Limits: []limit.Limit{l}}), n: 100, window: time.Second}
		g := openUnlimited(t, up)
		const span = 30 * time.Second
		got := saturate(t, g, 40, span)
		usage, refused := up.strict.usage(l, span), float64(up.strict.refused)/float64(len(up.attempts))
		t.Logf("usage %.1f %%, refused %.2f %%", 100*usage, 100*refused)
		// Each refusal asks to wait for a reset that is not of what refused.
		if usage < 0.6 || refused > 0.05 || len(got) != 1 {
			t.Errorf("usage %.1f %%, refused %.2f %%, %v, want at least 60 %%, at most 5 %%, all 200", 100*usage, 100*refused, got)
		}
	})
}

func TestPresetOfANamedDialectIsTheStart(t *testing.T) {
	cfg := config.Config{Upstreams: map[string]config.Upstream{
		"named":      {URL: "http://a.test", Dialect: "notion"},
		"methods":    {URL: "http://b.test", Dialect: "anthropic"},
		"configured": {URL: "http://c.test", Dialect: "notion", Limits: []config.Limit{{Limit: "7/1s"}}, Retry: config.Retry{Methods: "none"}},
		"auto":       {URL: "http://api.notion.com"},
	}}
	g, err := Open(t.Context(), cfg, Base(newStrict(t, mock.Rules{})))
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	for name, want := range map[string]struct {
		limits  string
		methods retry.Methods
	}{
		"named": {"180/1m told", retry.Idempotent}, "methods": {"learned learned", retry.Any},
		"configured": {"7/1s configured", retry.Never}, "auto": {"learned learned", retry.Safe},
	} {
		u := (*g.upstreams.Load())[name]
		s := u.desk.mu.ledger.Book("x", time.Now()).Status(time.Now())
		if got := s[0].Text + " " + s[0].Rule.Source.String(); len(s) != 1 || got != want.limits || u.policy.Methods != want.methods {
			t.Errorf("%s: %s, methods %v, want %s, %v", name, got, u.policy.Methods, want.limits, want.methods)
		}
	}
}

func TestForeignUserOfTheQuotaIsMadeRoomFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := mustLimit(t, "100/1s")
		up := newStrict(t, mock.Rules{Limits: []limit.Limit{l}})
		g := openGate(t, up, config.Upstream{Limits: []config.Limit{{Limit: "100/1s"}}})
		span := 60 * time.Second
		var mu sync.Mutex
		var wg sync.WaitGroup
		theirs, refused := 0, 0
		start := time.Now()
		wg.Go(func() {
			for time.Since(start) < span {
				wg.Go(func() {
					req, _ := http.NewRequestWithContext(t.Context(), "GET", "http://api.test/theirs", nil)
					resp, err := up.RoundTrip(req.WithContext(httptrace.WithClientTrace(req.Context(), quietTrace)))
					mu.Lock()
					defer mu.Unlock()
					if err == nil && resp.StatusCode == http.StatusOK {
						theirs++
					} else {
						refused++
					}
				})
				time.Sleep(30 * time.Millisecond)
			}
		})
		got := saturate(t, g, 60, span)
		wg.Wait()
		ours := up.refused - refused
		usage := up.usage(l, span)
		rate := float64(ours) / float64(len(up.attempts)-theirs-refused)
		t.Logf("usage of the whole %.1f %%, ours refused %.2f %% (%d), theirs %d answered and %d refused", 100*usage, 100*rate, ours, theirs, refused)
		if usage < 0.95 || rate > 0.01 || theirs < 33*60*9/10 {
			t.Errorf("usage %.1f %%, refused %.2f %%, theirs %d, want at least 95 %%, at most 1 %%, at least 1782", 100*usage, 100*rate, theirs)
		}
		if len(got) != 1 {
			t.Errorf("%v, want all 200", got)
		}
	})
}

var quietTrace = &httptrace.ClientTrace{
	GetConn: func(string) {}, GotConn: func(httptrace.GotConnInfo) {}, WroteRequest: func(httptrace.WroteRequestInfo) {},
}

func TestFleetLearnsTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := mustLimit(t, "200/1s")
		up := newStrict(t, mock.Rules{Limits: []limit.Limit{l}})
		st := newSharedStore()
		var gates []*Gate
		for range 4 {
			gates = append(gates, openUnlimited(t, up, storeOption{st}))
			time.Sleep(2 * time.Millisecond)
		}
		time.Sleep(lease.Grace + lease.Beat)
		const span = 30 * time.Second
		for i, got := range saturateAll(t, gates, 20, span) {
			if len(got) != 1 {
				t.Errorf("instance %d: %v, want all 200", i, got)
			}
		}
		usage, refused := up.usage(l, span), float64(up.refused)/float64(len(up.attempts))
		t.Logf("usage %.1f %%, refused %.2f %%", 100*usage, 100*refused)
		if usage < 0.7 || refused > 0.02 { // some chance is in it
			t.Errorf("usage %.1f %%, refused %.2f %%, want at least 70 %% and at most 2 %%", 100*usage, 100*refused)
		}
		before := gates[0].Status().Upstreams[0].Credentials[0].Limits[0].InForce
		closeAll(gates)
		time.Sleep(time.Hour)
		g := openUnlimited(t, up, storeOption{st})
		time.Sleep(lease.Grace + lease.Beat)
		if got := g.Status().Upstreams[0].Credentials[0].Limits[0].InForce; got < before*9/10 || got > before*11/10 {
			t.Errorf("a fresh instance has %d in force, want the %d that others had learned", got, before)
		}
		g.Close()
	})
}
