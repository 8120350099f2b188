package headgate

import (
	"context"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/headgate/headgate/config"
	"github.com/headgate/headgate/internal/lease"
	"github.com/headgate/headgate/internal/mock"
)

// unevenStore is a store to which the way is never twice the same, and that may
// fail an account.
type unevenStore struct {
	*sharedStore
	rndMu sync.Mutex
	rnd   *rand.Rand
	most  time.Duration
	fails string // an account; guarded by rndMu
}

func newUnevenStore(most time.Duration) *unevenStore {
	return &unevenStore{sharedStore: newSharedStore(), rnd: rand.New(rand.NewPCG(1, 2)), most: most}
}

func (s *unevenStore) leg() time.Duration {
	s.rndMu.Lock()
	defer s.rndMu.Unlock()
	return time.Duration(s.rnd.Int64N(int64(s.most) + 1))
}

func (s *unevenStore) Sync(ctx context.Context, account string, r lease.Report) (lease.Reply, error) {
	s.rndMu.Lock()
	fails := account == s.fails
	s.rndMu.Unlock()
	if fails {
		return lease.Reply{}, errAway
	}
	if err := pass(ctx, s.leg()); err != nil {
		return lease.Reply{}, err
	}
	reply, err := s.sharedStore.Sync(ctx, account, r)
	if err != nil {
		return reply, err
	}
	return reply, pass(ctx, s.leg())
}

// A pause that everybody repeats must not grow by the way it takes.
func TestPauseIsNotExtendedByItsEcho(t *testing.T) {
	for _, way := range []time.Duration{2 * time.Millisecond, 50 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			up := newStrict(t, mock.Rules{})
			up.status = func(_ time.Time, n int) int {
				if n == 1 {
					return http.StatusTooManyRequests
				}
				return http.StatusOK
			}
			st := newUnevenStore(way)
			var gates []*Gate
			for range 16 {
				gates = append(gates, openGate(t, retryAfter{up, "10"}, config.Upstream{Limits: []config.Limit{{Limit: "100/1s"}}}, storeOption{st}))
				time.Sleep(100 * time.Millisecond)
			}
			time.Sleep(2 * time.Second)
			st.synced()
			start := time.Now()
			resp, err := gates[0].Client("api").Get("/x")
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			took, syncs := time.Since(start), st.synced()
			if took > 11*time.Second+200*time.Millisecond { // jitter adds to what was asked for
				t.Errorf("with ways of up to %v a pause of 10 s lasted %v", way, took)
			}
			if beats := 16 * int(took/lease.Beat); syncs > beats+100 {
				t.Errorf("with ways of up to %v there were %d syncs in it, want little more than %d beats", way, syncs, beats)
			}
			closeAll(gates)
		})
	}
}

func TestCallsThatComeTogetherWaitForALease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := newStrict(t, mock.Rules{})
		st := newSharedStore()
		st.away = true
		g := openGate(t, up, config.Upstream{Limits: []config.Limit{{Limit: "50/1m"}}}, storeOption{st})
		time.AfterFunc(300*time.Millisecond, func() {
			st.mu.Lock()
			defer st.mu.Unlock()
			st.away = false
		})
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), 55*time.Second)
				defer cancel()
				p, err := g.Acquire(ctx, "api", nil)
				if err != nil {
					t.Errorf("Acquire of ten with 55 s, of 50/1m: %v", err)
					return
				}
				p.Done(OK)
			})
		}
		wg.Wait()
		g.Close()
	})
}

func TestUpstreamThatAReloadTakesAwayIsGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := newStrict(t, mock.Rules{})
		st := newSharedStore()
		api := config.Upstream{URL: "http://api.test", Limits: []config.Limit{{Limit: "50/1s"}}}
		other := config.Upstream{URL: "http://b.test", Limits: []config.Limit{{Limit: "50/1s"}}}
		both := config.Config{Upstreams: map[string]config.Upstream{"api": api, "b": other}}
		one := config.Config{Upstreams: map[string]config.Upstream{"b": other}}
		g, err := Open(t.Context(), both, Base(up), storeOption{st})
		if err != nil {
			t.Fatal(err)
		}
		for range 5 {
			time.Sleep(5 * time.Second)
			for _, cfg := range []config.Config{one, both} {
				if err := g.Reload(cfg); err != nil {
					t.Fatal(err)
				}
			}
		}
		time.Sleep(5 * time.Second)
		for _, u := range g.Status().Upstreams {
			if n := len(u.Credentials[0].Instances); n != 1 {
				t.Errorf("%s: %d instances after it was taken away and brought back, want this one", u.Name, n)
			}
		}
		g.Close()
	})
}

func TestStoreIsLostWhileItFailsAnyCredential(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := newStrict(t, mock.Rules{})
		st := newUnevenStore(time.Millisecond)
		limits := []config.Limit{{Limit: "50/1s"}}
		cfg := config.Config{Upstreams: map[string]config.Upstream{
			"a": {URL: "http://a.test", Limits: limits}, "b": {URL: "http://b.test", Limits: limits},
		}}
		var mu sync.Mutex
		var told []StoreStanding
		g, err := Open(t.Context(), cfg, Base(up), storeOption{st}, WithEvents(Events{StoreChanged: func(c StoreChanged) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, c.Standing)
		}}))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		st.rndMu.Lock()
		st.fails = "b/"
		st.rndMu.Unlock()
		time.Sleep(10 * time.Second)
		if s := g.Status().Store; s.Standing != StoreLost || s.Error == "" {
			t.Errorf("status %+v while a credential fails, want lost, and why", s)
		}
		mu.Lock()
		if len(told) != 2 || told[0] != StoreUp || told[1] != StoreLost {
			t.Errorf("told %v, want up and lost once", told)
		}
		mu.Unlock()
		g.Close()
	})
}

func TestWhoHoldsTooMuchDoesNotPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := newStrict(t, mock.Rules{})
		st := newSharedStore()
		gates := openFleetOf(t, 2, st, up, config.Upstream{Limits: []config.Limit{{Limit: "concurrent:4"}}})
		var held []Permit
		for range 4 {
			p, err := gates[0].Acquire(t.Context(), "api", nil)
			if err != nil {
				t.Fatal(err)
			}
			held = append(held, p)
		}
		st.synced()
		time.AfterFunc(30*time.Second, func() { held[0].Done(OK) })
		start := time.Now()
		p, err := gates[1].Acquire(t.Context(), "api", nil)
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took > 30*time.Second+20*time.Millisecond {
			t.Errorf("what fell free after 30 s was handed over after %v", took)
		}
		if syncs := st.synced(); syncs > 150 { // two instances' beats, and a few
			t.Errorf("%d syncs in 30 s of waiting, want the beats of two instances", syncs)
		}
		p.Done(OK)
		for _, p := range held[1:] {
			p.Done(OK)
		}
		closeAll(gates)
	})
}

func TestIdleCredentialOfACallerIsGivenBackAndForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := newStrict(t, mock.Rules{})
		st := newSharedStore()
		g := openGate(t, up, config.Upstream{Limits: []config.Limit{{Limit: "50/1s"}}}, storeOption{st})
		time.Sleep(3 * time.Second)
		req, err := http.NewRequest("GET", "http://api.test/x", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer theirs")
		resp, err := g.Client("api").Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		time.Sleep(restAfter + 2*time.Second)
		st.synced()
		time.Sleep(time.Minute)
		if syncs := st.synced(); syncs > 125 {
			t.Errorf("%d syncs in a minute, want the beats of the configured credential alone", syncs)
		}
		g.Close()
	})
}

// Other processes must come to the same name; within one the usual hash would.
func TestCallersCredentialsHaveTheSameNameEverywhere(t *testing.T) {
	h := http.Header{"Authorization": {"Bearer sk-1"}}
	if got, want := passedThroughOf("default", h).String(), "caller's 2fn94nbx8uhhf"; got != want {
		t.Errorf("name of a caller's credential = %s, want %s in every process", got, want)
	}
	if a, b := passedThroughOf("default", h), passedThroughOf("other", h); a == b {
		t.Errorf("the same name %s in two namespaces", a)
	}
	if got := passedThroughOf("default", http.Header{}); got != (credentialKey{}) {
		t.Errorf("name of no credential = %v", got)
	}
}
