package headgate

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/headgate/headgate/config"
	"github.com/headgate/headgate/internal/breaker"
)

// duplex is the body of an answer that switches protocols.
type duplex struct {
	bytes.Buffer
	mu     sync.Mutex
	closed bool
	half   bool
}

func (d *duplex) Close() error      { d.mu.Lock(); defer d.mu.Unlock(); d.closed = true; return nil }
func (d *duplex) CloseWrite() error { d.half = true; return nil }
func (d *duplex) isClosed() bool    { d.mu.Lock(); defer d.mu.Unlock(); return d.closed }

func TestAnswersEndTheirPermitOnce(t *testing.T) {
	endless := func(int, *http.Request) (*http.Response, error) {
		pieces := make(chan any, 3)
		pieces <- "data: 1\n\n"
		pieces <- "data: 2\n\n"
		return stream(pieces), nil
	}
	breaking := func(int, *http.Request) (*http.Response, error) {
		pieces := make(chan any, 3)
		pieces <- "data: 1\n\n"
		pieces <- errBroken
		return stream(pieces), nil
	}
	tests := []struct {
		name    string
		method  string
		answer  func(int, *http.Request) (*http.Response, error)
		use     func(t *testing.T, resp *http.Response, cancel func())
		outcome string
		still   bool // the permit is held until use
	}{
		{name: "read to the end", still: true, outcome: OutcomeOK, use: func(t *testing.T, resp *http.Response, _ func()) {
			io.Copy(io.Discard, resp.Body)
		}},
		{name: "read and closed", still: true, outcome: OutcomeOK, use: func(t *testing.T, resp *http.Response, _ func()) {
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			resp.Body.Close()
		}},
		{name: "closed early", answer: endless, still: true, outcome: OutcomeOK, use: func(t *testing.T, resp *http.Response, _ func()) {
			resp.Body.Close()
		}},
		{name: "cancelled while reading", answer: endless, still: true, outcome: OutcomeCancelled, use: func(t *testing.T, resp *http.Response, cancel func()) {
			time.AfterFunc(time.Second, cancel)
			if _, err := io.Copy(io.Discard, resp.Body); !errors.Is(err, context.Canceled) {
				t.Errorf("read ended with %v, want the context's error", err)
			}
			resp.Body.Close()
		}},
		{name: "cancelled, never closed", answer: endless, still: true, outcome: OutcomeCancelled, use: func(t *testing.T, _ *http.Response, cancel func()) {
			cancel()
		}},
		{name: "error in mid-body", answer: breaking, still: true, outcome: OutcomeOverloaded, use: func(t *testing.T, resp *http.Response, _ func()) {
			if _, err := io.Copy(io.Discard, resp.Body); !errors.Is(err, errBroken) {
				t.Errorf("read ended with %v, want %v", err, errBroken)
			}
		}},
		{name: "HEAD", method: "HEAD", outcome: OutcomeOK, answer: func(int, *http.Request) (*http.Response, error) {
			resp := reply(200, "Content-Length", "1000")
			resp.ContentLength, resp.Body = 1000, http.NoBody
			return resp, nil
		}},
		{name: "204", outcome: OutcomeOK, answer: func(int, *http.Request) (*http.Response, error) {
			resp := reply(204)
			resp.ContentLength, resp.Body = 0, http.NoBody
			return resp, nil
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var seen collect
				g := openGate(t, &fake{answer: test.answer}, config.Upstream{Limits: limits("concurrent:1")}, seen.option())
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				method := test.method
				if method == "" {
					method = "GET"
				}
				resp, err := g.RoundTripper("api").RoundTrip(request(ctx, method, "/x", ""))
				if err != nil {
					t.Fatal(err)
				}
				if held := inFlight(g) == 1; held != test.still {
					t.Errorf("permit is held: %v, want %v", held, test.still)
				}
				if test.use != nil {
					test.use(t, resp, cancel)
				}
				synctest.Wait()
				free(t, g)
				if len(seen.ended) != 1 || seen.ended[0].Outcome != test.outcome {
					t.Errorf("told %+v, want one call that ended %s", seen.ended, test.outcome)
				}
			})
		})
	}
}

func TestUpgradesHoldTheirPermitUntilClosed(t *testing.T) {
	for _, byContext := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			conn := &duplex{}
			g := openGate(t, &fake{answer: func(int, *http.Request) (*http.Response, error) {
				resp := reply(101, "Upgrade", "echo")
				resp.ContentLength, resp.Body = 0, conn
				return resp, nil
			}}, config.Upstream{Limits: limits("concurrent:1")})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			resp, err := g.RoundTripper("api").RoundTrip(request(ctx, "GET", "/x", ""))
			if err != nil {
				t.Fatal(err)
			}
			rw, ok := resp.Body.(io.ReadWriteCloser)
			if !ok {
				t.Fatalf("body of a switched protocol is a %T, want one that can be written to", resp.Body)
			}
			io.WriteString(rw, "ping")
			if err := rw.(interface{ CloseWrite() error }).CloseWrite(); err != nil || !conn.half {
				t.Errorf("CloseWrite = %v, want it passed on", err)
			}
			if got := conn.String(); got != "ping" {
				t.Errorf("the upstream got %q, want ping", got)
			}
			time.Sleep(time.Hour) // silence is no fault
			if n := inFlight(g); n != 1 {
				t.Errorf("%d permits in flight, want 1", n)
			}
			if byContext {
				cancel()
			} else {
				rw.Close()
			}
			synctest.Wait()
			if !conn.isClosed() {
				t.Error("the connection was not closed")
			}
			free(t, g)
		})
	}
}

func TestUnwrittenPermitsGoBackAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dead := roundTrips(func(req *http.Request) (*http.Response, error) {
			traceOf(req).GetConn("api.test:80")
			return nil, errors.New("dial: refused")
		})
		g := openGate(t, dead, config.Upstream{Limits: limits("1/1h"), Retry: config.Retry{Attempts: 1}})
		_, err := g.Client("api").Post("/x", "text/plain", bytes.NewReader([]byte("a")))
		var unreachable *UnreachableError
		if !errors.As(err, &unreachable) || unreachable.Attempts != 1 || unreachable.Upstream != "api" {
			t.Errorf("got %v, want an UnreachableError of one attempt", err)
		}
		free(t, g)
	})
}

func TestCallersWhoLeaveTakeNothingAlong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := openGate(t, &fake{}, config.Upstream{Limits: limits("10/10s")})
		for range 10 {
			get(t, g)
		}
		start := time.Now()
		leave, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				if _, err := try(leave, g); !errors.Is(err, context.Canceled) {
					t.Errorf("who left got %v, want %v", err, context.Canceled)
				}
			})
		}
		var got time.Duration
		wg.Go(func() {
			get(t, g)
			got = time.Since(start)
		})
		time.Sleep(time.Second)
		cancel()
		wg.Wait()
		if most := 10*time.Second + 300*time.Millisecond; got > most {
			t.Errorf("the call behind 100 who left took %v, want at most %v", got, most)
		}
	})
}

// A permit may be granted just as its caller leaves.
func TestCallersWhoLeaveAsTheyAreCalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := openGate(t, &fake{}, config.Upstream{Limits: limits("concurrent:1")})
		for range 200 {
			release := occupy(t, g)
			ctx, cancel := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			wg.Go(func() {
				if p, err := g.Acquire(ctx, "api", nil); err == nil {
					p.Done(OK)
				}
			})
			synctest.Wait()
			wg.Go(release)
			wg.Go(cancel)
			wg.Wait()
			if n := inFlight(g); n != 0 {
				t.Fatalf("%d permits are left in flight", n)
			}
		}
	})
}

func TestDoneCountsOnce(t *testing.T) {
	for _, o := range []Outcome{OK, Throttled, Overloaded, Cancelled} {
		t.Run(o.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var seen collect
				g := openGate(t, &fake{}, config.Upstream{
					Limits:  limits("concurrent:1"),
					Breaker: config.Breaker{OpenAfter: config.OpenAfter{Throttled: 2, In: time.Hour}, Failures: config.Failures{Share: 1, Of: 2}},
				}, seen.option())
				p, err := g.Acquire(t.Context(), "api", nil)
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Millisecond)
				again := p
				p.Done(o)
				p.Done(o)
				again.Done(Throttled)
				if len(seen.changed) != 0 {
					t.Errorf("the breaker went %+v, want it to have heard one outcome", seen.changed)
				}
				if want := btoi(o == Throttled); len(seen.paused) != want {
					t.Errorf("told of pauses %+v, want %d", seen.paused, want)
				}
				time.Sleep(time.Minute)
				free(t, g)
			})
		})
	}
	Permit{}.Done(OK)
	Permit{}.Settle(Cost{"tokens": 1})
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func TestDoneTellsTheBreaker(t *testing.T) {
	tests := []struct {
		outcomes []Outcome
		state    breaker.State
	}{
		{[]Outcome{Overloaded, Overloaded}, breaker.Open},
		{[]Outcome{Overloaded, Cancelled, OK}, breaker.Closed},
		{[]Outcome{Throttled, Throttled}, breaker.Closed},
		{[]Outcome{Throttled, Throttled, Throttled}, breaker.Open},
	}
	for _, test := range tests {
		synctest.Test(t, func(t *testing.T) {
			g := openGate(t, &fake{}, config.Upstream{
				Breaker: config.Breaker{OpenAfter: config.OpenAfter{Throttled: 3, In: time.Hour}, Failures: config.Failures{Share: 1, Of: 2}},
			})
			for _, o := range test.outcomes {
				p, err := g.Acquire(t.Context(), "api", nil)
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Millisecond)
				p.Done(o)
			}
			if got := g.Status().Upstreams[0].Credentials[0].Breaker; got != test.state.String() {
				t.Errorf("after %v the breaker is %s, want %s", test.outcomes, got, test.state)
			}
		})
	}
}

func TestSettledDebtDelaysTheNext(t *testing.T) {
	tests := []struct {
		actual int64
		least  time.Duration // until 100 tokens may be had again
		most   time.Duration
	}{
		{actual: 10, least: 0, most: 0},
		{actual: 100, least: 0, most: 0},
		{actual: 950, least: 10 * time.Second, most: 11 * time.Second},
	}
	for _, test := range tests {
		synctest.Test(t, func(t *testing.T) {
			g := openGate(t, &fake{}, config.Upstream{Limits: limits("tokens:1000/10s")})
			p, err := g.Acquire(t.Context(), "api", Cost{"tokens": 100})
			if err != nil {
				t.Fatal(err)
			}
			p.Settle(Cost{"tokens": test.actual})
			p.Done(OK)
			start := time.Now()
			next, err := g.Acquire(t.Context(), "api", Cost{"tokens": 100})
			if err != nil {
				t.Fatal(err)
			}
			next.Done(OK)
			if waited := time.Since(start); waited < test.least || waited > test.most {
				t.Errorf("after %d tokens the next 100 came in %v, want %v to %v", test.actual, waited, test.least, test.most)
			}
		})
	}
}

func TestAcquireRefuses(t *testing.T) {
	cause := errors.New("shutting down")
	over, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	tests := []struct {
		name     string
		ctx      context.Context
		upstream string
		cost     Cost
		err      error
	}{
		{name: "unknown upstream", upstream: "none", err: ErrUnknownUpstream},
		{name: "context over", ctx: over, err: cause},
		{name: "too heavy", cost: Cost{"tokens": 101}, err: ErrTooHeavy},
		{name: "negative cost", cost: Cost{"tokens": -1}, err: errAny},
		{name: "no request", cost: Cost{"requests": 0}, err: errAny},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := openGate(t, &fake{}, config.Upstream{Limits: limits("tokens:100/1m", "concurrent:1")})
				if test.ctx == nil {
					test.ctx = t.Context()
				}
				if test.upstream == "" {
					test.upstream = "api"
				}
				p, err := g.Acquire(test.ctx, test.upstream, test.cost)
				if err == nil || test.err != errAny && !errors.Is(err, test.err) {
					t.Errorf("got %v, want %v", err, test.err)
				}
				p.Done(OK)
				free(t, g)
			})
		})
	}
}

func TestCloseEndsWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := openGate(t, &fake{answer: sequence(503)}, config.Upstream{
			Limits: limits("concurrent:2"), Retry: config.Retry{Base: config.Duration(time.Hour), Cap: config.Duration(time.Hour), Jitter: "none"},
			Line: config.Line{MaxWait: config.Duration(24 * time.Hour)},
		})
		release := occupy(t, g)
		var wg sync.WaitGroup
		wg.Go(func() { // between two attempts
			if _, err := try(t.Context(), g); !errors.Is(err, ErrClosed) {
				t.Errorf("call between attempts got %v, want %v", err, ErrClosed)
			}
		})
		time.Sleep(time.Second)
		defer occupy(t, g)()
		wg.Go(func() { // in line
			if _, err := g.Acquire(t.Context(), "api", nil); !errors.Is(err, ErrClosed) {
				t.Errorf("Acquire in line got %v, want %v", err, ErrClosed)
			}
		})
		synctest.Wait()
		g.Close()
		g.Close()
		wg.Wait()
		if _, err := g.Acquire(t.Context(), "api", nil); !errors.Is(err, ErrClosed) {
			t.Errorf("Acquire after Close got %v, want %v", err, ErrClosed)
		}
		if err := g.Reload(config.Config{}); !errors.Is(err, ErrClosed) {
			t.Errorf("Reload after Close got %v, want %v", err, ErrClosed)
		}
		release() // an attempt in flight goes on, and ends
	})
}

func TestAcquireAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	cfg := config.Config{Upstreams: map[string]config.Upstream{
		"api": {URL: "http://api.test", Limits: limits("1000000/1s", "concurrent:8", "tokens:1000000000/1m")},
	}}
	g, err := Open(t.Context(), cfg, Base(&fake{}))
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	cost := Cost{"tokens": 10}
	ctx := t.Context()
	allocs := testing.AllocsPerRun(1000, func() {
		p, err := g.Acquire(ctx, "api", cost)
		if err != nil {
			t.Fatal(err)
		}
		p.Done(OK)
	})
	if allocs != 0 {
		t.Errorf("Acquire and Done allocate %v times, want 0", allocs)
	}
}
