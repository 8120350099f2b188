package dialect

import (
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// A serviceCase is an answer and how a family must read it. The request is as
// "POST /path", the answer what curl prints behind "HTTP/1.1 ", with LF for CRLF.
type serviceCase struct {
	about, dialect, request, answer, want string
}

func (c serviceCase) read(t *testing.T) Reading {
	t.Helper()
	d, ok := Lookup(c.dialect)
	if !ok {
		t.Fatalf("no dialect %q", c.dialect)
	}
	status, h, body, err := ReadResponse(strings.NewReader("HTTP/1.1 " + c.answer))
	if err != nil {
		t.Fatal(err)
	}
	method, path, _ := strings.Cut(c.request, " ")
	return d.Read(Answer{Method: method, Path: path, Status: status, Header: h, Body: body}, t0)
}

func checkServices(t *testing.T, cases []serviceCase) {
	for _, c := range cases {
		t.Run(c.dialect+" "+c.about, func(t *testing.T) {
			r := c.read(t)
			if got := brief(r); got != c.want {
				t.Errorf("%s -> %s\n got %s\nwant %s\n(%s)", c.request, c.answer, got, c.want, r.Why())
			}
			checkReading(t, r)
		})
	}
}

// brief writes a reading as "throttled, repeat, wait 1m0s, on route:/x; requests
// 0/60 30s": what is not so is left out, what is unknown is "-".
func brief(r Reading) string {
	var b strings.Builder
	b.WriteString(r.Class.String())
	if r.Retryable {
		b.WriteString(", repeat")
	}
	if r.HasWait {
		fmt.Fprintf(&b, ", wait %v", r.Wait)
	}
	if r.Scope != Credential {
		b.WriteString(", on " + r.Scope)
	}
	orNone := func(n int64, s any) any {
		if n < 0 {
			return "-"
		}
		return s
	}
	for _, l := range r.Limits {
		fmt.Fprintf(&b, "; %s %v/%v %v", l.Dimension, orNone(l.Remaining, l.Remaining), orNone(l.Limit, l.Limit), orNone(int64(l.Reset), l.Reset))
	}
	return b.String()
}

func TestDetectServicesByHost(t *testing.T) {
	for host, want := range map[string]string{
		"api.github.com": "github", "api.acme.ghe.com": "github", "github.com": "generic",
		"gitlab.com": "gitlab", "acme.atlassian.net": "atlassian", "api.bitbucket.org": "atlassian",
		"api.cloudflare.com": "cloudflare-api", "api.datadoghq.com": "datadog", "api.us3.datadoghq.com": "datadog",
		"api.pagerduty.com": "pagerduty", "acme.okta.com": "okta", "oauth.reddit.com": "reddit",
		"api.x.com": "x", "api.twitter.com": "x", "discord.com": "discord", "canary.discord.com": "discord",
		"slack.com": "slack", "acme.slack.com": "slack", "api.spotify.com": "spotify", "api.stripe.com": "stripe",
		"acme.myshopify.com": "shopify", "acme.my.salesforce.com": "salesforce", "api.hubapi.com": "hubspot",
		"api.twilio.com": "twilio", "api.sendgrid.com": "sendgrid", "acme.zendesk.com": "zendesk",
		"api.notion.com": "notion", "api.airtable.com": "airtable",
		"dynamodb.eu-west-1.amazonaws.com": "aws", "bucket.s3.eu-west-1.amazonaws.com": "aws", "s3.amazonaws.com": "aws",
	} {
		if got := Detect(host, nil).Name(); got != want {
			t.Errorf("Detect(%q) = %s, want %s", host, got, want)
		}
	}
}

func TestDetectServicesByHeader(t *testing.T) {
	for line, want := range map[string]string{
		"X-GitHub-Request-Id: 1": "github", "RateLimit-Observed: 1": "gitlab", "RateLimit-Reason: jira-burst-based": "atlassian",
		"X-RateLimit-NearLimit: false": "atlassian", "X-RateLimit-Period: 60": "datadog", "X-Okta-Request-Id: 1": "okta",
		"X-RateLimit-Bucket: a": "discord", "x-slack-req-id: 1": "slack", "Stripe-Version: 1": "stripe",
		"X-Shopify-Shop-Api-Call-Limit: 1/40": "shopify", "Sforce-Limit-Info: api-usage=1/2": "salesforce",
		"X-HubSpot-RateLimit-Max: 100": "hubspot", "Twilio-Concurrent-Requests: 1": "twilio",
		"X-Zendesk-Request-Id: 1": "zendesk", "x-notion-request-id: 1": "notion", "x-amzn-RequestId: 1": "aws",
		"x-amz-request-id: 1": "aws", "X-Rate-Limit-Remaining: 1": "generic", "X-RateLimit-Reset-After: 1": "generic",
	} {
		if got := Detect("127.0.0.1:8080", header(line)).Name(); got != want {
			t.Errorf("Detect by %q = %s, want %s", line, got, want)
		}
	}
}

func TestServicesAreSilentAboutPlainAnswers(t *testing.T) {
	for _, f := range services {
		for _, status := range []int{200, 201, 204, 301, 304} {
			a := plain()
			a.Status = status
			if got := brief(f.Read(a, t0)); got != "ok" {
				t.Errorf("%s: a plain %d reads as %s, want ok", f.name, status, got)
			}
		}
	}
}

func TestServicesShareRulesOfTheStandards(t *testing.T) {
	for _, f := range services {
		for _, c := range []struct {
			method string
			status int
			lines  []string
			want   string
		}{
			{"POST", 429, []string{"Retry-After: 7"}, "throttled, repeat, wait 7s"},
			{"POST", 429, []string{"Retry-After: 7", "Retry-After: 9", "Retry-After: soon"}, "throttled, repeat, wait 9s"},
			{"GET", 429, []string{"Retry-After: 1", "Retry-After-Ms: 800"}, "throttled, repeat, wait 800ms"},
			{"GET", 429, []string{"Retry-After: 7", "X-Should-Retry: false"}, "throttled, wait 7s"},
			{"GET", 503, []string{"Retry-After: Tue, 10 Mar 2026 12:00:30 GMT", "Date: Tue, 10 Mar 2026 12:00:10 GMT"}, "overloaded, repeat, wait 20s"},
			{"GET", 502, nil, "overloaded, repeat"},
			{"POST", 502, nil, "overloaded"},
			{"GET", 501, []string{"Retry-After: 7"}, "fatal"},
			{"GET", 401, nil, "fatal"},
			{"GET", 403, nil, "fatal"},
			{"GET", 404, nil, "fatal"},
			{"GET", 409, nil, "fatal"},
			{"GET", 409, []string{"X-Should-Retry: true"}, "overloaded, repeat"},
		} {
			a := Answer{Method: c.method, Status: c.status, Header: header(c.lines...)}
			if got := brief(f.Read(a, t0)); got != c.want {
				t.Errorf("%s: %s -> %d %q reads as %s, want %s", f.name, c.method, c.status, c.lines, got, c.want)
			}
		}
	}
}

func TestServicesTellNoWaitToTheFatal(t *testing.T) {
	for _, body := range []string{
		`{"errorCode":"REQUEST_LIMIT_EXCEEDED"}`, `{"policyName":"DAILY"}`, `{"title":"UsageCapExceeded"}`,
		`{"errors":[{"error":"PUBLIC_API_BILLING_LIMIT_EXCEEDED"}]}`, `{"code":63038}`, `{"__type":"ServiceQuotaExceededException"}`,
	} {
		found := 0
		for _, f := range services {
			r := f.Read(Answer{Status: 429, Header: header("Retry-After: 7", "X-Should-Retry: true"), Body: []byte(body)}, t0)
			if r.Class == Fatal {
				found++
				if r.HasWait || r.Retryable {
					t.Errorf("%s: %s reads as %s, want fatal alone", f.name, body, brief(r))
				}
			}
		}
		if found != 1 {
			t.Errorf("%s is fatal to %d families, want 1", body, found)
		}
	}
}

// FuzzServices reads foreign answers to calls of GraphQL and REST.
func FuzzServices(f *testing.F) {
	for _, s := range samples(f) {
		if !slices.ContainsFunc(services, func(f *family) bool { return f.name == s.Dialect }) {
			continue
		}
		var lines []string
		for name, values := range s.Headers {
			for _, v := range values {
				lines = append(lines, name+":"+v)
			}
		}
		slices.Sort(lines)
		f.Add(s.Method, "/admin/api/graphql.json", s.Status, strings.Join(lines, "\n"), s.Body)
	}
	const cost = `{"errors":[{"extensions":{"code":"THROTTLED"}}],"extensions":{"cost":{"requestedQueryCost":%s,` +
		`"throttleStatus":{"maximumAvailable":%s,"currentlyAvailable":%s,"restoreRate":%s}}}}`
	const huge = "99999999999999999999999999"
	for _, n := range [][4]any{{"5", "9", "0", "0"}, {"1", huge, "0", "0.0000001"}, {huge, huge, "0", huge}, {"1e9", "-1", `"5"`, "null"}} {
		f.Add("POST", "/graphql.json", 200, "", fmt.Sprintf(cost, n[:]...))
	}
	f.Add("GET", "/v0/app1/T", 429, "Sforce-Limit-Info:api-usage=9/;;=,per-app-api-usage=(appName=\nZendesk-Ratelimit-: total=;resets=-1", `[`)
	f.Fuzz(func(t *testing.T, method, path string, status int, lines, body string) {
		a := Answer{Method: method, Path: path, Status: status, Header: header(strings.Split(lines, "\n")...), Body: []byte(body)}
		for _, f := range services {
			r := f.Read(a, t0)
			checkReading(t, r)
			if again := f.Read(a, t0); !reflect.DeepEqual(again, r) {
				t.Errorf("%s reads %+v, then %+v", f.name, r, again)
			}
		}
	})
}

// FuzzRefill compares with floating point, and sees that nothing overflows.
func FuzzRefill(f *testing.F) {
	for _, n := range []int64{0, 1, 14, 1e6, 50e6, 1e15, 1e15 + 1, 1<<63 - 1} {
		for _, rate := range []int64{1, 3, 1e6, 50e6, 1e15, 1<<63 - 1} {
			f.Add(n, rate)
		}
	}
	f.Fuzz(func(t *testing.T, missing, rate int64) {
		if missing < 0 || rate <= 0 {
			return
		}
		got := refill(missing, rate)
		want := float64(missing) / float64(min(rate, 1e15)) // seconds
		if want > MaxWait.Seconds() {
			want = MaxWait.Seconds()
		}
		if off := got.Seconds() - want; off < -1e-6 || off > 0.001+1e-6 {
			t.Errorf("refill(%d, %d) = %v, want %v s rounded up to 1 ms", missing, rate, got, want)
		}
	})
}

func TestUsedKeepsOutOfTheNegative(t *testing.T) {
	for s, want := range map[string]Limit{
		"32/40": {"d", 40, 8, -1, 0}, "40/40": {"d", 40, 0, -1, 0}, "41/40": {"d", 40, 0, -1, 0}, " 3 / 4 ": {"d", 4, 1, -1, 0},
		"": {"d", -1, -1, -1, 0}, "/": {"d", -1, -1, -1, 0}, "32": {"d", -1, -1, -1, 0}, "-1/40": {"d", -1, -1, -1, 0}, "1/x": {"d", -1, -1, -1, 0},
	} {
		if got := used("d", s); got != want {
			t.Errorf("used(%q) = %+v, want %+v", s, got, want)
		}
	}
}

func TestWindowNames(t *testing.T) {
	for d, want := range map[time.Duration]string{
		time.Second: "second", 10 * time.Second: "10s", time.Minute: "minute", 5 * time.Minute: "300s",
		time.Hour: "hour", 24 * time.Hour: "day", 1500 * time.Millisecond: "1500ms",
	} {
		if got := windowOf(d); got != want {
			t.Errorf("windowOf(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestGraphQLAloneHasItsBodyRead(t *testing.T) {
	for _, c := range []struct {
		dialect string
		a       Answer
		want    bool
	}{
		{"github", Answer{Method: "POST", Path: "/graphql"}, true},
		{"github", Answer{Method: "POST", Path: "/x", Header: header("X-RateLimit-Resource: graphql")}, true},
		{"github", Answer{Method: "POST", Path: "/repos/a/b/issues"}, false},
		{"github", Answer{Method: "GET", Path: "/graphql"}, false},
		{"shopify", Answer{Method: "POST", Path: "/admin/api/2026-01/graphql.json"}, true},
		{"shopify", Answer{Method: "POST", Path: "/admin/api/2026-01/orders.json"}, false},
		{"slack", Answer{Method: "POST", Path: "/api/x", Header: header("Content-Length: 40")}, true},
		{"slack", Answer{Method: "POST", Path: "/api/x", Header: header("Content-Length: 4000", "Content-Type: application/json")}, false},
		{"slack", Answer{Method: "POST", Path: "/api/x", Header: header("Content-Type: application/json")}, true},
	} {
		d, _ := Lookup(c.dialect)
		c.a.Status = http.StatusOK
		if got := d.BodyMaxOf(c.a) > 0; got != c.want {
			t.Errorf("%s: body of %s %s %v wanted: %t, want %t", c.dialect, c.a.Method, c.a.Path, c.a.Header, got, c.want)
		}
	}
}

func TestWindowsOfServices(t *testing.T) {
	for _, c := range []struct {
		dialect string
		lines   []string
		want    time.Duration
	}{
		{"github", []string{"X-RateLimit-Limit: 5000", "X-RateLimit-Resource: core"}, time.Hour},
		{"github", []string{"X-RateLimit-Limit: 10", "X-RateLimit-Resource: code_search"}, 0},
		{"gitlab", []string{"RateLimit-Limit: 60"}, time.Minute},
		{"pagerduty", []string{"RateLimit-Limit: 960"}, time.Minute},
		{"okta", []string{"X-Rate-Limit-Limit: 600"}, time.Minute},
		{"okta", []string{"X-Rate-Limit-Limit: 0", "X-Rate-Limit-Remaining: 0"}, 0},
		{"reddit", []string{"X-RateLimit-Remaining: 5.0"}, 10 * time.Minute},
		{"x", []string{"X-User-Limit-24hour-Limit: 17"}, 24 * time.Hour},
		{"cloudflare-api", []string{`RateLimit-Policy: "default";q=1200;w=300`}, 5 * time.Minute},
		{"zendesk", []string{"X-Rate-Limit: 700"}, time.Minute},
		{"hubspot", []string{"X-HubSpot-RateLimit-Max: 100"}, 10 * time.Second},
		{"salesforce", []string{"Sforce-Limit-Info: api-usage=1/2"}, 24 * time.Hour},
		{"shopify", []string{"X-Shopify-Shop-Api-Call-Limit: 1/40"}, 0},
	} {
		d, _ := Lookup(c.dialect)
		r := d.Read(Answer{Status: 200, Header: header(c.lines...)}, t0)
		if len(r.Limits) != 1 || r.Limits[0].Window != c.want {
			t.Errorf("%s: %q: limits %+v, want one with a window of %v", c.dialect, c.lines, r.Limits, c.want)
		}
	}
}
