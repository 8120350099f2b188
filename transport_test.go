package headgate

import (
	"context"
	"errors"
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

func TestTransportPanicsOnABadLimit(t *testing.T) {
	defer func() {
		if p, _ := recover().(string); !strings.Contains(p, "50/1min") {
			t.Errorf("panicked with %q, want the limit in it", p)
		}
	}()
	Transport(Limit("50/1min"))
}

func TestTransportHoldsAHundredGoroutinesToItsLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := mustLimit(t, "50/1m")
		s := newStrict(t, mock.Rules{Limits: []limit.Limit{l}})
		client := &http.Client{Transport: Transport(Limit("50/1m"), Base(s))}
		start := time.Now()
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				for range 2 {
					resp, err := client.Get("http://api.test/x")
					if err != nil {
						if time.Since(start) < 2*time.Minute {
							refused(t, err, ErrDeadline)
						}
						continue
					}
					resp.Body.Close()
					if resp.StatusCode != 200 {
						t.Errorf("got %d, want 200", resp.StatusCode)
					}
				}
			})
		}
		wg.Wait()
		if s.refused != 0 {
			t.Errorf("%d attempts were refused, want none", s.refused)
		}
		if n := len(s.accepted); n < 150 {
			t.Errorf("%d calls in %v, want the quota used", n, time.Since(start))
		}
	})
}

// A Transport sends requests where they say, and knows nothing of upstreams.
func TestTransportSendsRequestsWhereTheySay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		client := &http.Client{Transport: Transport(Base(f))}
		req := request(t.Context(), "GET", "http://other.test:8080/a%2Fb?q=1", "")
		req.Host = "name.test"
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if sent := f.requests[0]; sent.URL.String() != "http://other.test:8080/a%2Fb?q=1" || sent.Host != "name.test" {
			t.Errorf("sent to %s as %s, want it as the request says", sent.URL, sent.Host)
		}
	})
}

// Without Unwatched a call ends with its context; with it, once its body is
// closed. How it ended is the same.
func TestUnwatchedCallsEndWhenTheirBodiesAreClosed(t *testing.T) {
	for _, watched := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			var seen collect
			g := openGate(t, &fake{}, config.Upstream{Limits: limits("concurrent:1")}, seen.option())
			rt, held := g.RoundTripper("api"), 0
			if !watched {
				rt, held = Unwatched(rt), 1
			}
			ctx, cancel := context.WithCancel(t.Context())
			resp, err := rt.RoundTrip(request(ctx, "GET", "/x", ""))
			if err != nil {
				t.Fatal(err)
			}
			cancel()
			synctest.Wait()
			if n := inFlight(g); n != held {
				t.Errorf("watched %v: %d permits in flight before Close, want %d", watched, n, held)
			}
			resp.Body.Close()
			free(t, g)
			if len(seen.ended) != 1 || seen.ended[0].Outcome != OutcomeCancelled || !errors.Is(seen.ended[0].Err, context.Canceled) {
				t.Errorf("watched %v: told %+v, want one call, cancelled", watched, seen.ended)
			}
		})
	}
}

func TestUnwatchedLeavesOtherRoundTrippersAlone(t *testing.T) {
	if rt := Unwatched(http.DefaultTransport); rt != http.DefaultTransport {
		t.Errorf("Unwatched of an http.Transport = %v, want itself", rt)
	}
}
