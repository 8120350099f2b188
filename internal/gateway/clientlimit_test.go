package gateway

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"github.com/headgate/headgate"
	"github.com/headgate/headgate/config"
)

var t0 = time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC)

func limitsOf(t testing.TB, texts ...string) *clientLimits {
	t.Helper()
	var declared []config.Limit
	for _, text := range texts {
		declared = append(declared, config.Limit{Limit: text})
	}
	c, err := newClientLimits(declared, t0)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestClientLimitsSteps(t *testing.T) {
	type step struct {
		at    time.Duration
		cost  headgate.Cost
		body  int64
		end   bool          // a call ends instead
		err   error         // nil: let in
		limit string        // that refused
		wait  time.Duration // until RetryAt; -1: unknown
		field string        // "": not looked at
	}
	for _, c := range []struct {
		name   string
		limits []string
		policy string
		steps  []step
	}{
		{"sliding", []string{"2/10s"}, `"2/10s";q=2;w=10`, []step{
			{at: 0, field: `"2/10s";r=1;t=10`},
			{at: 4 * time.Second, field: `"2/10s";r=0;t=7`},
			{at: 5 * time.Second, err: errClientLimit, limit: "2/10s", wait: 5 * time.Second, field: `"2/10s";r=0;t=6`},
			{at: 10020 * time.Millisecond, field: `"2/10s";r=0;t=4`},
		}},
		{"concurrent", []string{"concurrent:1"}, `"concurrent:1";q=1;qu="concurrent-requests"`, []step{
			{at: 0, field: `"concurrent:1";r=0`},
			{at: 1, err: errClientLimit, limit: "concurrent:1", wait: -1},
			{at: 2, end: true},
			{at: 3},
		}},
		{"bucket", []string{"1/1s burst 2"}, `"1/1s burst 2";q=1;w=1`, []step{
			{at: 0, field: `"1/1s burst 2";r=1;t=1`},
			{at: 0},
			{at: 0, err: errClientLimit, limit: "1/1s burst 2", wait: time.Second},
			{at: time.Second},
		}},
		{"all or none", []string{"5/1m", "1/1s"}, `"5/1m";q=5;w=60, "1/1s";q=1;w=1`, []step{
			{at: 0, field: `"5/1m";r=4;t=60, "1/1s";r=0;t=1`},
			{at: 1, err: errClientLimit, limit: "1/1s", wait: time.Second},
			{at: 2, err: errClientLimit, limit: "1/1s", wait: time.Second, field: `"5/1m";r=4;t=60, "1/1s";r=0;t=1`},
		}},
		{"tokens", []string{"tokens:100/1m"}, `"tokens:100/1m";q=100;qu="tokens";w=60`, []step{
			{at: 0, cost: headgate.Cost{"tokens": 101}, err: headgate.ErrTooHeavy, limit: "tokens:100/1m", wait: -1},
			{at: 0, cost: headgate.Cost{"tokens": 60}, field: `"tokens:100/1m";r=40;t=60`},
			{at: 0, body: 161 * 4, err: errClientLimit, limit: "tokens:100/1m", wait: time.Minute},
			{at: 0, body: 40 * 4},
			{at: 0, cost: headgate.Cost{"tokens": 0}},
		}},
	} {
		l := limitsOf(t, c.limits...)
		if l.policy != c.policy {
			t.Errorf("%s: policy %s, want %s", c.name, l.policy, c.policy)
		}
		for i, s := range c.steps {
			now := t0.Add(s.at)
			if s.end {
				l.end(s.cost)
				continue
			}
			field, err := l.take(now, s.cost, s.body)
			if !errors.Is(err, s.err) {
				t.Errorf("%s, step %d: take = %v, want %v", c.name, i, err, s.err)
				continue
			}
			if s.field != "" && field != s.field {
				t.Errorf("%s, step %d: RateLimit %s, want %s", c.name, i, field, s.field)
			}
			var refused *headgate.RefusedError
			if s.err == nil || !errors.As(err, &refused) {
				continue
			}
			wait := time.Duration(-1)
			if !refused.RetryAt.IsZero() {
				wait = refused.RetryAt.Sub(now)
			}
			if refused.Limit != s.limit || (wait-s.wait).Abs() > s.wait/500+2 {
				t.Errorf("%s, step %d: refused by %q for %v, want %q for %v", c.name, i, refused.Limit, wait, s.limit, s.wait)
			}
		}
	}
}

// TestClientLimitsNeverLetInTooMany plays random histories against a list of
// all calls that were let in.
func TestClientLimitsNeverLetInTooMany(t *testing.T) {
	for seed := range uint64(50) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		const n, most, window = 5, 2, time.Second
		l := limitsOf(t, "5/1s", "concurrent:2")
		var let []time.Time
		var inFlight int
		now := t0
		for range 400 {
			now = now.Add(time.Duration(rnd.IntN(200)) * time.Millisecond)
			if inFlight > 0 && rnd.IntN(2) == 0 {
				l.end(nil)
				inFlight--
			}
			recent := 0
			for _, at := range let {
				if now.Sub(at) < window {
					recent++
				}
			}
			_, err := l.take(now, nil, 0)
			if err == nil && (recent >= n || inFlight >= most) {
				t.Fatalf("seed %d at +%v: let in with %d in the window and %d in flight", seed, now.Sub(t0), recent, inFlight)
			}
			if err == nil {
				let, inFlight = append(let, now), inFlight+1
			} else if late := now.Add(-window / 500); inFlight < most && len(let) >= n && late.Sub(let[len(let)-n]) >= window {
				t.Fatalf("seed %d at +%v: %v with room", seed, now.Sub(t0), err)
			}
		}
	}
}

func TestClientLimitIsTold(t *testing.T) {
	key, hash := NewKey()
	hold, entered := make(chan struct{}), make(chan struct{}, 1)
	door := doorFunc(func(req *http.Request) (*http.Response, error) {
		select {
		case entered <- struct{}{}:
			<-hold
		default: // a later call
		}
		return answer(http.StatusOK, "ok"), nil
	})
	_, base := start(t, door, file(config.Client{Name: "web", Key: hash, Limits: []config.Limit{{Limit: "concurrent:1"}, {Limit: "100/1h"}}}), Options{})
	client := newClient(t, false)
	first := make(chan int, 1)
	go func() {
		res, _ := do(t, client, "GET", base+"/api/", "", "Headgate-Key", key)
		first <- res.StatusCode
	}()
	<-entered
	res, body := do(t, client, "GET", base+"/api/", "", "Headgate-Key", key)
	if res.StatusCode != 429 || res.Header.Get("Retry-After") != "1" {
		t.Errorf("a second call at once = %d %s with Retry-After %q, want 429 and 1", res.StatusCode, body, res.Header.Get("Retry-After"))
	}
	const want = `"concurrent:1";r=0, "100/1h";r=99;t=3600`
	if got := res.Header.Get("RateLimit"); got != want {
		t.Errorf("RateLimit: %s, want %s", got, want)
	}
	close(hold)
	if status := <-first; status != 200 {
		t.Errorf("the first call = %d, want 200", status)
	}
	res, body = do(t, client, "GET", base+"/other/", "", "Headgate-Key", key)
	if res.StatusCode != 404 || res.Header.Get("RateLimit") == "" || res.Header.Get("RateLimit-Policy") == "" {
		t.Errorf("unknown upstream = %d %s with %v, want 404 with RateLimit and RateLimit-Policy", res.StatusCode, body, res.Header)
	}
	res, _ = do(t, client, "GET", base+"/api/", "", "Headgate-Key", key)
	if res.StatusCode != 200 {
		t.Errorf("a call after the first ended = %d, want 200", res.StatusCode)
	}
}
