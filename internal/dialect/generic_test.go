package dialect

import (
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// header makes a header of lines "Name: value".
func header(lines ...string) http.Header {
	h := http.Header{}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ":")
		h.Add(name, value)
	}
	return h
}

func TestStatusDecidesClass(t *testing.T) {
	for class, statuses := range map[Class][]int{
		OK:         {100, 101, 103, 200, 202, 204, 206, 299, 300, 303, 304, 399},
		Throttled:  {420, 429, 509},
		Overloaded: {408, 500, 502, 503, 504, 507, 520, 521, 522, 523, 524, 525, 526, 529, 530, 599, 600, 999, 0, 99, -1},
		Fatal:      {400, 401, 402, 403, 404, 405, 409, 410, 413, 422, 451, 499, 501, 505, 506, 508, 510, 511},
	} {
		for _, status := range statuses {
			if r := standard.Read(Answer{Status: status}, t0); r.Class != class {
				t.Errorf("status %d reads as %v, want %v", status, r.Class, class)
			}
		}
	}
}

func TestRetryableFollowsMethodAndServer(t *testing.T) {
	for _, c := range []struct {
		method string
		status int
		key    bool
		header string
		want   bool
	}{
		{"", 503, false, "", true},
		{"GET", 503, false, "", true},
		{"HEAD", 503, false, "", true},
		{"OPTIONS", 503, false, "", true},
		{"TRACE", 503, false, "", true},
		{"PUT", 503, false, "", true},
		{"DELETE", 503, false, "", true},
		{"POST", 503, false, "", false},
		{"PATCH", 503, false, "", false},
		{"POST", 503, true, "", true},
		{"PATCH", 500, true, "", true},
		{"MOVE", 503, true, "", false},
		{"POST", 429, false, "", true},
		{"MOVE", 429, false, "", true},
		{"GET", 503, false, "X-Should-Retry: false", false},
		{"POST", 503, false, "X-Should-Retry: TRUE", true},
		{"POST", 503, false, "Stripe-Should-Retry: true", true},
		{"GET", 429, false, "X-Should-Retry: false", false},
		{"GET", 429, false, "X-Should-Retry: perhaps", true},
		{"GET", 404, false, "X-Should-Retry: true", false},
		{"GET", 200, false, "X-Should-Retry: true", false},
		{"POST", 409, false, "X-Should-Retry: true", true},
		{"GET", 409, false, "", false},
		{"GET", 409, false, "X-Should-Retry: false", false},
	} {
		r := standard.Read(Answer{Method: c.method, Status: c.status, HasKey: c.key, Header: header(c.header)}, t0)
		if r.Retryable != c.want {
			t.Errorf("%s -> %d, key %t, %q: retryable %t, want %t (%s)", c.method, c.status, c.key, c.header, r.Retryable, c.want, r.Why())
		}
	}
}

func TestShouldRetryFalseBeatsTrue(t *testing.T) {
	h := header("X-Should-Retry: true", "Stripe-Should-Retry: false")
	if r := standard.Read(Answer{Status: 429, Header: h}, t0); r.Retryable {
		t.Errorf("%v is retryable, want not", h)
	}
}

func TestWaitPrecedence(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		name  string
		lines []string
		want  time.Duration
	}{
		{"ms form before seconds", []string{"retry-after-ms: 1200", "retry-after: 2"}, 1200 * ms},
		{"one second apart is rounding", []string{"retry-after-ms: 1000", "retry-after: 2"}, 1000 * ms},
		{"further apart the longer counts, seconds", []string{"retry-after-ms: 999", "retry-after: 2"}, 2000 * ms},
		{"further apart the longer counts, ms", []string{"retry-after-ms: 60000", "retry-after: 2"}, 60000 * ms},
		{"zero ms tells nothing", []string{"retry-after-ms: 0", "retry-after: 2"}, 2000 * ms},
		{"zero ms and nothing else", []string{"retry-after-ms: 0"}, none},
		{"bad ms", []string{"retry-after-ms: NaN", "retry-after: 2"}, 2000 * ms},
		{"ms alone", []string{"x-ms-retry-after-ms: 1.5"}, 2 * ms},
		{"amazon's is in ms", []string{"x-amz-retry-after: 750"}, 750 * ms},
		{"zero seconds is an answer", []string{"retry-after: 0", "X-RateLimit-Reset: 9"}, 0},
		{"retry-after before reset", []string{"retry-after: 3", "X-RateLimit-Remaining: 0", "X-RateLimit-Reset: 60"}, 3000 * ms},
		{"ms before reset", []string{"retry-after-ms: 3000", "X-RateLimit-Remaining: 0", "X-RateLimit-Reset: 60"}, 3000 * ms},
		{"reset with unknown remaining", []string{"X-RateLimit-Reset: 60"}, 60000 * ms},
		{"negative remaining is unknown", []string{"X-RateLimit-Remaining: -1", "X-RateLimit-Reset: 60"}, 60000 * ms},
		{"latest reset of the exhausted", []string{`RateLimit: "a";r=0;t=5, "b";r=0;t=50, "c";r=1;t=500`}, 50000 * ms},
		{"unreadable date", []string{"retry-after: Tue, 10 Mar 2026"}, none},
		{"joined, one part unreadable", []string{"retry-after: soon, 4"}, 4000 * ms},
		{"only plain numbers are joined", []string{"retry-after: 30s, 4"}, 4000 * ms},
		{"cached answers have no reset", []string{"Age: 5", "X-RateLimit-Remaining: 0", "X-RateLimit-Reset: 60"}, none},
		{"cached answers have no clock", []string{"Age: 5", "Date: Tue, 10 Mar 2026 11:00:00 GMT", "Retry-After: Tue, 10 Mar 2026 12:00:07 GMT"}, 7000 * ms},
		{"unreadable Date", []string{"Date: yesterday", "Retry-After: Tue, 10 Mar 2026 12:00:07 GMT"}, 7000 * ms},
	} {
		for _, status := range []int{429, 503} {
			r := standard.Read(Answer{Status: status, Header: header(c.lines...)}, t0)
			got := none
			if r.HasWait {
				got = r.Wait
			}
			if got != c.want {
				t.Errorf("%s: %d %q: wait %v, want %v (%s)", c.name, status, c.lines, got, c.want, r.Why())
			}
		}
	}
}

func TestLimitsOfManyForms(t *testing.T) {
	for _, c := range []struct {
		name  string
		lines []string
		want  []Limit
	}{
		{"other spelling", []string{"X-Rate-Limit-Limit: 5", "X-Rate-Limit-Remaining: 4"}, []Limit{{"requests", 5, 4, -1, 0}}},
		{"one by one unknown", []string{"X-RateLimit-Limit: 5", "X-RateLimit-Remaining: -1", "X-RateLimit-Reset: x"}, []Limit{{"requests", 5, -1, -1, 0}}},
		{"two triples, least remaining", []string{"X-RateLimit-Remaining: 7", "RateLimit-Remaining: 9"}, []Limit{{"requests", -1, 7, -1, 0}}},
		{"two lines, least remaining", []string{"X-RateLimit-Limit: 60", "X-RateLimit-Limit: 10", "X-RateLimit-Remaining: 40", "X-RateLimit-Remaining: 3", "X-RateLimit-Reset: Tue, 10 Mar 2026 12:01:30 GMT", "X-RateLimit-Reset: Tue, 10 Mar 2026 12:00:30 GMT"},
			[]Limit{{"requests", 10, 3, 30 * time.Second, 0}}},
		{"IETF name, Unix time", []string{"RateLimit-Remaining: 1", "RateLimit-Reset: 1773144060"}, []Limit{{"requests", -1, 1, 60 * time.Second, 0}}},
		{"bad r drops one member", []string{`RateLimit: "a";r=x;t=1, "b";r=2;t=3`}, []Limit{{"requests:b", -1, 2, 3 * time.Second, 0}}},
		{"bad t drops one member", []string{`RateLimit: "a";r=1;t=-1, "b";r=2;t=1.5, "c";r=3;t=4`}, []Limit{{"requests:c", -1, 3, 4 * time.Second, 0}}},
		{"negative r is unknown", []string{`RateLimit: "a";r=-1;t=1`}, []Limit{{"requests:a", -1, -1, time.Second, 0}}},
		{"huge numbers saturate", []string{`RateLimit: "a";r=99999999999999999999;t=99999999999999999999`}, []Limit{{"requests:a", -1, 1<<63 - 1, MaxWait, 0}}},
		{"pk of a wrong type", []string{`RateLimit: "a";r=1;pk=ab==;t=2`, `RateLimit-Policy: "a";pk=?;q=3`}, []Limit{{"requests:a", 3, 1, 2 * time.Second, 0}}},
		{"blanks around semicolons", []string{`RateLimit: "a" ; r=1 ; t=2`}, []Limit{{"requests:a", -1, 1, 2 * time.Second, 0}}},
		{"separators inside a name", []string{`RateLimit: "a,b;c=\"d\"\\";r=1`}, []Limit{{`requests:a,b;c="d"\`, -1, 1, -1, 0}}},
		{"last of equal parameters", []string{`RateLimit: "a";r=1;r=2`}, []Limit{{"requests:a", -1, 2, -1, 0}}},
		{"open quote", []string{`RateLimit: "a;r=1, "b";r=2`}, nil},
		{"number for a name", []string{`RateLimit: 5;r=1`}, nil},
		{"digits in a token", []string{`RateLimit: 5-in-1min;r=1`}, []Limit{{"requests:5-in-1min", -1, 1, -1, 0}}},
		{"units", []string{`RateLimit-Policy: "a";q=1;qu="request", "b";q=2;qu="bytes", "c";q=3;qu=tokens, "d";q=4;qu=7`},
			[]Limit{{"requests:a", 1, -1, -1, 0}, {"content-bytes:b", 2, -1, -1, 0}, {"tokens:c", 3, -1, -1, 0}, {"requests:d", 4, -1, -1, 0}}},
		{"policy without a quota", []string{`RateLimit-Policy: "a";w=5, "b";q=-1, "c";q=1.5`}, nil},
		{"same name twice", []string{`RateLimit: "a";r=5;t=1;pk=:YQ==:, "a";r=2;t=9;pk=:Yg==:`}, []Limit{{"requests:a", -1, 2, 9 * time.Second, 0}}},
		{"draft 07, partly bad", []string{`RateLimit: limit=10, remaining=x, reset=-5`}, []Limit{{"requests", 10, -1, -1, 0}}},
		{"draft 07, over lines", []string{`RateLimit: remaining=4`, `RateLimit: limit=10;w=1,reset=5`}, []Limit{{"requests", 10, 4, 5 * time.Second, 0}}},
		{"window of a policy", []string{`RateLimit: "a";r=1`, `RateLimit-Policy: "a";q=2;w=10, "b";q=3;w=x, "c";q=4;w=-1`},
			[]Limit{{"requests:a", 2, 1, -1, 10 * time.Second}, {"requests:b", 3, -1, -1, 0}, {"requests:c", 4, -1, -1, 0}}},
		{"window of draft 07", []string{`RateLimit-Policy: 100;w=10, 5000;w=3600`, `RateLimit: limit=100, remaining=50, reset=5`}, []Limit{{"requests", 100, 50, 5 * time.Second, 10 * time.Second}}},
		{"window of draft 06", []string{`RateLimit-Policy: 80;w=2`, `RateLimit-Limit: 80`, `RateLimit-Remaining: 79`, `RateLimit-Reset: 2`}, []Limit{{"requests", 80, 79, 2 * time.Second, 2 * time.Second}}},
		{"window of another policy", []string{`RateLimit-Policy: 81;w=2`, `RateLimit-Limit: 80`}, []Limit{{"requests", 80, -1, -1, 0}}},
		{"window of draft 03", []string{`RateLimit-Limit: 10, 50;w=60, 10;w=1`, `RateLimit-Remaining: 9`}, []Limit{{"requests", 10, 9, -1, time.Second}}},
		{"window of old Envoy", []string{`X-RateLimit-Limit: 10, 10;window=60`}, []Limit{{"requests", 10, -1, -1, time.Minute}}},
	} {
		r := standard.Read(Answer{Status: 200, Header: header(c.lines...)}, t0)
		if !slices.Equal(r.Limits, c.want) {
			t.Errorf("%s: %q\n got %v\nwant %v", c.name, c.lines, r.Limits, c.want)
		}
	}
}

func TestLimitsAreBounded(t *testing.T) {
	var many []string
	for i := range 1000 {
		many = append(many, `"`+strings.Repeat("a", i+1)+`";r=1;q=1`)
	}
	h := header("RateLimit: "+strings.Join(many, ","), "RateLimit-Policy: "+strings.Join(many, ","),
		"X-RateLimit-Remaining: "+strings.Repeat("1,", 1000))
	if r := standard.Read(Answer{Status: 200, Header: h}, t0); len(r.Limits) != mostLimits {
		t.Errorf("%d limits of an answer with 1000, want %d", len(r.Limits), mostLimits)
	}
}

func TestProblemTypeOutranksStatus(t *testing.T) {
	const iana = "https://iana.org/assignments/http-problem-types#"
	for _, c := range []struct {
		status      int
		contentType string
		body        string
		want        Class
	}{
		{403, "application/problem+json", `{"type":"` + iana + `quota-exceeded"}`, Throttled},
		{403, "Application/Problem+JSON; charset=utf-8", `{"status":403,"type":"` + iana + `abnormal-usage-detected","detail":"cut of`, Throttled},
		{429, "application/problem+json", `{"type":"` + iana + `temporary-reduced-capacity"}`, Overloaded},
		{403, "application/json", `{"type":"` + iana + `quota-exceeded"}`, Fatal},
		{403, "application/problem+json", `{"type":"https://example.com/quota-exceeded"}`, Fatal},
		{403, "application/problem+json", `{"detail":"cut of`, Fatal},
		{403, "application/problem+json", `["type"]`, Fatal},
		{403, "application/problem+json", `{"type":{}}`, Fatal},
		{403, "application/problem+json", ``, Fatal},
		{200, "application/problem+json", `{"type":"` + iana + `quota-exceeded"}`, OK},
	} {
		a := Answer{Status: c.status, Header: header("Content-Type: " + c.contentType), Body: []byte(c.body)}
		if r := standard.Read(a, t0); r.Class != c.want {
			t.Errorf("%d %s %s: %v, want %v", c.status, c.contentType, c.body, r.Class, c.want)
		}
	}
}

func TestBodyIsWantedWhereItCounts(t *testing.T) {
	for _, c := range []struct {
		status             int
		line               string
		generic, withJudge int
	}{
		{429, "", 0, errorBodyMax},
		{429, "Content-Type: application/json; charset=utf-8", errorBodyMax, errorBodyMax},
		{503, "Content-Type: text/html", errorBodyMax, errorBodyMax},
		{403, "Content-Type: text/html", errorBodyMax, errorBodyMax},
		{404, "Content-Type: application/json", 0, errorBodyMax},
		{404, "Content-Type: application/problem+json", errorBodyMax, errorBodyMax},
		{429, "Content-Type: image/png", 0, errorBodyMax},
		{429, "Content-Encoding: gzip", 0, 0},
		{429, "Content-Encoding: identity", 0, errorBodyMax},
		{200, "Content-Type: application/json", 0, 0},
	} {
		a := Answer{Status: c.status, Path: "/v1", Header: header(c.line)}
		for _, f := range families {
			want := c.generic
			if f.judge != nil {
				want = c.withJudge
			}
			if f.peeks != nil && f.peeks(a) && c.status == 200 {
				want = okBodyMax
			}
			if got := f.BodyMaxOf(a); got != want {
				t.Errorf("%s: BodyMax of %d %q = %d, want %d", f.name, c.status, c.line, got, want)
			}
		}
	}
}

func TestWhyNamesTheDecidingSignals(t *testing.T) {
	for _, c := range []struct {
		a    Answer
		want string
	}{
		{Answer{Status: 200}, `Status 200 means ok.`},
		{Answer{Status: 404}, `Status 404 means fatal.`},
		{Answer{Status: 429, Header: header("Retry-After:  120 ")}, `Status 429 means throttled; Retry-After "120" asks for a wait of 2m0s.`},
		{Answer{Status: 429, Header: header(`RateLimit: "day";r=0;t=9`)}, `Status 429 means throttled; the reset of limit "requests:day" asks for a wait of 9s.`},
		{Answer{Status: 413, Header: header("Retry-After: 1")}, `Status 413 with Retry-After "1" means overloaded; Retry-After "1" asks for a wait of 1s.`},
		{Answer{Method: "POST", Status: 503}, `Status 503 means overloaded; nothing says how long to wait; lack of an idempotency key with method "POST" forbids a retry.`},
		{Answer{Method: "POST", Status: 503, HasKey: true}, `Status 503 means overloaded; nothing says how long to wait; the idempotency key allows a retry.`},
		{Answer{Status: 429, Header: header("x-should-retry: false")}, `Status 429 means throttled; nothing says how long to wait; X-Should-Retry "false" forbids a retry.`},
		{Answer{Status: 200, Header: header("Age: 9", "X-RateLimit-Remaining: 0")}, `Status 200 means ok; limits are ignored, because its Age shows that it comes from a cache.`},
		{Answer{Status: 429, Header: header("Retry-After: " + strings.Repeat("0", 100))}, `Status 429 means throttled; Retry-After "` + strings.Repeat("0", 80) + `"… asks for a wait of 0s.`},
	} {
		if got := standard.Read(c.a, t0).Why(); got != c.want {
			t.Errorf("%d %v:\n got %s\nwant %s", c.a.Status, c.a.Header, got, c.want)
		}
	}
}

// plain is an answer as most are: a 200 with the fields of a CDN, none of which
// speaks of limits.
func plain() Answer {
	return Answer{Method: "POST", Host: "api.example.com:443", Path: "/v1/analyze", Status: 200, Header: header(
		"Date: Tue, 10 Mar 2026 12:00:00 GMT", "Content-Type: application/json", "Content-Length: 1024", "Connection: keep-alive",
		"Server: cloudflare", "Cf-Ray: 1", "Vary: Accept-Encoding", "Cache-Control: no-store", "X-Request-Id: 1", "Etag: 1",
		"Strict-Transport-Security: max-age=1", "Via: 1.1 x", "X-Content-Type-Options: nosniff", "Alt-Svc: h3", "Set-Cookie: a=b")}
}

func TestReadOfPlainAnswerDoesNotAllocate(t *testing.T) {
	a := plain()
	for _, name := range Names() {
		d, _ := Lookup(name)
		if n := testing.AllocsPerRun(100, func() {
			if r := d.Read(a, t0); r.Class != OK {
				t.Fatalf("%s: %v, want ok", name, r.Class)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations for a plain 200, want 0", name, n)
		}
	}
}

func BenchmarkRead(b *testing.B) {
	limited := plain()
	for name, v := range map[string]string{"Limit": "500", "Remaining": "499", "Reset": "1773144060"} {
		limited.Header.Set("X-RateLimit-"+name, v)
	}
	throttled := plain()
	throttled.Status = 429
	throttled.Header.Set("Retry-After", "20")
	ietf := plain()
	ietf.Header.Set("RateLimit-Policy", `"burst";q=10;w=1, "daily";q=5000;w=86400`)
	ietf.Header.Set("RateLimit", `"burst";r=8;t=1, "daily";r=4998;t=69076`)
	for name, a := range map[string]Answer{"plain": plain(), "limits": limited, "ietf": ietf, "throttled": throttled} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				auto{}.Read(a, t0)
			}
		})
	}
}

func FuzzRead(f *testing.F) {
	for _, s := range samples(f) {
		var lines []string
		for name, values := range s.Headers {
			for _, v := range values {
				lines = append(lines, name+":"+v)
			}
		}
		slices.Sort(lines)
		f.Add(s.Method, s.Status, strings.Join(lines, "\n"), s.Body, s.Now.UnixNano(), false)
	}
	f.Fuzz(func(t *testing.T, method string, status int, lines, body string, now int64, hasKey bool) {
		a := Answer{Method: method, Path: "/graphql", Status: status, Header: header(strings.Split(lines, "\n")...), Body: []byte(body), HasKey: hasKey}
		before := a.Header.Clone()
		for _, f := range families {
			r := f.Read(a, time.Unix(0, now))
			if again := f.Read(a, time.Unix(0, now)); !reflect.DeepEqual(again, r) {
				t.Errorf("%s read twice: %+v, then %+v", f.name, r, again)
			}
			checkReading(t, r)
		}
		if d, r := Detect("", a.Header), (auto{}).Read(a, time.Unix(0, now)); !reflect.DeepEqual(r, d.Read(a, time.Unix(0, now))) {
			t.Errorf("auto reads %+v, not as %s", r, d.Name())
		}
		if !reflect.DeepEqual(a.Header, before) || string(a.Body) != body {
			t.Errorf("answer was written to: header %v, was %v", a.Header, before)
		}
	})
}

// checkReading checks what every reading promises.
func checkReading(t *testing.T, r Reading) {
	t.Helper()
	again := r.Class == Throttled || r.Class == Overloaded
	if r.Wait < 0 || r.Wait > MaxWait || r.Wait%time.Millisecond != 0 || !r.HasWait && r.Wait != 0 || r.HasWait && !again {
		t.Errorf("%v: wait %v, %t; want whole ms between 0 and %v, and only with throttled and overloaded", r.Class, r.Wait, r.HasWait, MaxWait)
	}
	if r.Class > Fatal || r.Retryable && !again || r.Scope == "" || len(r.Limits) > mostLimits {
		t.Errorf("impossible reading %+v", r)
	}
	if why := r.Why(); !strings.HasPrefix(why, "Status ") || !strings.HasSuffix(why, ".") || len(why) > 2000 {
		t.Errorf("why %q", why)
	}
	seen := map[string]bool{}
	for _, l := range r.Limits {
		known := l.Limit >= 0 || l.Remaining >= 0 || l.Reset >= 0
		bad := l.Limit < -1 || l.Remaining < -1 || l.Reset < -1 || l.Reset > MaxWait || l.Reset > 0 && l.Reset%time.Millisecond != 0 ||
			l.Window < 0 || l.Window > MaxWait
		if !known || bad || seen[l.Dimension] || l.Dimension == "" {
			t.Errorf("impossible limit %+v among %+v", l, r.Limits)
		}
		seen[l.Dimension] = true
	}
}
