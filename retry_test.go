package headgate

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/headgate/headgate/config"
	"github.com/headgate/headgate/internal/mock"
)

// TestRetriesByMethod tells which calls get a second attempt after what.
func TestRetriesByMethod(t *testing.T) {
	const (
		throttled  = "throttled"
		overloaded = "overloaded"
		unsent     = "unsent"
		broken     = "broken off"
		timeout    = "timeout"
	)
	all := []string{throttled, overloaded, unsent, broken, timeout}
	tests := []struct {
		methods string
		method  string
		key     bool
		retried []string
	}{
		{"", "GET", false, all},
		{"", "HEAD", false, all},
		{"", "PUT", false, all},
		{"", "DELETE", false, all},
		{"", "POST", false, []string{throttled, unsent}},
		{"", "PATCH", false, []string{throttled, unsent}},
		{"", "POST", true, all},
		{"any", "POST", false, all},
		{"idempotent", "POST", false, []string{throttled, unsent}},
		{"idempotent", "POST", true, all},
		{"idempotent", "GET", false, all},
		{"none", "GET", false, nil},
		{"none", "POST", true, nil},
	}
	for _, test := range tests {
		for _, failure := range all {
			t.Run(fmt.Sprintf("%s/%s/%v/%s", test.methods, test.method, test.key, failure), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					attempts := 0
					send := roundTrips(func(req *http.Request) (*http.Response, error) {
						if req.Body != nil {
							req.Body.Close()
						}
						if attempts++; attempts > 1 {
							return reply(200), nil
						}
						traceOf(req).GetConn("api.test:80")
						if failure == unsent {
							return nil, errBroken
						}
						time.Sleep(time.Millisecond)
						switch failure {
						case throttled:
							return reply(429), nil
						case overloaded:
							return reply(503), nil
						}
						traceOf(req).WroteRequest(wrote)
						if failure == timeout {
							<-req.Context().Done()
							return nil, req.Context().Err()
						}
						return nil, errBroken
					})
					if failure != unsent {
						inner := send
						send = func(req *http.Request) (*http.Response, error) {
							traceOf(req).GotConn(gotConn)
							return inner(req)
						}
					}
					g := openGate(t, send, config.Upstream{Retry: config.Retry{Methods: test.methods}})
					req := request(t.Context(), test.method, "/x", "text")
					if test.key {
						req.Header.Set("Idempotency-Key", "1")
					}
					resp, err := g.RoundTripper("api").RoundTrip(req)
					if err == nil {
						resp.Body.Close()
					}
					want := 1
					if slices.Contains(test.retried, failure) {
						want = 2
						if err != nil || resp.StatusCode != 200 {
							t.Errorf("got %v and %v, want 200", resp, err)
						}
					} else if failure == timeout && !errors.Is(err, ErrAttemptTimeout) {
						t.Errorf("got %v, want %v", err, ErrAttemptTimeout)
					}
					if attempts != want {
						t.Errorf("%d attempts, want %d", attempts, want)
					}
				})
			})
		}
	}
}

func TestRetryAfterIsAFloor(t *testing.T) {
	tests := []struct {
		name   string
		status int
		fields func(now time.Time) []string
		least  time.Duration
		most   time.Duration
	}{
		{"429, seconds", 429, func(time.Time) []string { return []string{"Retry-After", "3"} }, 3 * time.Second, 4 * time.Second},
		{"503, seconds", 503, func(time.Time) []string { return []string{"Retry-After", "3"} }, 3 * time.Second, 4 * time.Second},
		{"429, date", 429, func(now time.Time) []string {
			return []string{"Retry-After", now.Add(7 * time.Second).UTC().Format(http.TimeFormat)}
		}, 6 * time.Second, 8 * time.Second},
		{"429, milliseconds", 429, func(time.Time) []string { return []string{"Retry-After-Ms", "2500"} }, 2500 * time.Millisecond, 3 * time.Second},
		{"503, milliseconds", 503, func(time.Time) []string { return []string{"Retry-After-Ms", "2500"} }, 2500 * time.Millisecond, 3 * time.Second},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fake{}
				f.answer = func(n int, _ *http.Request) (*http.Response, error) {
					if n == 1 {
						return reply(test.status, test.fields(time.Now())...), nil
					}
					return reply(200), nil
				}
				g := openGate(t, f, config.Upstream{Limits: limits("100/1s")})
				t0 := time.Now()
				if status := get(t, g); status != 200 {
					t.Fatalf("got %d, want 200", status)
				}
				if at := f.since(t0)[1] - time.Millisecond; at < test.least || at > test.most {
					t.Errorf("the second attempt came %v after the answer, want %v to %v", at, test.least, test.most)
				}
			})
		})
	}
}

// R4: the latest answer counts, not the first.
func TestLatestRetryAfterCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		waits := []string{"5", "1", "2"}
		f := &fake{answer: func(n int, _ *http.Request) (*http.Response, error) {
			if n <= len(waits) {
				return reply(503, "Retry-After", waits[n-1]), nil
			}
			return reply(200), nil
		}}
		g := openGate(t, f, config.Upstream{Retry: config.Retry{Base: 1, Cap: 1}})
		get(t, g)
		for i, want := range []time.Duration{5 * time.Second, time.Second, 2 * time.Second} {
			if gap := f.arrivals[i+1].Sub(f.arrivals[i]); gap < want || gap > want*5/4 {
				t.Errorf("attempt %d came after %v, want %v and a little", i+2, gap, want)
			}
		}
	})
}

func TestAnswersBeyondTheDeadlineArePassedOnAtOnce(t *testing.T) {
	tests := []struct {
		name   string
		status int
		fields []string // of the answer
		bound  []string // of the request
		config config.Upstream
	}{
		{name: "429, max wait", status: 429, fields: []string{"Retry-After", "31"}, bound: []string{"Headgate-Max-Wait", "30s"}},
		{name: "503, max wait", status: 503, fields: []string{"Retry-After", "31"}, bound: []string{"Headgate-Max-Wait", "30s"}},
		{name: "429, SDK's timeout", status: 429, fields: []string{"Retry-After", "31"}, bound: []string{"X-Stainless-Timeout", "30"}},
		{name: "429, line.max_wait", status: 429, fields: []string{"Retry-After", "31"}, config: config.Upstream{Line: config.Line{MaxWait: config.Duration(30 * time.Second)}}},
		{name: "503, no permit in time", status: 503, bound: []string{"Headgate-Max-Wait", "30s"}, config: config.Upstream{Limits: limits("1/1m")}},
		{name: "attempts used up", status: 429, config: config.Upstream{Retry: config.Retry{Attempts: 1}}},
		{name: "not to be repeated", status: 503, fields: []string{"X-Should-Retry", "false"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fake{answer: func(int, *http.Request) (*http.Response, error) {
					return reply(test.status, append(test.fields, "X-Their", "own")...), nil
				}}
				g := openGate(t, f, test.config)
				start := time.Now()
				resp, err := g.RoundTripper("api").RoundTrip(request(t.Context(), "GET", "/x", "", test.bound...))
				if err != nil {
					t.Fatal(err)
				}
				text, _ := io.ReadAll(resp.Body)
				resp.Body.Close()
				if took := time.Since(start); took != time.Millisecond {
					t.Errorf("heard after %v, want at once", took)
				}
				if resp.StatusCode != test.status || string(text) != http.StatusText(test.status) || resp.Header.Get("X-Their") != "own" {
					t.Errorf("got %d %q %v, want the upstream's own answer", resp.StatusCode, text, resp.Header)
				}
				if len(test.fields) > 0 && test.fields[0] == "Retry-After" && resp.Header.Get("Retry-After") != test.fields[1] {
					t.Errorf("Retry-After %q, want %q", resp.Header.Get("Retry-After"), test.fields[1])
				}
				if a, s := resp.Header.Get("Headgate-Attempts"), resp.Header["X-Should-Retry"]; a != "1" || len(s) != 1 || s[0] != "false" {
					t.Errorf("Headgate-Attempts %q, x-should-retry %q, want 1 and false", a, s)
				}
			})
		})
	}
}

func TestAttemptsAreUsedUp(t *testing.T) {
	for _, status := range []int{429, 503, 529} {
		synctest.Test(t, func(t *testing.T) {
			f := &fake{answer: sequence(status)}
			var seen collect
			g := openGate(t, f, config.Upstream{Retry: config.Retry{Attempts: 3}}, seen.option())
			resp, err := g.Client("api").Get("/x")
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if f.attempts() != 3 || resp.StatusCode != status || resp.Header.Get("Headgate-Attempts") != "3" || resp.Header.Get("X-Should-Retry") != "false" {
				t.Errorf("got %d %v after %d attempts, want %d after 3", resp.StatusCode, resp.Header, f.attempts(), status)
			}
			want := OutcomeOverloaded
			if status == 429 {
				want = OutcomeThrottled
			}
			if len(seen.ended) != 1 || seen.ended[0].Outcome != want || seen.ended[0].Attempts != 3 || len(seen.retried) != 2 {
				t.Errorf("told %+v and %+v, want one %s call and two retries", seen.ended, seen.retried, want)
			}
		})
	}
}

func TestXShouldRetryIsObeyed(t *testing.T) {
	tests := []struct {
		status   int
		says     string
		attempts int
	}{
		{429, "false", 1}, {503, "false", 1}, {503, "true", 2}, {409, "true", 2}, {409, "", 1}, {400, "true", 1},
	}
	for _, test := range tests {
		synctest.Test(t, func(t *testing.T) {
			f := &fake{answer: func(n int, _ *http.Request) (*http.Response, error) {
				if n > 1 {
					return reply(200), nil
				}
				resp := reply(test.status)
				if test.says != "" {
					resp.Header.Set("X-Should-Retry", test.says)
				}
				return resp, nil
			}}
			g := openGate(t, f, config.Upstream{})
			resp, err := g.Client("api").Post("/x", "text/plain", strings.NewReader("text"))
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if f.attempts() != test.attempts {
				t.Errorf("%d with x-should-retry %q: %d attempts, want %d", test.status, test.says, f.attempts(), test.attempts)
			}
		})
	}
}

func TestFatalAnswersAreNotRepeated(t *testing.T) {
	for _, status := range []int{400, 401, 402, 403, 404, 422, 501, 505} {
		synctest.Test(t, func(t *testing.T) {
			f := &fake{answer: sequence(status)}
			var seen collect
			g := openGate(t, f, config.Upstream{}, seen.option())
			if got := get(t, g); got != status || f.attempts() != 1 {
				t.Errorf("got %d after %d attempts, want %d after one", got, f.attempts(), status)
			}
			if len(seen.ended) != 1 || seen.ended[0].Outcome != OutcomeFatal {
				t.Errorf("told %+v, want one fatal call", seen.ended)
			}
		})
	}
}

func TestCertificateErrorsAreNotRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		g := openGate(t, roundTrips(func(*http.Request) (*http.Response, error) {
			n++
			return nil, fmt.Errorf("handshake: %w", &tls.CertificateVerificationError{Err: errors.New("expired")})
		}), config.Upstream{})
		_, err := try(t.Context(), g)
		var cert *tls.CertificateVerificationError
		if !errors.As(err, &cert) || n != 1 {
			t.Errorf("got %v after %d attempts, want the certificate's error after one", err, n)
		}
	})
}

// A body that can't be had again is sent once.
func TestBodiesThatCannotBeReplayedAreSentOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{answer: sequence(429)}
		g := openGate(t, f, config.Upstream{})
		req := request(t.Context(), "PUT", "/x", "")
		req.Body = io.NopCloser(strings.NewReader("text"))
		resp, err := g.RoundTripper("api").RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 429 || f.attempts() != 1 {
			t.Errorf("got %d after %d attempts, want 429 after one", resp.StatusCode, f.attempts())
		}
	})
}

// R14: an answer that is not passed on is read to a bound and closed before
// the wait for the next attempt.
func TestRetriedAnswersAreDrainedAndClosedBeforeTheWait(t *testing.T) {
	tests := []struct {
		name   string
		length int64
		bytes  int           // 0: it never ends
		read   int           // of them
		within time.Duration // closed
	}{
		{name: "short", length: 1000, bytes: 1000, read: 1000},
		{name: "long", length: 1 << 20, bytes: 1 << 20, read: 0},
		{name: "of unknown length", length: -1, bytes: 1 << 20, read: drainMost},
		{name: "never ends", length: -1, within: drainFor},
	}
	for _, test := range tests {
		for _, status := range []int{429, 503} {
			t.Run(fmt.Sprint(test.name, status), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					f := &fake{answer: func(n int, _ *http.Request) (*http.Response, error) {
						if n > 1 {
							return reply(200), nil
						}
						resp := reply(status, "Retry-After", "10")
						resp.ContentLength = test.length
						b := &answerBody{pieces: make(chan any)}
						if test.bytes > 0 {
							b.r = bytes.NewReader(make([]byte, test.bytes))
						}
						resp.Body = b
						return resp, nil
					}}
					g := openGate(t, f, config.Upstream{Limits: limits("concurrent:1")})
					t0 := time.Now()
					get(t, g)
					b := f.answers[0]
					if at := b.closedAt().Sub(t0); b.closedAt().IsZero() || at > time.Millisecond+test.within {
						t.Errorf("closed after %v, want at once", at)
					}
					if b.read != test.read {
						t.Errorf("read %d bytes, want %d", b.read, test.read)
					}
				})
			})
		}
	}
}

// A total outage of many calls: retries are at most the budget's share, the
// floor of ten a second and the reserve. It is asked before the wait, so a call
// that can't be repeated in time hears so at once.
func TestBudgetBoundsRetriesInAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{answer: sequence(503)}
		g := openGate(t, f, config.Upstream{
			Breaker: config.Breaker{Failures: config.Failures{Share: 1}}, // off
			Line:    config.Line{MaxWait: config.Duration(5 * time.Second)},
		})
		const calls = 1000
		start := time.Now()
		var wg sync.WaitGroup
		for range calls {
			wg.Go(func() { get(t, g) })
		}
		wg.Wait()
		seconds := time.Since(start).Seconds()
		n := f.attempts()
		retries := n - calls
		if most := int(0.2*float64(n) + 10*seconds + 30); retries > most {
			t.Errorf("%d retries of %d calls in %.1f s, want at most %d", retries, calls, seconds, most)
		}
		if retries < 50 {
			t.Errorf("%d retries, want the budget to be used", retries)
		}
		if seconds > 5.1 {
			t.Errorf("the last call heard after %.1f s, want its bound of 5 s to hold", seconds)
		}
	})
}

// One attempt in five fails, by chance. A call is lost only after five of them:
// one in 3,125.
func TestNoCallIsLostToAFewFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rnd := rand.New(rand.NewPCG(3, 4))
		var mu sync.Mutex
		f := &fake{latency: 20 * time.Millisecond}
		f.answer = func(int, *http.Request) (*http.Response, error) {
			mu.Lock()
			defer mu.Unlock()
			if rnd.Float64() < 0.2 {
				return reply(503), nil
			}
			return reply(200), nil
		}
		g := openGate(t, f, config.Upstream{Limits: limits("100/1s")}, WithEvents(Events{
			CallEnded: func(e CallEnded) {
				if e.Outcome != OutcomeOK && e.Attempts < 5 {
					t.Errorf("a call ended %s after %d attempts, want 5", e.Outcome, e.Attempts)
				}
			},
		}))
		got := saturate(t, g, 20, 10*time.Second)
		if got[200] < 300 || got[503] > 4 || len(got) > 2 {
			t.Errorf("calls ended with %v, want 200 each but for those that failed five times", got)
		}
	})
}

func TestRetriedTellsTheFacts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{answer: func(n int, _ *http.Request) (*http.Response, error) {
			switch n {
			case 1:
				return reply(429, "Retry-After", "3", "X-Request-Id", "r1"), nil
			case 2:
				return reply(503, "Request-Id", "r2"), nil
			case 3:
				return nil, errBroken
			}
			return reply(200), nil
		}}
		var seen collect
		g := openGate(t, f, config.Upstream{Retry: config.Retry{Jitter: "none", Attempts: 4}}, seen.option())
		ctx := WithCaller(t.Context(), Caller{Name: "web", Priority: 3})
		if _, err := try(ctx, g); err != nil {
			t.Fatal(err)
		}
		want := []Retried{
			{Attempt: 1, Status: 429, RetryAfter: "3", RequestID: "r1"},
			{Attempt: 2, Status: 503, RequestID: "r2", Delay: time.Second},
			{Attempt: 3, Delay: 2 * time.Second, Reason: errBroken.Error()},
		}
		if len(seen.retried) != len(want) {
			t.Fatalf("told %+v, want 3 retries", seen.retried)
		}
		for i, got := range seen.retried {
			want := want[i]
			want.Upstream, want.Client, want.Of = "api", "web", 4
			if i == 0 {
				if got.Delay < 3*time.Second || got.Delay > 3300*time.Millisecond {
					t.Errorf("delay %v, want 3s and at most a tenth", got.Delay)
				}
				want.Delay = got.Delay
			}
			if i < 2 {
				if !strings.Contains(got.Reason, fmt.Sprint(got.Status)) {
					t.Errorf("reason %q does not tell the status", got.Reason)
				}
				want.Reason = got.Reason
			}
			if got != want {
				t.Errorf("retry %d: told %+v, want %+v", i+1, got, want)
			}
			// Until the next attempt arrived no more than the delay went by.
			if gap := f.arrivals[i+1].Sub(f.arrivals[i]); gap != got.Delay+time.Millisecond {
				t.Errorf("attempt %d came after %v, want the delay that was told, %v", i+2, gap, got.Delay)
			}
		}
	})
}

// A refusal between attempts keeps its kind and its cause.
func TestCallsEndAtTheirDeadlineBetweenAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{answer: sequence(503)}
		g := openGate(t, f, config.Upstream{Retry: config.Retry{Base: config.Duration(time.Second), Jitter: "none"}})
		ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
		defer cancel()
		start := time.Now()
		resp, err := g.RoundTripper("api").RoundTrip(request(ctx, "GET", "/x", ""))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		// The second backoff of 2 s would end beyond the deadline.
		if took := time.Since(start); took != 1002*time.Millisecond || resp.StatusCode != 503 {
			t.Errorf("got %d after %v, want 503 after the second attempt", resp.StatusCode, took)
		}
	})
}

// Many serve the interfaces of OpenAI and Anthropic under hosts of their own.
func TestCallToAModelIsRepeatedWhoeverServesIt(t *testing.T) {
	for _, test := range []struct {
		path, field string
		repeated    bool
	}{
		{"/v1/chat/completions", "", true},
		{"/openai/v1/responses", "", true},
		{"/v1/messages", "Anthropic-Version", true},
		{"/v1/orders", "", false},
	} {
		synctest.Test(t, func(t *testing.T) {
			up := newStrict(t, mock.Rules{})
			up.status = func(_ time.Time, n int) int {
				if n == 1 {
					return http.StatusServiceUnavailable
				}
				return http.StatusOK
			}
			g := openGate(t, up, config.Upstream{})
			req, err := http.NewRequest("POST", "http://api.test"+test.path, strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			if test.field != "" {
				req.Header.Set(test.field, "2023-06-01")
			}
			resp, err := g.Client("api").Do(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if got := resp.StatusCode == http.StatusOK; got != test.repeated {
				t.Errorf("POST %s after a 503 = %d, want it repeated: %t", test.path, resp.StatusCode, test.repeated)
			}
		})
	}
}
