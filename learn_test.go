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
		limit        string
		countRefused bool
		far          time.Duration // added to each arrival
		usage        float64       // at least, of the first 30 s
		refused      float64       // at most, of the attempts
	}{
		{limit: "100/1s", usage: 0.92, refused: 0.006},
		{limit: "100/1s", countRefused: true, usage: 0.92, refused: 0.006},
		{limit: "100/1s", far: 300 * time.Millisecond, usage: 0.87, refused: 0.02},
		{limit: "100/1s fixed", usage: 0.92, refused: 0.01},
		{limit: "300/1s", usage: 0.9, refused: 0.004},
		{limit: "500/1s", usage: 0.88, refused: 0.004},
		{limit: "50/1s burst 10", usage: 0.95, refused: 0.01},
		{limit: "100/1s burst 20", usage: 0.95, refused: 0.01},
		// It begins above these, and each time that it finds out it is refused,
		// and that is much of few.
		{limit: "20/1s", usage: 0.86, refused: 0.02},
		{limit: "20/1s fixed", usage: 0.85, refused: 0.03},
		// The first burst takes all there is for the rest of the window.
		{limit: "37/2s", usage: 0.85, refused: 0.033},
		{limit: "80/2s fixed", usage: 0.9, refused: 0.03},
		{limit: "300/10s", usage: 0.7, refused: 0.04},
	} {
		name := fmt.Sprintf("%s, refused count %v, %v away", test.limit, test.countRefused, test.far)
		t.Run(name, func(t *testing.T) {
			var usage, refused float64
			l := mustLimit(t, test.limit)
			for seed := range uint64(seeds) {
				synctest.Test(t, func(t *testing.T) {
					up := newStrict(t, mock.Rules{Limits: []limit.Limit{l}, CountRefused: test.countRefused})
					up.rnd = rand.New(rand.NewPCG(seed, 2))
					up.from, up.to = up.from+test.far, up.to+test.far
					if got := saturate(t, openUnlimited(t, up), 60, span); len(got) != 1 || got[http.StatusOK] == 0 {
						t.Errorf("seed %d: %v, want all 200", seed, got)
					}
					usage += up.usage(l, span) / seeds
					refused += float64(up.refused) / float64(len(up.attempts)) / seeds
				})
			}
			t.Logf("%s: usage %.1f %%, refused %.2f %%", name, 100*usage, 100*refused)
			if usage < test.usage || refused > test.refused {
				t.Errorf("%s: usage %.1f %%, refused %.2f %%, want at least %.0f %% and at most %.1f %%", name, 100*usage, 100*refused, 100*test.usage, 100*test.refused)
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

// stranger uses an upstream besides us, without a gate.
type stranger struct {
	up             *strict
	every          time.Duration
	random, retry  bool
	mu             sync.Mutex
	asked, refused int // calls, and attempts that were refused
	accepted       int
}

// run makes calls for a span.
func (s *stranger) run(t *testing.T, seed uint64, span time.Duration) {
	rnd := rand.New(rand.NewPCG(seed, 9))
	var calls sync.WaitGroup
	defer calls.Wait()
	start := time.Now()
	for next := start; time.Since(start) < span; time.Sleep(time.Until(next)) {
		s.asked++
		calls.Go(func() { s.call(t) })
		gap := s.every
		if s.random {
			gap = time.Duration(rnd.ExpFloat64() * float64(gap))
		}
		next = next.Add(gap)
	}
}

func (s *stranger) call(t *testing.T) {
	for try := range 6 {
		req, _ := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), quietTrace), "GET", "http://api.test/theirs", nil)
		resp, err := s.up.RoundTrip(req)
		s.mu.Lock()
		ok := err == nil && resp.StatusCode == http.StatusOK
		if ok {
			s.accepted++
		} else {
			s.refused++
		}
		s.mu.Unlock()
		if ok || !s.retry {
			return
		}
		time.Sleep(100 * time.Millisecond << try)
	}
}

func TestForeignUserOfTheQuotaIsMadeRoomFor(t *testing.T) {
	const span, lead, seeds = 30 * time.Second, 2 * time.Second, 3
	for _, test := range []struct {
		limit         string
		silent        bool // nobody configured it
		random, retry bool
		usage         float64 // at least, of the whole
		refused       float64 // at most, of ours
	}{
		{limit: "50/1s", usage: 0.95, refused: 0.009},
		{limit: "100/1s", usage: 0.955, refused: 0.006},
		{limit: "100/1s fixed", usage: 0.95, refused: 0.014},
		{limit: "100/1s", retry: true, usage: 0.955, refused: 0.006},
		{limit: "300/1s", usage: 0.96, refused: 0.004},
		{limit: "200/2s", usage: 0.95, refused: 0.005},
		{limit: "100/1s", silent: true, usage: 0.94, refused: 0.008},
		// What comes at random fills the window by chance, one second in three.
		{limit: "100/1s", random: true, usage: 0.88, refused: 0.014},
		{limit: "300/1s", random: true, usage: 0.92, refused: 0.006},
	} {
		name := fmt.Sprintf("%s, silent %v, random %v, retrying %v", test.limit, test.silent, test.random, test.retry)
		t.Run(name, func(t *testing.T) {
			l := mustLimit(t, test.limit)
			var usage, ours, theirs float64
			for seed := range uint64(seeds) {
				synctest.Test(t, func(t *testing.T) {
					up := newStrict(t, mock.Rules{Limits: []limit.Limit{l}})
					up.rnd = rand.New(rand.NewPCG(seed, 2))
					g := openUnlimited(t, up)
					if !test.silent {
						g = openGate(t, up, config.Upstream{Limits: []config.Limit{{Limit: test.limit}}})
					}
					other := &stranger{up: up, every: 3 * l.Window / time.Duration(l.N), random: test.random, retry: test.retry}
					var wg sync.WaitGroup
					wg.Go(func() { other.run(t, seed, lead+span) })
					time.Sleep(lead)
					up.mu.Lock()
					up.accepted = nil
					up.mu.Unlock()
					if got := saturate(t, g, 60, span); len(got) != 1 || got[http.StatusOK] == 0 {
						t.Errorf("seed %d: %v, want all 200", seed, got)
					}
					wg.Wait()
					usage += up.usage(l, span) / seeds
					ours += float64(up.refused-other.refused) / float64(len(up.attempts)-other.accepted-other.refused) / seeds
					theirs += float64(other.accepted) / float64(other.asked) / seeds
				})
			}
			t.Logf("%s: usage of the whole %.1f %%, ours refused %.2f %%, of theirs %.1f %% answered", name, 100*usage, 100*ours, 100*theirs)
			if usage < test.usage || ours > test.refused || theirs < 0.95 {
				t.Errorf("%s: usage of the whole %.1f %%, ours refused %.2f %%, of theirs %.1f %% answered, want at least %.1f %%, at most %.1f %%, at least 95 %%",
					name, 100*usage, 100*ours, 100*theirs, 100*test.usage, 100*test.refused)
			}
		})
	}
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
		if usage < 0.9 || refused > 0.006 {
			t.Errorf("usage %.1f %%, refused %.2f %%, want at least 90 %% and at most 0.6 %%", 100*usage, 100*refused)
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
