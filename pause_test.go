package headgate

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/headgate/headgate/config"
)

func TestOneThrottledAnswerPausesEverybody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{latency: 10 * time.Millisecond, answer: func(n int, _ *http.Request) (*http.Response, error) {
			if n == 1 {
				return reply(429, "Retry-After", "3"), nil
			}
			return reply(200), nil
		}}
		var seen collect
		g := openGate(t, f, config.Upstream{}, seen.option())
		t0 := time.Now()
		var wg sync.WaitGroup
		wg.Go(func() { get(t, g) })
		time.Sleep(time.Second)
		for range 20 { // they come while the pause is in force
			wg.Go(func() { get(t, g) })
			wg.Go(func() {
				start := time.Now()
				_, err := try(t.Context(), g, "Headgate-Max-Wait", "1s")
				r := refused(t, err, ErrDeadline)
				if took := time.Since(start); took != 0 {
					t.Errorf("a deadline within the pause was refused after %v, want at once", took)
				}
				if at := r.RetryAt.Sub(t0); at < 3*time.Second || at > 3500*time.Millisecond {
					t.Errorf("RetryAt is %v after the start, want the end of the pause", at)
				}
			})
		}
		wg.Wait()
		at := f.since(t0)
		if len(at) != 22 {
			t.Fatalf("%d attempts, want 22", len(at))
		}
		if at[1] < 3*time.Second {
			t.Errorf("an attempt was made %v after the start, want none in the pause of 3s", at[1])
		}
		// The ramp: one, then two, then four …
		if at[2] == at[1] {
			t.Errorf("two attempts left at %v as the pause ended, want one", at[1])
		}
		if last := at[len(at)-1] - at[1]; last > 20*f.latency {
			t.Errorf("the ramp took %v, want it to be quicker than one by one", last)
		}
		if len(seen.paused) != 1 {
			t.Errorf("told of %d pauses, want 1: %+v", len(seen.paused), seen.paused)
		}
	})
}

// Those who are in line when the pause begins, and can't be let through in
// time, hear so then.
func TestPauseRefusesThoseInLineWhoCannotMakeIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{latency: time.Second, answer: func(n int, _ *http.Request) (*http.Response, error) {
			if n == 1 {
				return reply(429, "Retry-After", "30"), nil
			}
			return reply(200), nil
		}}
		g := openGate(t, f, config.Upstream{Limits: limits("concurrent:1")})
		start := time.Now()
		var wg sync.WaitGroup
		wg.Go(func() { get(t, g) })
		time.Sleep(time.Millisecond)
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			_, err := try(ctx, g)
			refused(t, err, ErrDeadline)
			if took := time.Since(start); took != time.Second {
				t.Errorf("refused after %v, want as the pause began, after 1s", took)
			}
		})
		wg.Go(func() {
			if _, err := try(t.Context(), g, "Headgate-Max-Wait", "40s"); err != nil {
				t.Errorf("who can wait got %v, want an answer", err)
			}
		})
		wg.Wait()
	})
}

func TestPausesAreOnlyExtended(t *testing.T) {
	tests := []struct {
		name  string
		waits []string // Retry-After of the answers to attempts made together
		least time.Duration
		most  time.Duration
	}{
		{"shorter after longer", []string{"9", "2"}, 9 * time.Second, 10 * time.Second},
		{"longer after shorter", []string{"2", "9"}, 9 * time.Second, 10 * time.Second},
		// Attempts from before the pause tell nothing new: 20 refusals of one
		// burst are one reason to wait, not 20.
		{"none told", make([]string, 20), 0, 500 * time.Millisecond},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fake{}
				f.answer = func(n int, _ *http.Request) (*http.Response, error) {
					if n > len(test.waits) {
						return reply(200), nil
					}
					time.Sleep(time.Duration(n) * time.Millisecond) // one after another
					if after := test.waits[n-1]; after != "" {
						return reply(429, "Retry-After", after), nil
					}
					return reply(429), nil
				}
				g := openGate(t, f, config.Upstream{})
				t0 := time.Now()
				var wg sync.WaitGroup
				for range test.waits {
					wg.Go(func() { get(t, g) })
				}
				wg.Wait()
				first := f.since(t0)[len(test.waits)]
				if first < test.least || first > test.most+50*time.Millisecond {
					t.Errorf("the next attempt came after %v, want %v to %v", first, test.least, test.most)
				}
			})
		})
	}
}

// A pause belongs to one credential: another one is used meanwhile, also by
// those who were in line for the first.
func TestPauseOfOneCredentialSendsItsLineToAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{latency: time.Second}
		f.answer = func(n int, req *http.Request) (*http.Response, error) {
			if req.Header.Get("X-Api-Key") == "one" && n <= 2 {
				return reply(429, "Retry-After", "100"), nil
			}
			return reply(200), nil
		}
		g := openGate(t, f, config.Upstream{
			Limits: limits("concurrent:1"),
			Credentials: []config.Credential{
				{Header: "X-Api-Key", Value: config.NewSecret("one")},
				{Header: "X-Api-Key", Value: config.NewSecret("two")},
			},
		})
		start := time.Now()
		var wg sync.WaitGroup
		for range 6 {
			wg.Go(func() { get(t, g) })
		}
		wg.Wait()
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("6 calls took %v, want the free credential to serve them in about 6s", took)
		}
	})
}
