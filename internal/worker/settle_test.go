package worker

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate"
	"github.com/headgate/headgate/internal/job"
	"github.com/headgate/headgate/internal/pump"
	"github.com/headgate/headgate/internal/webhook"
)

var t0 = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// settler is a worker whose chance is in the middle.
func settler() *Worker {
	return New(Options{
		Random: func() float64 { return 0.5 },
		URL:    func(string) string { return "https://api.test/base" },
	})
}

// tried makes attempts of readings: "ok", "throttled", …, or an error's text.
func tried(readings ...string) (all []job.Attempt) {
	status := map[string]int{"ok": 200, "see": 303, "throttled": 429, "overloaded": 503, "fatal": 400}
	for _, r := range readings {
		a := job.Attempt{At: t0, Status: status[r], Reading: r, Reason: r}
		switch {
		case r == "see":
			a.Reading, a.Reason = "ok", ""
		case a.Status == 0:
			a.Reading = ""
		}
		all = append(all, a)
	}
	return all
}

func response(status int, fields ...string) *job.Response {
	h := make(http.Header)
	for i := 0; i < len(fields); i += 2 {
		h.Set(fields[i], fields[i+1])
	}
	return &job.Response{Status: status, Header: h, Body: []byte("{}")}
}

func refusal(err error, in time.Duration) error {
	r := &headgate.RefusedError{Upstream: "api", Err: err}
	if in != 0 {
		r.RetryAt = t0.Add(in)
	}
	return r
}

func TestSettleCalls(t *testing.T) {
	const (
		again  = job.Waiting
		done   = job.Done
		failed = job.Failed
	)
	unreachable := &headgate.UnreachableError{Upstream: "api", Attempts: 1, Err: errors.New("refused")}
	tests := []struct {
		name   string
		job    job.Job
		result pump.Result

		state    job.State
		delay    time.Duration
		tried    int
		rest     time.Duration
		reason   string
		location string
		answer   bool // is stored
	}{
		{name: "ok", result: pump.Result{Attempts: tried("ok"), Tried: 1, Outcome: "ok", Response: response(200)},
			state: done, tried: 1, answer: true},
		{name: "ok after overload", result: pump.Result{Attempts: tried("overloaded", "ok"), Tried: 2, Outcome: "ok", Response: response(200)},
			state: done, tried: 2, answer: true},
		{name: "fatal", result: pump.Result{Attempts: tried("fatal"), Tried: 1, Outcome: "fatal", Response: response(400)},
			state: failed, tried: 1, reason: "fatal", answer: true},

		{name: "throttled", result: pump.Result{Attempts: tried("throttled"), Outcome: "throttled", Response: response(429)},
			state: again, delay: 500 * time.Millisecond, reason: "throttled"},
		{name: "throttled, and told to wait", result: pump.Result{Attempts: tried("throttled"), Outcome: "throttled", Wait: time.Hour, Response: response(429)},
			state: again, delay: time.Hour + 500*time.Millisecond, reason: "throttled"},
		{name: "throttled in the third round of five",
			job:    job.Job{Attempts: tried("ok", "throttled", "throttled", "throttled", "throttled", "throttled", "throttled")},
			result: pump.Result{Attempts: tried("throttled", "throttled", "throttled", "throttled", "throttled"), Outcome: "throttled", Response: response(429)},
			state:  again, delay: 2 * time.Second, reason: "throttled"},
		{name: "throttled for long", job: job.Job{Attempts: slices.Repeat(tried("throttled"), 50)},
			result: pump.Result{Attempts: tried("throttled"), Outcome: "throttled", Response: response(429)},
			state:  again, delay: 150 * time.Second, reason: "throttled"},
		{name: "throttled just before it is too old", job: job.Job{CreatedAt: t0.Add(time.Nanosecond - giveUpAfter)},
			result: pump.Result{Attempts: tried("throttled"), Outcome: "throttled", Response: response(429)},
			state:  again, delay: 500 * time.Millisecond, reason: "throttled"},
		{name: "throttled until it is too old", job: job.Job{CreatedAt: t0.Add(-giveUpAfter)},
			result: pump.Result{Attempts: tried("throttled"), Outcome: "throttled", Response: response(429)},
			state:  failed, reason: "throttled for 24h0m0s: throttled", answer: true},

		{name: "overloaded", result: pump.Result{Attempts: tried("overloaded"), Tried: 1, Outcome: "overloaded", Response: response(503)},
			state: again, delay: 500 * time.Millisecond, tried: 1, reason: "overloaded"},
		{name: "overloaded, and told to wait", result: pump.Result{Attempts: tried("overloaded"), Tried: 1, Outcome: "overloaded", Wait: 10 * time.Second, Response: response(503)},
			state: again, delay: 10*time.Second + 500*time.Millisecond, tried: 1, reason: "overloaded"},
		{name: "overloaded once more", job: job.Job{Tried: 3},
			result: pump.Result{Attempts: tried("overloaded"), Tried: 1, Outcome: "overloaded", Response: response(503)},
			state:  again, delay: 4 * time.Second, tried: 1, reason: "overloaded"},
		{name: "overloaded too often", job: job.Job{Tried: 4},
			result: pump.Result{Attempts: tried("overloaded"), Tried: 1, Outcome: "overloaded", Response: response(503)},
			state:  failed, tried: 1, reason: "overloaded", answer: true},
		{name: "broken off", result: pump.Result{Attempts: tried("ok"), Tried: 1, Outcome: "overloaded", Err: errors.New("unexpected EOF")},
			state: again, delay: 500 * time.Millisecond, tried: 1, reason: "unexpected EOF"},
		{name: "unreachable", result: pump.Result{Attempts: tried("refused"), Tried: 1, Outcome: "unreachable", Err: unreachable},
			state: again, delay: 500 * time.Millisecond, tried: 1, reason: unreachable.Error()},
		{name: "unreachable too often", result: pump.Result{Attempts: tried("a", "b", "c", "d", "e"), Tried: 5, Outcome: "unreachable", Err: unreachable},
			state: failed, tried: 5, reason: unreachable.Error()},
		{name: "answer too long", result: pump.Result{Attempts: tried("ok"), Tried: 1, Outcome: "ok", Err: pump.ErrBodyTooLong},
			state: failed, tried: 1, reason: pump.ErrBodyTooLong.Error()},

		{name: "too heavy", result: pump.Result{Outcome: "refused", Err: refusal(headgate.ErrTooHeavy, 0)},
			state: failed, reason: "upstream api: cost is above the limit"},
		{name: "no permit in time", result: pump.Result{Outcome: "refused", Err: refusal(headgate.ErrDeadline, 40*time.Second)},
			state: again, delay: 40 * time.Second, rest: 40 * time.Second, reason: "upstream api: no permit before deadline"},
		{name: "no permit for long", result: pump.Result{Outcome: "refused", Err: refusal(headgate.ErrDeadline, time.Hour)},
			state: again, delay: time.Hour, rest: restMost, reason: "upstream api: no permit before deadline"},
		{name: "no permit, since just now there is one", result: pump.Result{Outcome: "refused", Err: refusal(headgate.ErrDeadline, -time.Second)},
			state: again, delay: refusedLeast, rest: refusedLeast, reason: "upstream api: no permit before deadline"},
		{name: "breaker open", result: pump.Result{Attempts: tried("overloaded"), Tried: 1, Outcome: "refused", Err: refusal(headgate.ErrBreakerOpen, 0)},
			state: again, delay: time.Second, tried: 1, rest: time.Second, reason: "upstream api: circuit breaker is open"},
		{name: "line full", result: pump.Result{Outcome: "refused", Err: refusal(headgate.ErrLineFull, 0)},
			state: again, delay: time.Second, rest: time.Second, reason: "upstream api: waiting line is full"},
		{name: "quotas lost", result: pump.Result{Outcome: "refused", Err: refusal(headgate.ErrStoreLost, 0)},
			state: again, delay: time.Second, rest: time.Second, reason: "upstream api: the store of the quotas is lost"},

		{name: "cut off in line", job: job.Job{Reason: "as it was"}, result: pump.Result{Outcome: "cancelled", Err: errStopped},
			state: again, reason: "as it was"},
		{name: "cut off on its way", result: pump.Result{Attempts: tried("stopped"), Tried: 1, Outcome: "cancelled", Err: errStopped},
			state: again},
		{name: "cut off in its second attempt", result: pump.Result{Attempts: tried("throttled", "overloaded", "stopped"), Tried: 2, Outcome: "cancelled", Err: errStopped},
			state: again, tried: 1},
		{name: "gate closed", result: pump.Result{Outcome: "refused", Err: headgate.ErrClosed},
			state: again, rest: time.Second},
		{name: "upstream gone", result: pump.Result{Err: fmt.Errorf("%w %q", headgate.ErrUnknownUpstream, "api")},
			state: again, delay: unknownWait, rest: unknownWait, reason: `unknown upstream "api"`},
		{name: "cannot be sent", result: pump.Result{Err: errors.New("no path")},
			state: failed, reason: "no path"},

		{name: "answer elsewhere", result: pump.Result{Attempts: tried("see"), Tried: 1, Outcome: "ok", Response: response(303, "Location", "/base/r?id=1")},
			state: again, delay: 500 * time.Millisecond, reason: "waits for its answer at /r?id=1", location: "/r?id=1"},
		{name: "answer still elsewhere", job: job.Job{Attempts: tried("see", "see"), Location: "/r?id=1"},
			result: pump.Result{Attempts: tried("see"), Tried: 1, Outcome: "ok", Response: response(303, "Location", "?id=2")},
			state:  again, delay: 2 * time.Second, reason: "waits for its answer at /r?id=2", location: "/r?id=2"},
		{name: "answer elsewhere for long", job: job.Job{Attempts: slices.Repeat(tried("see"), 50)},
			result: pump.Result{Attempts: tried("see"), Tried: 1, Outcome: "ok", Response: response(303, "Location", "/base/r")},
			state:  again, delay: 5 * time.Second, reason: "waits for its answer at /r", location: "/r"},
		{name: "answer elsewhere until it is too old", job: job.Job{CreatedAt: t0.Add(-giveUpAfter)},
			result: pump.Result{Attempts: tried("see"), Tried: 1, Outcome: "ok", Response: response(303, "Location", "/base/r")},
			state:  failed, tried: 1, reason: "its answer was not ready after 24h0m0s", answer: true},
		{name: "answer at another host", result: pump.Result{Attempts: tried("see"), Tried: 1, Outcome: "ok", Response: response(303, "Location", "https://other.test/r")},
			state: done, tried: 1, answer: true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			j := test.job
			j.ID, j.Kind, j.Upstream, j.Path = "job_1", job.Call, "api", "/start"
			if j.CreatedAt.IsZero() {
				j.CreatedAt = t0
			}
			got := settler().settle(&j, test.result, t0)
			if got.State != test.state || got.Delay != test.delay || got.Tried != test.tried || got.rest != test.rest {
				t.Errorf("got %s after %v, tried %d, queue rests %v; want %s after %v, tried %d, rests %v",
					got.State, got.Delay, got.Tried, got.rest, test.state, test.delay, test.tried, test.rest)
			}
			if got.Reason != test.reason || got.Location != test.location {
				t.Errorf("got reason %q, location %q; want %q, %q", got.Reason, got.Location, test.reason, test.location)
			}
			if (got.Response != nil) != test.answer {
				t.Errorf("stores the answer: %v, want %v", got.Response != nil, test.answer)
			}
			if n := len(got.Attempts); n != len(test.result.Attempts) {
				t.Errorf("tells of %d attempts, want %d", n, len(test.result.Attempts))
			} else if n > 0 && got.State == again && got.Attempts[n-1].DelayMS != test.delay.Milliseconds() {
				t.Errorf("the last attempt tells of a delay of %d ms, want %v", got.Attempts[n-1].DelayMS, test.delay)
			}
		})
	}
}

func TestSettleCallbacks(t *testing.T) {
	var waits []string
	w := New(Options{Random: func() float64 { return 0 }})
	j := job.Job{ID: "job_2", Kind: job.Callback, State: job.Waiting, CreatedAt: t0}
	for {
		f := w.settle(&j, pump.Result{Attempts: tried("overloaded"), Tried: 1, Outcome: "overloaded", Response: response(503)}, t0)
		if err := j.End(f.End, t0); err != nil {
			t.Fatal(err)
		}
		if f.State == job.Failed {
			break
		}
		waits = append(waits, f.Delay.String())
	}
	if got, want := strings.Join(waits, " "), "5s 30s 2m0s 10m0s 1h0m0s 6h0m0s 12h0m0s"; got != want || j.Attempted != 8 {
		t.Errorf("waited %s for %d attempts, want %s for 8", got, j.Attempted, want)
	}

	tests := []struct {
		name   string
		tried  int
		result pump.Result
		state  job.State
		delay  time.Duration
		reason string
	}{
		{"heard", 0, pump.Result{Attempts: tried("ok"), Outcome: "ok", Response: response(204)}, job.Done, 0, ""},
		{"gone", 0, pump.Result{Attempts: tried("fatal"), Outcome: "fatal", Response: response(410)}, job.Failed, 0, "the receiver wants no more callbacks: 410 Gone"},
		{"redirected", 0, pump.Result{Attempts: tried("ok"), Outcome: "ok", Response: response(302)}, job.Waiting, 5 * time.Second, "Found is not what a receiver says that has heard"},
		{"not found yet", 1, pump.Result{Attempts: tried("fatal"), Outcome: "fatal", Response: response(404)}, job.Waiting, 30 * time.Second, "Not Found is not what a receiver says that has heard"},
		{"throttled and told", 0, pump.Result{Attempts: tried("throttled"), Outcome: "throttled", Wait: time.Minute, Response: response(429)}, job.Waiting, time.Minute, "Too Many Requests is not what a receiver says that has heard"},
		{"told a year", 0, pump.Result{Attempts: tried("throttled"), Outcome: "throttled", Wait: 8760 * time.Hour, Response: response(429)}, job.Waiting, 12 * time.Hour, "Too Many Requests is not what a receiver says that has heard"},
		{"private", 0, pump.Result{Attempts: tried("x"), Outcome: "unreachable", Err: fmt.Errorf("dial: %w", webhook.ErrAddress)}, job.Failed, 0, webhook.ErrAddress.Error()},
		{"unreachable", 2, pump.Result{Attempts: tried("x"), Outcome: "unreachable", Err: errors.New("refused")}, job.Waiting, 2 * time.Minute, "refused"},
		{"not configured", 0, pump.Result{Err: errNoCallbacks}, job.Failed, 0, errNoCallbacks.Error()},
		{"cut off", 3, pump.Result{Outcome: "cancelled", Err: errStopped}, job.Waiting, 0, ""},
		{"breaker", 3, pump.Result{Outcome: "refused", Err: refusal(headgate.ErrBreakerOpen, 20*time.Second)}, job.Waiting, 20 * time.Second, "upstream api: circuit breaker is open"},
	}
	for _, test := range tests {
		j := job.Job{ID: "job_2", Kind: job.Callback, Tried: test.tried, CreatedAt: t0}
		got := w.settle(&j, test.result, t0)
		if got.State != test.state || got.Delay != test.delay || got.Reason != test.reason {
			t.Errorf("%s: %s after %v (%q), want %s after %v (%q)", test.name, got.State, got.Delay, got.Reason, test.state, test.delay, test.reason)
		}
	}
}

func TestEndedCallsBringTheirCallback(t *testing.T) {
	ok := pump.Result{Attempts: tried("ok"), Tried: 1, Outcome: "ok", Response: response(200)}
	for _, test := range []struct {
		name     string
		callback string
		kind     job.Kind
		result   pump.Result
		want     string // in the message; "" for none
	}{
		{"done", "https://hook.test/in", job.Call, ok, `{"type":"job.done",`},
		{"failed", "https://hook.test/in", job.Call, pump.Result{Attempts: tried("fatal"), Outcome: "fatal", Response: response(400)}, `{"type":"job.failed",`},
		{"nobody to tell", "", job.Call, ok, ""},
		{"not ended", "https://hook.test/in", job.Call, pump.Result{Outcome: "cancelled", Err: errStopped}, ""},
		{"a callback itself", "https://hook.test/in", job.Callback, ok, ""},
	} {
		j := job.Job{ID: "job_1", Kind: test.kind, State: job.Running, Callback: test.callback, CreatedAt: t0}
		got := settler().settle(&j, test.result, t0).Then
		switch {
		case test.want == "" && got != nil:
			t.Errorf("%s: brings %+v, want none", test.name, got.Job)
		case test.want != "" && (got == nil || !strings.HasPrefix(string(got.Request.Body), test.want)):
			t.Errorf("%s: brings %+v, want one that begins %s", test.name, got, test.want)
		case got != nil && !strings.Contains(string(got.Request.Body), `"attempted":1`):
			t.Errorf("%s: %s does not tell of the last attempt", test.name, got.Request.Body)
		}
		if j.State != job.Running {
			t.Errorf("%s: settle changed the job itself: %+v", test.name, j)
		}
	}
}

func TestLocate(t *testing.T) {
	tests := []struct {
		base, asked, location string
		want                  string // "": not the upstream's
	}{
		{"https://api.test", "/start", "/result", "/result"},
		{"https://api.test", "/start?x=1", "?id=2", "/start?id=2"},
		{"https://api.test", "/a/start", "result/7", "/a/result/7"},
		{"https://api.test", "/a/start", "https://API.test/r?q=a%2Fb", "/r?q=a%2Fb"},
		{"https://api.test", "/a", "https://api.test", "/"},
		{"https://api.test", "/a%2Fb/c", "d", "/a%2Fb/d"},
		{"https://api.test", "/a", "/b%2Fc", "/b%2Fc"},
		{"https://api.test/base", "/start", "/base/result", "/result"},
		{"https://api.test/base/", "/start", "result", "/result"},
		{"https://api.test/base", "/start", "/other/result", ""},
		{"https://api.test/base", "/start", "/based/result", ""},
		{"https://api.test", "/start", "http://api.test/r", ""},
		{"https://api.test", "/start", "https://api.test:8443/r", ""},
		{"https://api.test", "/start", "//other.test/r", ""},
		{"https://api.test", "/start", "https://me@api.test/r", ""},
		{"https://api.test", "/start", "", ""},
		{"https://api.test", "/start", "http://%zz", ""},
		{"h2c://api.test", "/start", "http://api.test/r", "/r"},
		{"", "/start", "/result", "/result"},
		{"", "/start", "https://api.test/result", ""},
	}
	for _, test := range tests {
		got, ok := locate(test.base, test.asked, test.location)
		if got != test.want || ok != (test.want != "") {
			t.Errorf("locate(%q, %q, %q) = %q, %v; want %q", test.base, test.asked, test.location, got, ok, test.want)
		}
	}
}

func FuzzLocate(f *testing.F) {
	f.Add("https://api.test/base", "/start?x=1", "/base/r#f")
	f.Add("", "//x", "..//../y")
	f.Fuzz(func(t *testing.T, base, asked, location string) {
		if target, ok := locate(base, asked, location); ok && !strings.HasPrefix(target, "/") {
			t.Errorf("locate(%q, %q, %q) = %q, which is no path", base, asked, location, target)
		}
	})
}
