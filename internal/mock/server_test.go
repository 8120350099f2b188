package mock

import (
	"context"
	"encoding/json"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// send makes one request of s and reads the whole answer.
func send(t *testing.T, s *Server, method, target, body string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://mock.test"+target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	res, err := s.RoundTripper().RoundTrip(req)
	if err != nil {
		t.Fatalf("%s %s = %v", method, target, err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("%s %s: body: %v", method, target, err)
	}
	return res, string(text)
}

func TestAnythingElseIsEchoed(t *testing.T) {
	s := New(Config{})
	send(t, s, "GET", "/", "")
	res, body := send(t, s, "PUT", "/some/where?x=1", "hello")
	want := `{"ok":true,"path":"/some/where","n":2}` + "\n"
	if res.StatusCode != 200 || body != want {
		t.Errorf("PUT /some/where = %d %s, want 200 %s", res.StatusCode, body, want)
	}
}

func TestEachFormSaysWhenToComeBack(t *testing.T) {
	fields := []string{"Retry-After", "Retry-After-Ms", "RateLimit", "RateLimit-Policy", "RateLimit-Limit", "RateLimit-Remaining",
		"RateLimit-Reset", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"}
	for _, test := range []struct {
		form     string
		accepted map[string]string
		refused  map[string]string // 700.5 ms after; 59.2995 s to wait
	}{
		{HintNone, nil, nil},
		{"", nil, map[string]string{"Retry-After": "60"}},
		{HintSeconds, nil, map[string]string{"Retry-After": "60"}},
		{HintDate, nil, map[string]string{"Retry-After": "Sat, 01 Jan 2000 00:01:00 GMT"}},
		{HintMillis, nil, map[string]string{"Retry-After-Ms": "59300"}},
		{HintRateLimit,
			map[string]string{
				"RateLimit":        `"1/1m";r=0;t=60, "tokens:9/10s burst 90";r=89;t=2, "concurrent:3";r=2`,
				"RateLimit-Policy": `"1/1m";q=1;w=60, "tokens:9/10s burst 90";q=9;qu="tokens";w=10, "concurrent:3";q=3;qu="concurrent-requests"`,
			},
			map[string]string{
				"RateLimit":        `"1/1m";r=0;t=60, "tokens:9/10s burst 90";r=89;t=1, "concurrent:3";r=3`,
				"RateLimit-Policy": `"1/1m";q=1;w=60, "tokens:9/10s burst 90";q=9;qu="tokens";w=10, "concurrent:3";q=3;qu="concurrent-requests"`,
			}},
		{HintDraft6,
			map[string]string{"RateLimit-Limit": "1", "RateLimit-Remaining": "0", "RateLimit-Reset": "60", "RateLimit-Policy": "1;w=60"},
			map[string]string{"RateLimit-Limit": "1", "RateLimit-Remaining": "0", "RateLimit-Reset": "60", "RateLimit-Policy": "1;w=60"}},
		{HintX,
			map[string]string{"X-RateLimit-Limit": "1", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "946684860"},
			map[string]string{"X-RateLimit-Limit": "1", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "946684860"}},
	} {
		t.Run("form "+test.form, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // begins at 2000-01-01T00:00:00Z
				s := New(Config{RetryAfter: test.form, Limits: parseLimits(t, "1/1m", "tokens:9/10s burst 90", "concurrent:3")})
				check := func(what string, status int, want map[string]string) {
					res, _ := send(t, s, "GET", "/", "")
					if res.StatusCode != status {
						t.Errorf("%s: status %d, want %d", what, res.StatusCode, status)
					}
					for _, f := range fields {
						if got := res.Header.Get(f); got != want[f] {
							t.Errorf("%s: %s = %q, want %q", what, f, got, want[f])
						}
					}
				}
				check("accepted", 200, test.accepted)
				time.Sleep(700*ms + 500*time.Microsecond)
				check("refused", 429, test.refused)
			})
		})
	}
}

func TestRetryAfterIsNeverEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{RetryAfter: HintMillis, Limits: parseLimits(t, "1/1500ms")})
		send(t, s, "GET", "/", "")
		time.Sleep(1500*ms - 1)
		if res, _ := send(t, s, "GET", "/", ""); res.StatusCode != 429 || res.Header.Get("Retry-After-Ms") != "1" {
			t.Errorf("1 ns before the window ends: %d, retry-after-ms %q; want 429, 1", res.StatusCode, res.Header.Get("Retry-After-Ms"))
		}
		time.Sleep(time.Nanosecond)
		if res, _ := send(t, s, "GET", "/", ""); res.StatusCode != 200 {
			t.Errorf("as the window ends: %d, want 200", res.StatusCode)
		}
	})
}

func TestNoWaitIsToldWhereTimeDoesNotHelp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{Dialect: OpenAI, Limits: parseLimits(t, "tokens:10/1m")})
		req, _ := http.NewRequest("GET", "http://mock.test/", nil)
		req.Header.Set(WeightHeader, "11")
		res, err := s.RoundTripper().RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		if res.StatusCode != 429 || res.Header.Get("Retry-After") != "" || !strings.Contains(string(body), "Request too large on tokens per 1m0s: Limit 10, Requested 11.") {
			t.Errorf("a request of 11 tokens at 10/1m = %d, Retry-After %q, %s; want 429 without, too large", res.StatusCode, res.Header.Get("Retry-After"), body)
		}
	})
}

func TestErrorBodiesHaveTheShapeOfTheDialect(t *testing.T) {
	for _, test := range []struct {
		dialect, method, target string
		status                  int
		want                    string
	}{
		{Generic, "GET", "/", 429, `{"error":"Rate limit reached on requests per 1m0s: Limit 1, Used 1, Requested 1.","limit":"1/1m","n":2,"ok":false,"status":429}`},
		{OpenAI, "GET", "/", 429, `{"error":{"code":"rate_limit_exceeded","message":"Rate limit reached on requests per 1m0s: Limit 1, Used 1, Requested 1.","param":null,"type":"requests"}}`},
		{Anthropic, "GET", "/", 429, `{"error":{"message":"This request would exceed your organization's rate limit of 1/1m.","type":"rate_limit_error"},"request_id":"req_mock_2","type":"error"}`},
		{OpenAI, "POST", "/v1/messages", 429, `{"error":{"message":"This request would exceed your organization's rate limit of 1/1m.","type":"rate_limit_error"},"request_id":"req_mock_2","type":"error"}`},
		{Generic, "GET", "/_mock/status/503", 503, `{"error":"The mock upstream answers with status 503.","n":1,"ok":false,"status":503}`},
		{OpenAI, "GET", "/_mock/status/500", 500, `{"error":{"code":null,"message":"The mock upstream answers with status 500.","param":null,"type":"server_error"}}`},
		{Anthropic, "GET", "/_mock/status/529", 529, `{"error":{"message":"The mock upstream answers with status 529.","type":"overloaded_error"},"request_id":"req_mock_1","type":"error"}`},
		{Generic, "GET", "/_mock/status/abc", 400, `{"error":"status \"abc\" is not between 200 and 599","n":1,"ok":false,"status":400}`},
		{Generic, "GET", "/_mock/status/199", 400, `{"error":"status \"199\" is not between 200 and 599","n":1,"ok":false,"status":400}`},
		{Generic, "GET", "/_mock/slow?d=x", 400, `{"error":"d=\"x\" is not a duration like 2s","n":1,"ok":false,"status":400}`},
		{Generic, "GET", "/_mock/sse?n=-1", 400, `{"error":"n=\"-1\" is not between 0 and 1000000","n":1,"ok":false,"status":400}`},
		{Generic, "POST", "/v1/chat/completions", 400, `{"error":{"code":null,"message":"The body is not a JSON object of this API: unexpected end of JSON input","param":null,"type":"invalid_request_error"}}`},
	} {
		s := New(Config{Dialect: test.dialect, Limits: parseLimits(t, "1/1m")})
		if test.status == 429 {
			send(t, s, "GET", "/", "")
		}
		body := "{}"
		if test.status == 400 {
			body = ""
		}
		res, got := send(t, s, test.method, test.target, body)
		if res.StatusCode != test.status || got != test.want+"\n" {
			t.Errorf("%s: %s %s = %d %s; want %d %s", test.dialect, test.method, test.target, res.StatusCode, got, test.status, test.want)
		}
	}
}

func TestForcedStatusAddsAWait(t *testing.T) {
	for form, field := range map[string]string{HintSeconds: "Retry-After", HintX: "Retry-After", HintMillis: "Retry-After-Ms"} {
		s := New(Config{RetryAfter: form})
		res, _ := send(t, s, "GET", "/_mock/status/503?retry_after=1500ms", "")
		want := map[string]string{"Retry-After": "2", "Retry-After-Ms": "1500"}[field]
		if res.StatusCode != 503 || res.Header.Get(field) != want {
			t.Errorf("form %s: %d, %s %q; want 503, %q", form, res.StatusCode, field, res.Header.Get(field), want)
		}
	}
	s := New(Config{})
	if res, body := send(t, s, "GET", "/_mock/status/204", ""); res.StatusCode != 204 || body != "" {
		t.Errorf("status/204 = %d %q, want 204 without a body", res.StatusCode, body)
	}
}

func TestRequestsAreCountedAfterTheHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{MinArrival: 20 * ms, Jitter: 25 * ms, Seed: 7})
		start := time.Now()
		var all sync.WaitGroup
		for range 200 {
			all.Go(func() { send(t, s, "GET", "/", "") })
		}
		all.Wait()
		stats := s.Stats()
		first, last := stats.First.Sub(start), stats.Last.Sub(start)
		if first < 20*ms || first > 22*ms || last < 43*ms || last > 45*ms {
			t.Errorf("200 requests sent at 0 arrived from %v to %v, want 20ms to 45ms, nearly", first, last)
		}
	})
}

func TestACallerThatLeavesWhileHeldHasNotArrived(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{MinArrival: 20 * ms, Latency: time.Hour, Limits: parseLimits(t, "concurrent:1")})
		leaveAfter := func(d time.Duration) {
			ctx, cancel := context.WithTimeout(t.Context(), d)
			defer cancel()
			req, _ := http.NewRequestWithContext(ctx, "GET", "http://mock.test/", nil)
			if _, err := s.RoundTripper().RoundTrip(req); err != context.DeadlineExceeded {
				t.Errorf("error %v, want %v", err, context.DeadlineExceeded)
			}
			synctest.Wait()
		}
		leaveAfter(20*ms - 1)
		if n := s.Stats().Arrivals; n != 0 {
			t.Errorf("left just before the hold ended: %d arrivals, want 0", n)
		}
		leaveAfter(20*ms + 1)
		if stats := s.Stats(); stats.Accepted != 1 || stats.InFlight != 0 {
			t.Errorf("left just after it was counted: accepted %d, in flight %d; want 1, 0", stats.Accepted, stats.InFlight)
		}
	})
}

func TestLatencyHasItsMedianAndShortTails(t *testing.T) {
	s := New(Config{Latency: 100 * ms, Seed: 3})
	below, above200, below50 := 0, 0, 0
	for range 10_000 {
		switch d := s.draw().service; {
		case d < 50*ms:
			below50++
			below++
		case d < 100*ms:
			below++
		case d > 200*ms:
			above200++
		}
	}
	if below < 4800 || below > 5200 || above200 < 50 || above200 > 160 || below50 < 50 || below50 > 160 {
		t.Errorf("of 10000: %d below the median, %d below half of it, %d above twice; want about 5000, 104, 104", below, below50, above200)
	}
}

func TestErrorsComeInTheirShareAndUseQuota(t *testing.T) {
	s := New(Config{Errors: 0.25, ErrorStatus: 500, Seed: 1, Limits: parseLimits(t, "1000/1h")})
	failed := 0
	for range 1000 {
		res, _ := send(t, s, "GET", "/", "")
		if res.StatusCode == 500 {
			failed++
		}
	}
	stats := s.Stats()
	if failed < 200 || failed > 300 || stats.Errors != int64(failed) || stats.Limits[0].Max != 1000 {
		t.Errorf("of 1000: %d failed, %d counted as errors, %d of quota used; want about 250, the same, 1000", failed, stats.Errors, stats.Limits[0].Max)
	}
	if res, _ := send(t, s, "GET", "/", ""); res.StatusCode != 429 {
		t.Errorf("request 1001 = %d, want 429", res.StatusCode)
	}
}

func TestSameSeedSameLuck(t *testing.T) {
	c := Config{Latency: sec, Jitter: sec, Errors: 0.5, Seed: 42}
	a, b := New(c), New(c)
	c.Latency, c.Seed = 0, 42
	other := New(c)
	for i := range 100 {
		x, y, z := a.draw(), b.draw(), other.draw()
		if x != y || x.hold != z.hold || x.fails != z.fails {
			t.Fatalf("draw %d: %+v and %+v and, without latency, %+v", i, x, y, z)
		}
	}
}

func TestStatsTellWhatWasAccepted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{Limits: parseLimits(t, "4/1s fixed", "3/1s burst 8", "concurrent:5")})
		at := func(d time.Duration, n int) {
			time.Sleep(d)
			for range n {
				send(t, s, "GET", "/", "")
			}
		}
		at(900*ms, 3) // bucket 5
		at(100*ms, 5) // 4 accepted: 7 in 100 ms; the fixed window refuses the fifth
		at(sec, 4)    // bucket 1 + 0.3 + 3: all accepted
		at(900*ms, 0)
		s2 := s.Stats()
		if s2.Arrivals != 12 || s2.Accepted != 11 || s2.Refused != 1 || s2.InFlight != 0 || s2.Last.Sub(s2.First) != 1100*ms {
			t.Errorf("stats %+v; want 12 arrivals over 1.1s, 11 accepted, 1 refused, 0 in flight", s2)
		}
		fixed, bucket, concurrent := s2.Limits[0], s2.Limits[1], s2.Limits[2]
		if fixed.Max != 7 || fixed.Refused != 1 || fixed.Usage != 7.0/4 {
			t.Errorf("fixed %+v; want max 7, refused 1, usage 1.75", fixed)
		}
		if bucket.Max != 7 || bucket.Refused != 0 || math.Abs(bucket.Usage-7.0/3) > 1e-9 {
			t.Errorf("bucket %+v; want max 7, refused 0, usage 2.33", bucket)
		}
		if concurrent.Max != 1 || concurrent.Usage != 0 {
			t.Errorf("concurrent %+v; want max 1, usage 0", concurrent)
		}
		want := []Second{{946684800, 3, 0}, {946684801, 4, 1}, {946684802, 4, 0}}
		if len(s2.Seconds) != 3 || s2.Seconds[0] != want[0] || s2.Seconds[1] != want[1] || s2.Seconds[2] != want[2] {
			t.Errorf("seconds %v, want %v", s2.Seconds, want)
		}

		res, body := send(t, s, "GET", "/_mock/stats", "")
		var read Stats
		if err := json.Unmarshal([]byte(body), &read); err != nil || res.StatusCode != 200 || read.Accepted != 11 || read.Arrivals != 12 {
			t.Errorf("/_mock/stats = %d %s (%v), want the same and itself not counted", res.StatusCode, body, err)
		}
	})
}

func TestStatsOfSaturatedLimitsAreWhole(t *testing.T) {
	for _, spread := range []time.Duration{0, 20 * ms} { // bursts of 50, or one each 20 ms
		limits := parseLimits(t, "50/1s")
		judge, tally := NewJudge(Rules{Limits: limits}), newTally(limits)
		for i := range 50 * 10 {
			now := t0.Add(time.Duration(i)*spread + time.Duration(i/50)*(sec-50*spread))
			tally.arrived(now, 1, judge.arrive(now, 1))
		}
		if got := tally.snapshot(); got.Refused != 0 || got.Limits[0].Usage != 1 || got.Limits[0].Max != 50 {
			t.Errorf("50 a second, %v apart: refused %d, %+v; want usage 1, max 50", spread, got.Refused, got.Limits[0])
		}
	}
}

func TestConcurrencyEndsWithTheAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{Limits: parseLimits(t, "concurrent:1")})
		var slow sync.WaitGroup
		slow.Go(func() { send(t, s, "GET", "/_mock/slow?d=2s", "") })
		time.Sleep(2*sec - 1)
		res, _ := send(t, s, "GET", "/", "")
		if res.StatusCode != 429 || res.Header.Get("Retry-After") != "" {
			t.Errorf("beside the slow one: %d, Retry-After %q; want 429 without", res.StatusCode, res.Header.Get("Retry-After"))
		}
		slow.Wait()
		send(t, s, "GET", "/_mock/sse?n=3&every=1s", "") // who has read the end is no longer in flight
		if res, _ := send(t, s, "GET", "/", ""); res.StatusCode != 200 {
			t.Errorf("after the stream: %d, want 200", res.StatusCode)
		}
		if l := s.Stats().Limits[0]; l.Max != 1 || math.Abs(l.Usage-1) > 1e-6 {
			t.Errorf("stats %+v; want max 1, usage 1", l)
		}
	})
}

func TestValidateReportsAllFaults(t *testing.T) {
	limits := parseLimits(t, "50/1m")
	limits[0].N = 0
	err := Config{Limits: limits, Jitter: -1, Latency: -1, Errors: math.NaN(), ErrorStatus: 429, RetryAfter: "soon", Dialect: "klingon"}.Validate()
	if err == nil {
		t.Fatal("Validate() = nil, want seven faults")
	}
	if n := strings.Count(err.Error(), "\n") + 1; n != 7 {
		t.Errorf("Validate() = %v: %d faults, want 7", err, n)
	}
	if err := (Config{}).Validate(); err != nil {
		t.Errorf("Validate() of the zero Config = %v, want nil", err)
	}
}

func TestServesOverSockets(t *testing.T) {
	server := httptest.NewServer(New(Config{}))
	defer server.Close()
	res, err := http.Post(server.URL+"/v1/messages", "application/json", strings.NewReader(`{"model":"m","stream":true,"max_tokens":1}`))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || !strings.HasSuffix(string(body), "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n") {
		t.Errorf("stream over a socket ended with %v:\n%s", err, body)
	}
}

func FuzzRequests(f *testing.F) {
	f.Add("POST", "/v1/chat/completions", "", `{"model":1}`, "")
	f.Add("POST", "/v1/chat/completions", "", `{"max_tokens":-9}`, "7")
	f.Add("POST", "/v1/messages", "", `{"max_tokens":99999999999999999999}`, "-1")
	f.Add("POST", "/v1/messages", "", `null`, "9223372036854775807")
	f.Add("GET", "/_mock/status/99999999999999999999", "retry_after=1s", "", "x")
	f.Add("GET", "/_mock/status/599", "retry_after=-1s", "", "")
	f.Add("GET", "/_mock/sse", "n=2&every=0s", "", "")
	f.Add("HEAD", "/_mock/sse", "n=1e9", "", "")
	f.Fuzz(func(t *testing.T, method, path, query, body, weight string) {
		s := New(Config{RetryAfter: HintRateLimit, Limits: parseLimits(t, "1/1h", "tokens:50/1h burst 70")})
		for range 2 {
			r := httptest.NewRequest("GET", "http://mock.test/", strings.NewReader(body))
			r.Method, r.URL.Path, r.URL.RawQuery = method, path, query
			if weight != "" {
				r.Header.Set(WeightHeader, weight)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 5*ms) // bounds what the input makes it wait
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r.WithContext(ctx))
			cancel()
			if strings.HasPrefix(w.Header().Get("Content-Type"), "application/json") && !json.Valid(w.Body.Bytes()) {
				t.Errorf("%s %s?%s %q = %d %s, which is no JSON", method, path, query, body, w.Code, w.Body)
			}
		}
		if stats := s.Stats(); stats.InFlight != 0 {
			t.Errorf("%s %s?%s %q: %d in flight after the answers, want 0", method, path, query, body, stats.InFlight)
		}
	})
}
