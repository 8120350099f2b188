package headgate

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/headgate/headgate/config"
)

func TestRoundTripLeavesTheRequestAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{answer: sequence(429, 200)}
		g := openGate(t, f, config.Upstream{
			Credentials: []config.Credential{{Header: "X-Api-Key", Value: config.NewSecret("ours")}},
		})
		req := request(t.Context(), "POST", "/v1/x?q=1", "text", "Authorization", "theirs",
			"Headgate-Max-Wait", "30s", "Headgate-Cost", "tokens=3", "Priority", "u=1")
		header, body, target := req.Header.Clone(), req.Body, *req.URL
		pointer := req.URL
		resp, err := g.RoundTripper("api").RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if !maps.EqualFunc(req.Header, header, func(a, b []string) bool { return strings.Join(a, "\n") == strings.Join(b, "\n") }) {
			t.Errorf("header is %v after the call, was %v", req.Header, header)
		}
		if req.Body != body || req.URL != pointer || *req.URL != target || req.Host != "" {
			t.Errorf("request is %+v after the call, want its body, URL and host as they were", req)
		}
		if resp.Request != req {
			t.Error("the answer's Request is not the caller's")
		}
		sent := f.requests[1]
		if got := sent.URL.String(); got != "http://api.test/v1/x?q=1" {
			t.Errorf("sent to %s", got)
		}
		if h := sent.Header; h.Get("X-Api-Key") != "ours" || h.Get("Authorization") != "" ||
			h.Get("Headgate-Max-Wait") != "" || h.Get("Headgate-Cost") != "" || h.Get("Priority") != "u=1" {
			t.Errorf("sent %v, want our credential alone and none of the door's fields", h)
		}
		if f.bodies[0] != "text" || f.bodies[1] != "text" {
			t.Errorf("bodies sent %q, want text each time", f.bodies)
		}
	})
}

func TestRoundTripTakesBareRequests(t *testing.T) {
	tests := []struct {
		name string
		req  *http.Request
		to   string // "": refused
	}{
		{"nil header", &http.Request{Method: "GET", URL: &url.URL{Path: "/x"}}, "http://api.test/x"},
		{"empty method", &http.Request{URL: &url.URL{Path: "/x"}, Header: http.Header{}}, "http://api.test/x"},
		{"NoBody", &http.Request{Method: "POST", URL: &url.URL{Path: "/x"}, Body: http.NoBody}, "http://api.test/x"},
		{"no slash", &http.Request{URL: &url.URL{Path: "x"}}, "http://api.test/x"},
		{"no path", &http.Request{URL: &url.URL{}}, "http://api.test"},
		{"escaped", &http.Request{URL: &url.URL{Path: "/a/b", RawPath: "/a%2Fb"}}, "http://api.test/a%2Fb"},
		{"nil URL", &http.Request{Method: "GET"}, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fake{}
				g := openGate(t, f, config.Upstream{})
				resp, err := g.RoundTripper("api").RoundTrip(test.req)
				if test.to == "" {
					if err == nil || resp != nil {
						t.Fatalf("got %v and %v, want an error alone", resp, err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				if got := f.requests[0].URL.String(); got != test.to {
					t.Errorf("sent to %s, want %s", got, test.to)
				}
				if got := f.requests[0].URL.RequestURI(); !strings.HasPrefix(got, "/") {
					t.Errorf("request line has %q, want it to begin with /", got)
				}
			})
		})
	}
}

func TestRoundTripClosesTheBodyOnEveryPath(t *testing.T) {
	over, cancel := context.WithCancel(t.Context())
	cancel()
	closing := func(err error) func(int, *http.Request) (*http.Response, error) {
		return func(int, *http.Request) (*http.Response, error) { return nil, err }
	}
	tests := []struct {
		name     string
		upstream string // "" is api
		ctx      context.Context
		fields   []string
		answer   func(int, *http.Request) (*http.Response, error)
		hold     bool // the line is full
		closed   bool // the gate
		err      error
	}{
		{name: "answer"},
		{name: "unknown upstream", upstream: "none", err: ErrUnknownUpstream},
		{name: "bad field", fields: []string{"Headgate-Max-Wait", "soon"}, err: errAny},
		{name: "bad cost", fields: []string{"Headgate-Cost", "requests=0"}, err: errAny},
		{name: "negative cost", fields: []string{"Headgate-Cost", "tokens=-1"}, err: errAny},
		{name: "too heavy", fields: []string{"Headgate-Cost", "tokens=101"}, err: ErrTooHeavy},
		{name: "context over", ctx: over, err: context.Canceled},
		{name: "line full", hold: true, err: ErrLineFull},
		{name: "deadline", hold: true, fields: []string{"Headgate-Max-Wait", "0s"}, err: errAny},
		{name: "closed gate", closed: true, err: ErrClosed},
		{name: "dial error", answer: closing(errBroken), err: errBroken},
		{name: "no answer", answer: closing(nil), err: errAny},
		{name: "used up", answer: sequence(429)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := openGate(t, &fake{answer: test.answer}, config.Upstream{
					Limits: limits("concurrent:1", "tokens:100/1s"),
					Line:   config.Line{MaxLength: 1},
					Retry:  config.Retry{Attempts: 2},
				})
				if test.hold {
					defer occupy(t, g)()
					waits, cancel := context.WithCancel(t.Context())
					var wg sync.WaitGroup
					wg.Go(func() { try(waits, g) })
					defer wg.Wait()
					defer cancel()
					synctest.Wait()
				}
				if test.closed {
					g.Close()
				}
				ctx := test.ctx
				if ctx == nil {
					ctx = t.Context()
				}
				name := test.upstream
				if name == "" {
					name = "api"
				}
				body := &requestText{Reader: strings.NewReader("text")}
				req := request(ctx, "POST", "/x", "", test.fields...)
				req.Body, req.ContentLength = body, 4
				resp, err := g.RoundTripper(name).RoundTrip(req)
				if (resp == nil) == (err == nil) {
					t.Fatalf("got response %v and error %v, want one of them", resp, err)
				}
				if resp != nil {
					resp.Body.Close()
				}
				if (err == nil) != (test.err == nil) || test.err != nil && test.err != errAny && !errors.Is(err, test.err) {
					t.Errorf("got error %v, want %v", err, test.err)
				}
				if n := body.closed(); n != 1 {
					t.Errorf("request body was closed %d times, want once", n)
				}
			})
		})
	}
}

var errAny = errors.New("any error")

// What lies in memory reaches what sends as it is: net/http knows by the type
// that head and body can go out in one piece.
func TestRoundTripSendsBodiesInMemoryAsTheyAre(t *testing.T) {
	tests := []struct {
		name string
		body io.Reader
		asIs bool
	}{
		{"strings.Reader", strings.NewReader("text"), true},
		{"bytes.Reader", bytes.NewReader([]byte("text")), true},
		{"bytes.Buffer", bytes.NewBufferString("text"), true},
		{"a reader that may fail", io.LimitReader(strings.NewReader("text"), 4), false},
		{"one that is an io.WriterTo too", bufio.NewReader(strings.NewReader("text")), false},
		{"one with a Close of its own", &requestText{Reader: strings.NewReader("text")}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var sent []io.ReadCloser
			g := openGate(t, roundTrips(func(req *http.Request) (*http.Response, error) {
				text, err := io.ReadAll(req.Body)
				req.Body.Close()
				if string(text) != "text" || err != nil {
					t.Errorf("sent %q and %v, want text", text, err)
				}
				sent = append(sent, req.Body)
				return reply([]int{503, 200}[len(sent)-1]), nil
			}), config.Upstream{Retry: config.Retry{Methods: "any", Base: 1, Cap: 1}})
			req, err := http.NewRequestWithContext(t.Context(), "POST", "/x", test.body)
			if err != nil {
				t.Fatal(err)
			}
			first, second := req.Body, io.NopCloser(strings.NewReader("text"))
			req.GetBody = func() (io.ReadCloser, error) { return second, nil }
			resp, err := g.RoundTripper("api").RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if asIs := sent[0] == first; asIs != test.asIs || sent[1] != second {
				t.Errorf("sent %T and then %T as they are: %v, %v, want %v, true", first, second, asIs, sent[1] == second, test.asIs)
			}
		})
	}
}

func TestRoundTripNeverReturnsBoth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answer := reply(200)
		g := openGate(t, &fake{answer: func(int, *http.Request) (*http.Response, error) { return answer, errBroken }},
			config.Upstream{Retry: config.Retry{Attempts: 1}})
		resp, err := g.RoundTripper("api").RoundTrip(request(t.Context(), "GET", "/x", ""))
		if resp != nil || !errors.Is(err, errBroken) {
			t.Errorf("got %v and %v, want the error alone", resp, err)
		}
		if answer.Body.(*answerBody).closedAt().IsZero() {
			t.Error("the answer that came with an error was not closed")
		}
	})
}

func TestRoundTripGivesEveryAnswerABody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := openGate(t, &fake{answer: func(int, *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 204}, nil
		}}, config.Upstream{Limits: limits("concurrent:1")})
		resp, err := g.RoundTripper("api").RoundTrip(request(t.Context(), "GET", "/x", ""))
		if err != nil || resp.Body == nil || resp.Header == nil {
			t.Fatalf("got %+v and %v, want an answer with a body and a header", resp, err)
		}
		free(t, g)
	})
}

// A Base need not set ContentLength: its zero value says nothing about a body.
func TestRoundTripKeepsBodiesOfUnsaidLength(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := openGate(t, &fake{answer: func(int, *http.Request) (*http.Response, error) {
			resp := reply(200)
			resp.ContentLength = 0
			return resp, nil
		}}, config.Upstream{})
		resp, err := g.Client("api").Get("/x")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if text, err := io.ReadAll(resp.Body); string(text) != "OK" || err != nil {
			t.Errorf("read %q and %v, want OK", text, err)
		}
	})
}

func TestRoundTripCallsTheCallersTraceHooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var wrote, got int
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
			GotConn:      func(httptrace.GotConnInfo) { got++ },
			WroteRequest: func(httptrace.WroteRequestInfo) { wrote++ },
		})
		g := openGate(t, &fake{answer: sequence(503, 200)}, config.Upstream{})
		if _, err := try(ctx, g); err != nil {
			t.Fatal(err)
		}
		if wrote != 2 || got != 2 {
			t.Errorf("hooks were called %d and %d times for two attempts", wrote, got)
		}
	})
}

func TestRoundTripKeepsTheCausesOfContexts(t *testing.T) {
	cause := errors.New("shutting down")
	tests := []struct {
		name   string
		hold   bool // the call is in line when its context ends
		status int  // of the answer; 0: none comes
	}{
		{name: "in line", hold: true},
		{name: "in flight"},
		{name: "between attempts", status: 503},
		{name: "in a pause", status: 429},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fake{latency: time.Hour}
				if test.status != 0 {
					f.latency = 0
					f.answer = func(int, *http.Request) (*http.Response, error) {
						return reply(test.status, "Retry-After", "60"), nil
					}
				}
				var seen collect
				g := openGate(t, f, config.Upstream{Limits: limits("concurrent:1")}, seen.option())
				if test.hold {
					defer occupy(t, g)()
				}
				ctx, cancel := context.WithCancelCause(t.Context())
				time.AfterFunc(time.Second, func() { cancel(cause) })
				start := time.Now()
				req := request(ctx, "GET", "/x", "")
				_, err := g.Client("api").Do(req)
				if !errors.Is(err, cause) {
					t.Errorf("got %v, want %v", err, cause)
				}
				if took := time.Since(start); took != time.Second {
					t.Errorf("heard after %v, want as the context ended, after 1s", took)
				}
				if n := len(seen.ended); n != 1 || seen.ended[0].Outcome != OutcomeCancelled {
					t.Errorf("told %+v, want one call, cancelled", seen.ended)
				}
			})
		})
	}
}

func TestClientTimeoutBoundsTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := openGate(t, &fake{}, config.Upstream{Limits: limits("1/1m")})
		client := g.Client("api")
		client.Timeout = 10 * time.Second
		start := time.Now()
		resp, err := client.Get("/x")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		_, err = client.Get("/x")
		refused(t, err, ErrDeadline)
		if took := time.Since(start); took != time.Millisecond {
			t.Errorf("refused after %v, want at once: the permit is a minute away", took)
		}
	})
}

func TestClientPassesRedirectsOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{answer: func(int, *http.Request) (*http.Response, error) {
			return reply(303, "Location", "/result/1"), nil
		}}
		g := openGate(t, f, config.Upstream{})
		resp, err := g.Client("api").Post("/x", "text/plain", strings.NewReader("a"))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 303 || f.attempts() != 1 {
			t.Errorf("got %d after %d attempts, want 303 after one", resp.StatusCode, f.attempts())
		}
	})
}

func TestRoundTripServesManyAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		g := openGate(t, f, config.Upstream{Limits: limits("concurrent:7")})
		most, now := 0, 0
		var mu sync.Mutex
		f.answer = func(int, *http.Request) (*http.Response, error) {
			return reply(200), nil
		}
		f.latency = 5 * time.Millisecond
		transport := g.RoundTripper("api")
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				resp, err := transport.RoundTrip(request(t.Context(), "POST", "/x", "text"))
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				now++
				most = max(most, now)
				mu.Unlock()
				time.Sleep(time.Millisecond)
				mu.Lock()
				now--
				mu.Unlock()
				resp.Body.Close()
			})
		}
		wg.Wait()
		if most > 7 {
			t.Errorf("%d at once, want at most 7", most)
		}
		if n := inFlight(g); n != 0 {
			t.Errorf("%d permits are left in flight", n)
		}
	})
}

// A request that breaks off says nothing about the upstream.
func TestRoundTripBlamesNobodyForABrokenRequestBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("disk error")
		f := &fake{}
		g := openGate(t, f, config.Upstream{Breaker: config.Breaker{Failures: config.Failures{Share: 1, Of: 1}}})
		req := request(t.Context(), "PUT", "/x", "text")
		req.Body = io.NopCloser(io.MultiReader(strings.NewReader("te"), iotest.ErrReader(broken)))
		_, err := g.RoundTripper("api").RoundTrip(req)
		if !errors.Is(err, broken) {
			t.Errorf("got %v, want %v", err, broken)
		}
		if unreachable := (*UnreachableError)(nil); errors.As(err, &unreachable) {
			t.Errorf("got %v, want no word of an unreachable upstream", err)
		}
		free(t, g) // and the breaker is closed
	})
}

func TestRoundTripReportsABodyThatCannotBeReplayed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("file is gone")
		f := &fake{answer: sequence(429)}
		g := openGate(t, f, config.Upstream{Limits: limits("concurrent:1"),
			Breaker: config.Breaker{Failures: config.Failures{Share: 1, Of: 1}}})
		req := request(t.Context(), "PUT", "/x", "text")
		req.GetBody = func() (io.ReadCloser, error) { return nil, broken }
		_, err := g.RoundTripper("api").RoundTrip(req)
		if !errors.Is(err, broken) || f.attempts() != 1 {
			t.Errorf("got %v after %d attempts, want %v after one", err, f.attempts(), broken)
		}
		time.Sleep(time.Minute) // the pause
		free(t, g)
	})
}

func TestPanicsEndPermits(t *testing.T) {
	boom := func() { panic("boom") }
	tests := []struct {
		name   string
		events Events
		answer func(int, *http.Request) (*http.Response, error)
	}{
		{name: "what sends", answer: func(int, *http.Request) (*http.Response, error) { panic("boom") }},
		{name: "Waited", events: Events{Waited: func(Waited) { boom() }}},
		{name: "AttemptEnded", events: Events{AttemptEnded: func(AttemptEnded) { boom() }}},
		{name: "CallEnded", events: Events{CallEnded: func(CallEnded) { boom() }}},
		{name: "Retried", events: Events{Retried: func(Retried) { boom() }}, answer: sequence(503)},
		{name: "Paused", events: Events{Paused: func(Paused) { boom() }}, answer: sequence(429)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fake{answer: test.answer}
				g := openGate(t, f, config.Upstream{Limits: limits("concurrent:1")}, WithEvents(test.events))
				body := &requestText{Reader: strings.NewReader("text")}
				req := request(t.Context(), "PUT", "/x", "text")
				req.Body = body
				func() {
					defer func() {
						if recover() == nil {
							t.Error("the panic was swallowed")
						}
					}()
					resp, err := g.RoundTripper("api").RoundTrip(req)
					if err == nil {
						resp.Body.Close()
					}
				}()
				time.Sleep(time.Minute) // a pause may be in force
				if n := inFlight(g); n != 0 {
					t.Errorf("%d permits are in flight after the panic", n)
				}
				if n := body.closed(); n != 1 {
					t.Errorf("request body was closed %d times, want once", n)
				}
				for i, b := range f.answers {
					if b.closedAt().IsZero() {
						t.Errorf("answer %d was not closed", i+1)
					}
				}
			})
		})
	}
}

// Events may do what they like with the gate: no lock is held.
func TestEventsAreToldWithoutLocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g *Gate
		var told atomic.Int32
		look := func() { g.Status(); told.Add(1) }
		g = openGate(t, &fake{answer: sequence(429, 503, 200)}, config.Upstream{
			Breaker: config.Breaker{Failures: config.Failures{Share: 0.5, Of: 1}, OpenFor: config.Duration(time.Second)},
		}, WithEvents(Events{
			CallEnded:      func(CallEnded) { look() },
			AttemptEnded:   func(AttemptEnded) { look() },
			Waited:         func(Waited) { look() },
			Retried:        func(Retried) { look() },
			Paused:         func(Paused) { look() },
			BreakerChanged: func(BreakerChanged) { look() },
		}))
		if status := get(t, g); status != 200 {
			t.Errorf("got %d, want 200", status)
		}
		if n := told.Load(); n < 10 {
			t.Errorf("%d events were told, want at least 10", n)
		}
	})
}

func TestAnswersTellAttemptsAndTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{latency: 250 * time.Millisecond, answer: func(n int, _ *http.Request) (*http.Response, error) {
			if n == 1 {
				return reply(503, "Retry-After", "2"), nil
			}
			return reply(200, "Server-Timing", "db;dur=3"), nil
		}}
		g := openGate(t, f, config.Upstream{Retry: config.Retry{Base: 1, Cap: 1, Jitter: "none"}})
		start := time.Now()
		resp, err := g.Client("api").Get("/x")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		waited := time.Since(start) - 500*time.Millisecond
		want := []string{"db;dur=3", "line;dur=" + millis(waited) + ", upstream;dur=500.0"}
		if got := resp.Header["Server-Timing"]; strings.Join(got, "; ") != strings.Join(want, "; ") {
			t.Errorf("Server-Timing %q, want %q", got, want)
		}
		if got := resp.Header.Get("Headgate-Attempts"); got != "2" {
			t.Errorf("Headgate-Attempts %q, want 2", got)
		}
		if _, ok := resp.Header["X-Should-Retry"]; ok {
			t.Error("x-should-retry stands in an ordinary answer")
		}
	})
}

func millis(d time.Duration) string { return string(appendMillis(nil, d)) }
