package headgate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/headgate/headgate/config"
)

// noting is a Tracer that writes down what it is told, with moments counted from
// the call's first.
type noting struct {
	begun time.Time
	notes []string
}

func (n *noting) note(format string, args ...any) {
	n.notes = append(n.notes, fmt.Sprintf(format, args...))
}

func (n *noting) TraceCall(req *http.Request, c CallStarted) CallTrace {
	n.begun = c.At
	n.note("call %s %s", req.Method, c.Upstream)
	return n
}

func (n *noting) WaitEnded(w WaitEnded) {
	n.note("wait %v–%v for %s, %q, %v", w.From.Sub(n.begun), w.To.Sub(n.begun), w.For, w.Limit, w.Err)
}

type attemptKey struct{}

func (n *noting) TraceAttempt(ctx context.Context, a AttemptStarted) (context.Context, AttemptTrace) {
	n.note("attempt %d %s %s at %v", a.Attempt, a.Method, a.URL, a.At.Sub(n.begun))
	a.Header.Set("Traceparent", fmt.Sprint("attempt-", a.Attempt))
	return context.WithValue(ctx, attemptKey{}, a.Attempt), notingAttempt{n, a.Attempt}
}

func (n *noting) Ended(e CallEnded) { n.note("ended %s %d", e.Outcome, e.Attempts) }

type notingAttempt struct {
	*noting
	attempt int
}

func (a notingAttempt) Answered(e AttemptEnded) {
	a.note("answered %d %d %v", a.attempt, e.Status, e.Err)
}
func (a notingAttempt) Ended(err error) { a.note("attempt ended %d %v", a.attempt, err) }

func TestTracerFollowsACallThroughTheDoor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := &fake{latency: 10 * time.Millisecond, answer: sequence(503, 200)}
		n := &noting{}
		g, err := Open(t.Context(), config.Config{Upstreams: map[string]config.Upstream{"api": {
			URL: "http://api.test/base", Limits: limits("1/10s"),
			Retry: config.Retry{Base: config.Duration(time.Second), Jitter: "none"},
		}}}, Base(up), WithTracer(n))
		if err != nil {
			t.Fatal(err)
		}
		defer g.Close()
		req := request(t.Context(), "GET", "/x?key=1", "", "Traceparent", "caller")
		resp, err := g.RoundTripper("api").RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		if slices.Contains(n.notes, "attempt ended 2 <nil>") {
			t.Error("the attempt has ended before its answer was read")
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		want := []string{
			"call GET api",
			"attempt 1 GET http://api.test/base/x?key=1 at 0s",
			"answered 1 503 <nil>",
			"attempt ended 1 <nil>",
			"wait 10ms–1.01s for backoff, \"\", <nil>",
			"", // in line: how long is the ledger's to say
			"",
			"answered 2 200 <nil>",
			"attempt ended 2 <nil>",
			"ended ok 2",
		}
		var from, to time.Duration
		if len(n.notes) == len(want) {
			text := n.notes[5]
			var one, other string
			if _, err := fmt.Sscanf(text, "wait %s for permit, \"1/10s\", <nil>", &one); err == nil {
				fmt.Sscanf(text, "wait 1.01s–%s for", &other)
				from = 1010 * time.Millisecond
				to, _ = time.ParseDuration(other)
			}
			if from == 0 || to < 10*time.Second {
				t.Errorf("second wait = %q, want one for a permit of 1/10s, of about 9 s", text)
			}
			want[5], want[6] = text, fmt.Sprintf("attempt 2 GET http://api.test/base/x?key=1 at %v", to)
		}
		if !slices.Equal(n.notes, want) {
			t.Errorf("told %q,\nwant %q", n.notes, want)
		}
		for i, sent := range up.requests {
			if got := sent.Header.Get("Traceparent"); got != fmt.Sprint("attempt-", i+1) {
				t.Errorf("attempt %d was sent with Traceparent %q", i+1, got)
			}
			if got := sent.Context().Value(attemptKey{}); got != i+1 {
				t.Errorf("the context of attempt %d is that of %v", i+1, got)
			}
		}
		if got := req.Header.Get("Traceparent"); got != "caller" {
			t.Errorf("the caller's request has Traceparent %q now, want it untouched", got)
		}
	})
}

func TestTracerHearsWhyACallFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &noting{}
		answers := func(int, *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Body: &brokenBody{}, ContentLength: 7}, nil
		}
		g, err := Open(t.Context(), config.Config{Upstreams: map[string]config.Upstream{"api": {
			URL: "http://api.test", Limits: limits("1/10s"),
		}}}, Base(&fake{answer: answers}), WithTracer(n))
		if err != nil {
			t.Fatal(err)
		}
		defer g.Close()
		if _, err := try(t.Context(), g); !errors.Is(err, errBroken) {
			t.Fatalf("read the answer: %v, want %v", err, errBroken)
		}
		_, err = try(t.Context(), g, "Headgate-Max-Wait", "1s")
		refused(t, err, ErrDeadline)
		want := []string{
			"call GET api", "attempt 1 GET http://api.test/x at 0s", "answered 1 200 <nil>",
			"attempt ended 1 connection reset", "ended overloaded 1",
			"call GET api", "wait 0s–0s for permit, \"1/10s\", " + err.Error(), "ended refused 0",
		}
		if !slices.Equal(n.notes, want) {
			t.Errorf("told %q,\nwant %q", n.notes, want)
		}
	})
}

// brokenBody breaks off at once.
type brokenBody struct{}

func (*brokenBody) Read([]byte) (int, error) { return 0, errBroken }
func (*brokenBody) Close() error             { return nil }

// A call that nothing follows is sent with its caller's own header, which is not
// copied for nobody.
func TestCallThatIsNotFollowedPaysNothing(t *testing.T) {
	for name, tracer := range map[string]Tracer{"no tracer": nil, "one that declines": declining{}} {
		synctest.Test(t, func(t *testing.T) {
			up := &fake{}
			req := request(t.Context(), "GET", "http://api.test/", "", "Traceparent", "caller")
			resp, err := Transport(Base(up), WithTracer(tracer)).RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if got := up.requests[0].Header; reflect.ValueOf(got).Pointer() != reflect.ValueOf(req.Header).Pointer() {
				t.Errorf("%s: a copy of the header was sent", name)
			}
		})
	}
}

type declining struct{}

func (declining) TraceCall(*http.Request, CallStarted) CallTrace { return nil }
