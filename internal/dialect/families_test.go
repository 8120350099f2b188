package dialect

import (
	"fmt"
	"testing"
	"time"
)

// An exchange is an answer in short, and how it must be read: class, "retry" or
// "no", wait or "-", scope, then the limits as show writes them.
type exchange struct {
	request string // method, path, model
	status  int
	lines   []string
	body    string
	want    string
}

func testExchanges(t *testing.T, dialect string, all []exchange) {
	t.Helper()
	d, ok := Lookup(dialect)
	if !ok {
		t.Fatalf("no dialect %q", dialect)
	}
	for _, x := range all {
		a := Answer{Status: x.status, Header: header(x.lines...), Body: []byte(x.body)}
		fmt.Sscan(x.request, &a.Method, &a.Path, &a.Model)
		r := d.Read(a, t0)
		if got := summary(r); got != x.want {
			t.Errorf("%s: %s -> %d %q %s\n got %s\nwant %s\n(%s)", dialect, x.request, x.status, x.lines, x.body, got, x.want, r.Why())
		}
	}
}

func summary(r Reading) string {
	if r.Class == OK || r.Class == Fatal {
		return r.Class.String() + summaryOf(r.Limits)
	}
	retry, wait := "no", "-"
	if r.Retryable {
		retry = "retry"
	}
	if r.HasWait {
		wait = r.Wait.String()
	}
	return fmt.Sprintf("%s %s %s %s%s", r.Class, retry, wait, r.Scope, summaryOf(r.Limits))
}

func summaryOf(all []Limit) (s string) {
	for _, l := range all {
		reset := "-"
		if l.Reset >= 0 {
			reset = l.Reset.String()
		}
		s += fmt.Sprintf("; %s %d/%d %s", l.Dimension, l.Remaining, l.Limit, reset)
	}
	return s
}

func openAIError(code, message string) string {
	return fmt.Sprintf(`{"error":{"message":%q,"type":"tokens","param":null,"code":%q}}`, message, code)
}

func TestOpenAI(t *testing.T) {
	testExchanges(t, "openai", []exchange{
		{"POST /v1/chat/completions", 429, nil, openAIError("rate_limit_exceeded", "Rate limit reached for gpt-4o in organization org-x on tokens per min (TPM): Limit 30000, Used 29880, Requested 742. Please try again in 1.244s. Visit …"),
			"throttled retry 1.244s model:gpt-4o"},
		{"POST /v1/chat/completions", 429, nil, openAIError("rate_limit_exceeded", "Rate limit reached for `gpt-4o-mini` on requests per day (RPD): Limit 200, Used 200, Requested 1. Please try again in 7m12s."),
			"throttled retry 7m12s model:gpt-4o-mini"},
		{"POST /v1/chat/completions gpt-5", 429, []string{"x-ratelimit-remaining-requests: 0", "x-ratelimit-reset-requests: 1m0.5s"}, "",
			"throttled retry 1m0.5s model:gpt-5; requests 0/-1 1m0.5s"},
		{"POST /v1/chat/completions", 429, []string{"x-ratelimit-remaining-requests: 9", "x-ratelimit-reset-requests: 1m0s", "x-ratelimit-remaining-project-tokens: 0", "x-ratelimit-reset-project-tokens: 6s"}, "",
			"throttled retry 6s credential; requests 9/-1 1m0s; tokens:project 0/-1 6s"},
		{"POST /v1", 429, nil, openAIError("insufficient_quota", "You exceeded your current quota"), "fatal"},
		{"POST /v1", 429, []string{"x-should-retry: true", "retry-after: 1"}, openAIError("insufficient_quota", "…"), "fatal"},
		{"POST /v1", 403, nil, openAIError("billing_not_active", "…"), "fatal"},
		{"POST /v1", 429, nil, openAIError("project_spend_limit_exceeded", "…"), "fatal"},
		{"POST /v1", 429, nil, openAIError("rate_limit_exceeded", "Rate limit reached for gpt-4o on tokens per min (TPM): Limit 30,000, Used 0, Requested 30,601."), "fatal"},
		{"POST /v1", 429, nil, `{"error":{"message":"The engine is currently overloaded, please try again later","type":"server_error"}}`, "overloaded retry - provider"},
		{"POST /v1", 429, nil, `{"error":{"message":"Rate limit reac`, "throttled retry - credential"},
		{"POST /v1", 429, []string{"Retry-After: 3"}, `not JSON`, "throttled retry 3s credential"},
		{"POST /v1", 500, nil, "", "overloaded retry - provider"},
		{"POST /v1", 503, []string{"retry-after-ms: 250"}, "", "overloaded retry 250ms provider"},
		{"POST /v1", 503, []string{"x-should-retry: false"}, "", "overloaded no - provider"},
		{"POST /v1", 400, nil, openAIError("context_length_exceeded", "Requested 9000 tokens"), "fatal"},
		{"POST /v1", 429, []string{"Server: cloudflare", "Retry-After: 10"}, "<html>error code: 1015</html>", "throttled retry 10s provider"},
		{"POST /v1", 200, []string{"Age: 3", "x-ratelimit-remaining-requests: 0"}, "", "ok"},
		{"POST /v1", 200, []string{"X-RateLimit-Limit: 5"}, "", "ok; requests -1/5 -"},
	})
}

func TestAzureOpenAI(t *testing.T) {
	const path = "POST /openai/deployments/mine/chat/completions"
	testExchanges(t, "azure-openai", []exchange{
		{path, 429, []string{"retry-after-ms: 0"}, `{"error":{"code":"429","message":"Please retry after 12 seconds."}}`, "throttled retry 12s model:mine"},
		{path, 429, []string{"x-ms-retry-after-ms: 1200", "retry-after: 2"}, "", "throttled retry 1.2s model:mine"},
		{path, 429, nil, `{"error":{"code":"429","message":"We are experiencing High Demand."}}`, "overloaded retry - model:mine"},
		{path, 429, nil, openAIError("insufficient_quota", "…"), "fatal"},
		{path, 503, nil, "", "overloaded retry - provider"},
		{path, 200, []string{"x-ratelimit-limit-requests: 10", "x-ratelimit-remaining-requests: 5", "x-ratelimit-renewalperiod-requests: 60", "x-ratelimit-reset-requests: 29000"}, "", "ok; requests 5/10 29s"},
		{path, 200, []string{"x-ratelimit-limit-requests: 10", "x-ratelimit-remaining-requests: 5", "x-ratelimit-renewalperiod-requests: 60", "x-ratelimit-reset-requests: 31"}, "", "ok; requests 5/10 31s"},
		{path, 200, []string{"x-ratelimit-limit-requests: 10", "x-ratelimit-remaining-requests: 5", "x-ratelimit-reset-requests: 500"}, "", "ok; requests 5/10 8m20s"},
		{path, 200, []string{"x-ratelimit-limit-requests: 0", "x-ratelimit-remaining-requests: 0", "x-ratelimit-renewalperiod-requests: 60", "x-ratelimit-reset-requests: 9"}, "", "ok; requests 0/0 9s"},
		{path, 200, []string{"x-ratelimit-limit-tokens: 10", "x-ratelimit-remaining-tokens: 5", "x-ratelimit-renewalperiod-tokens: 60", "x-ratelimit-reset-tokens: 40ms"}, "", "ok; tokens 5/10 40ms"},
	})
}

func TestAnthropic(t *testing.T) {
	fault := func(kind, message string) string {
		return fmt.Sprintf(`{"type":"error","error":{"type":%q,"message":%q}}`, kind, message)
	}
	testExchanges(t, "anthropic", []exchange{
		{"POST /v1/messages claude-x", 429, []string{"retry-after: 7"}, fault("rate_limit_error", "…"), "throttled retry 7s model:claude-x"},
		{"POST /v1/messages", 429, []string{"anthropic-ratelimit-tokens-remaining: 0", "anthropic-ratelimit-tokens-reset: 2026-03-10T13:00:10+01:00"}, "",
			"throttled retry 10s credential; tokens 0/-1 10s"},
		{"POST /v1/messages", 429, []string{"anthropic-ratelimit-requests-remaining: 0", "anthropic-ratelimit-requests-reset: 2026-03-10T12:00:05Z", "Date: Tue, 10 Mar 2026 12:00:01 GMT"}, "",
			"throttled retry 4s credential; requests 0/-1 4s"},
		{"POST /v1/messages", 529, []string{"retry-after: 2"}, fault("overloaded_error", "Overloaded"), "overloaded retry 2s provider"},
		{"POST /v1/messages", 500, nil, fault("api_error", "…"), "overloaded retry - provider"},
		{"POST /v1/messages", 500, nil, "", "overloaded retry - provider"},
		{"POST /v1/messages", 413, []string{"retry-after: 2"}, fault("request_too_large", "…"), "fatal"},
		{"POST /v1/messages", 400, nil, fault("invalid_request_error", "Your credit balance is too low to access the API."), "fatal"},
		{"POST /v1/messages", 429, []string{"retry-after: 2"}, fault("rate_limit_error", "You have reached your specified API usage limits."), "fatal"},
		{"POST /v1/messages", 401, nil, fault("authentication_error", "…"), "fatal"},
	})
}

func TestGoogle(t *testing.T) {
	const daily = `{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","message":"x","details":[{"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{"quotaId":"GenerateRequestsPerDayPerProjectPerModel-FreeTier","quotaValue":"50"}]}]}}`
	minute := func(more string) string {
		return `{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","message":"x","details":[{"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{"quotaMetric":"m/generate_content_free_tier_requests","quotaId":"GenerateRequestsPerMinutePerProjectPerModel-FreeTier","quotaDimensions":{"model":"gemini-2.0-flash"},"quotaValue":"15"}]}` + more + `]}}`
	}
	const path = "POST /v1beta/models/gemini-pro:generateContent"
	testExchanges(t, "gemini", []exchange{
		{path, 429, nil, minute(""), "throttled retry 1m0s model:gemini-2.0-flash; requests_per_minute 0/15 -"},
		{path, 429, nil, minute(`,{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"900ms"}`), "throttled retry 900ms model:gemini-2.0-flash; requests_per_minute 0/15 -"},
		{path, 429, []string{"Retry-After: 5"}, minute(""), "throttled retry 5s model:gemini-2.0-flash; requests_per_minute 0/15 -"},
		{path, 429, nil, "[" + minute("") + "]", "throttled retry 1m0s model:gemini-2.0-flash; requests_per_minute 0/15 -"},
		{path, 429, nil, fmt.Sprintf(`{"error":{"code":429,"message":%q}}`, daily), "fatal; requests_per_day 0/50 -"},
		{path, 429, nil, `{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","message":"Quota exceeded. Please retry in 34.074824224s."}}`, "throttled retry 34.075s model:gemini-pro"},
		{path, 429, nil, `{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"QUOTA_EXHAUSTED"}]}}`, "fatal"},
		{path, 429, nil, `{"error":{"details":[{"@type":"x/google.rpc.QuotaFailure","violations":[{"quotaId":"InputTokensPerModelPerMinute","quotaValue":"0"}]}]}}`, "fatal; input_tokens_per_minute 0/0 -"},
		{path, 503, nil, "", "overloaded retry - provider"},
		{path, 504, nil, "", "overloaded retry - provider"},
		{path, 400, nil, `{"error":{"code":400,"status":"INVALID_ARGUMENT"}}`, "fatal"},
	})
	testExchanges(t, "vertex", []exchange{
		{"POST /v1/projects/p/locations/l/publishers/google/models/gemini-pro:generateContent", 429, nil, `{"error":{"code":429,"status":"RESOURCE_EXHAUSTED"}}`, "throttled retry - model:gemini-pro"},
		{"POST /v1", 503, []string{"Retry-After: 1"}, "", "overloaded retry 1s provider"},
	})
	older := func(reason string) string {
		return fmt.Sprintf(`{"error":{"code":403,"message":"x","errors":[{"domain":"usageLimits","reason":%q}]}}`, reason)
	}
	testExchanges(t, "google-api", []exchange{
		{"POST /drive", 403, nil, older("rateLimitExceeded"), "throttled retry - credential"},
		{"GET /drive", 403, []string{"Retry-After: 3"}, older("userRateLimitExceeded"), "throttled retry 3s credential"},
		{"GET /drive", 403, nil, older("quotaExceeded"), "fatal"},
		{"GET /drive", 403, nil, older("storageQuotaExceeded"), "fatal"},
		{"GET /drive", 403, nil, older("forbidden"), "fatal"},
		{"GET /drive", 403, nil, "", "fatal"},
		{"GET /drive", 429, nil, older("dailyLimitExceeded"), "fatal"},
		{"GET /drive", 429, nil, older("rateLimitExceeded"), "throttled retry - credential"},
		{"GET /v4", 429, nil, `{"error":{"status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"RATE_LIMIT_EXCEEDED","metadata":{"quota_limit":"ReadsPerDayPerProject"}}]}}`, "fatal"},
		{"GET /v4", 429, nil, `{"error":{"status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"RATE_LIMIT_EXCEEDED","metadata":{"quota_limit":"ReadRequestsPerMinutePerUser"}}]}}`, "throttled retry - credential"},
		{"POST /v4", 503, nil, "", "overloaded no - credential"},
	})
}

func TestBedrock(t *testing.T) {
	const path = "POST /model/amazon.titan-v1:0/invoke"
	testExchanges(t, "bedrock", []exchange{
		{path, 400, nil, `{"__type":"com.amazon.bedrock#ThrottlingException","message":"…"}`, "throttled retry - model:amazon.titan-v1:0"},
		{path, 429, nil, `{"message":"Too many requests"}`, "throttled retry - model:amazon.titan-v1:0"},
		{path, 424, []string{"x-amzn-ErrorType: ModelErrorException"}, "", "overloaded retry - model:amazon.titan-v1:0"},
		{path, 424, nil, "", "overloaded retry - model:amazon.titan-v1:0"},
		{path, 408, []string{"x-amzn-ErrorType: ModelTimeoutException:http://x"}, "", "overloaded retry - model:amazon.titan-v1:0"},
		{path, 403, []string{"x-amzn-ErrorType: AccessDeniedException"}, "", "fatal"},
		{path, 400, []string{"x-amzn-ErrorType: ValidationException"}, "", "fatal"},
		{path, 503, []string{"x-amz-retry-after: 0", "retry-after: 3"}, "", "overloaded retry 3s model:amazon.titan-v1:0"},
	})
}

func TestModelAPIs(t *testing.T) {
	testExchanges(t, "mistral", []exchange{
		{"POST /v1", 429, nil, `{"type":"service_tier_capacity_exceeded","code":3505}`, "overloaded retry - credential"},
		{"POST /v1 m", 429, []string{"x-ratelimit-remaining-req-minute: 0", "x-ratelimit-remaining-tokens-month: 5"}, "", "throttled retry - model:m; requests_per_minute 0/-1 -; tokens_per_month 5/-1 -"},
		{"POST /v1", 429, []string{"x-ratelimit-remaining-tokens-month: 0", "x-ratelimit-limit-tokens-month: 9"}, "", "fatal; tokens_per_month 0/9 -"},
		{"POST /v1", 503, nil, "", "overloaded retry - provider"},
	})
	testExchanges(t, "groq", []exchange{
		{"POST /v1", 429, nil, openAIError("rate_limit_exceeded", "Rate limit reached for model `llama-3` in organization `org` on tokens per day (TPD): Limit 100000, Used 99552, Requested 1533. Please try again in 1h34m52.896s."),
			"throttled retry 1h34m52.896s model:llama-3"},
		{"POST /v1", 413, []string{"retry-after: 9"}, "", "fatal"},
		{"POST /v1", 498, nil, "", "overloaded retry - provider"},
		{"POST /v1", 429, nil, openAIError("rate_limit_exceeded", "Request too large for model"), "fatal"},
	})
	testExchanges(t, "cohere", []exchange{
		{"POST /v1", 429, nil, "You are using a Trial key, which is limited to 1000 API calls per month", "fatal"},
		{"POST /v1", 429, nil, `{"message":"limited to 40 API calls / minute"}`, "throttled retry - credential"},
		{"POST /v1", 503, nil, "", "overloaded retry - provider"},
	})
	testExchanges(t, "together", []exchange{
		{"POST /v1", 429, []string{"x-ratelimit-limit: 2", "x-ratelimit-remaining: 0", "x-ratelimit-reset: 1"}, "", "throttled retry 1s credential; requests 0/2 1s"},
		{"POST /v1", 402, nil, "", "fatal"},
	})
	testExchanges(t, "replicate", []exchange{
		{"POST /v1/predictions", 429, nil, `{"detail":"Request was throttled.","retry_after":3}`, "throttled retry 3s credential"},
		{"POST /v1/predictions", 503, nil, "", "overloaded no - credential"},
		{"GET /v1/predictions", 503, nil, "", "overloaded retry - credential"},
		{"POST /v1/predictions", 402, nil, "", "fatal"},
	})
	testExchanges(t, "huggingface", []exchange{
		{"GET /api/models", 200, []string{`RateLimit: "pages";r=12;t=55`, `RateLimit-Policy: "fixed window";"pages";q=100;w=300`}, "", "ok; requests:pages 12/100 55s"},
		{"GET /api/models", 200, []string{`RateLimit: "pages";r=12;t=55`, `RateLimit-Policy: "pages";q=100;w=300`}, "", "ok; requests:pages 12/100 55s"},
		{"GET /api/models", 429, []string{"Retry-After: 300", `RateLimit: "api";r=0;t=55`}, "", "throttled retry 5m0s credential; requests:api 0/-1 55s"},
		{"POST /models/bert", 503, nil, `{"error":"Model bert is currently loading","estimated_time":120}`, "overloaded retry 2m0s model:bert"},
		{"POST /models/bert", 429, []string{"x-error-message: You have exceeded your monthly included credits"}, "", "fatal"},
	})
	testExchanges(t, "openrouter", []exchange{
		{"POST /api/v1", 502, nil, "", "overloaded retry - provider"},
		{"POST /api/v1", 402, nil, "", "fatal"},
		{"POST /api/v1", 200, []string{"X-RateLimit-Limit: -1", "X-RateLimit-Remaining: -1"}, "", "ok"},
	})
	testExchanges(t, "modal", []exchange{
		{"POST /", 303, []string{"Location: /result"}, "", "ok"},
		{"POST /", 429, []string{"X-RateLimit-Remaining: 0", "X-RateLimit-Reset: 99"}, "", "throttled retry - credential"},
		{"POST /", 503, nil, "", "overloaded no - credential"},
	})
}

func TestServers(t *testing.T) {
	testExchanges(t, "kubernetes", []exchange{
		{"POST /api", 429, nil, `{"kind":"Status","reason":"TooManyRequests","details":{"retryAfterSeconds":2}}`, "throttled retry 2s credential"},
		{"GET /api", 503, []string{"Retry-After: 1"}, "", "overloaded retry 1s credential"},
		{"POST /api", 409, nil, "", "fatal"},
	})
	testExchanges(t, "aws-apigateway", []exchange{
		{"POST /x", 429, nil, `{"message":"Limit Exceeded"}`, "fatal"},
		{"POST /x", 429, nil, `{"message":"Too Many Requests"}`, "throttled retry - credential"},
		{"POST /x", 504, nil, `{"message":"Endpoint request timed out"}`, "overloaded no - credential"},
		{"POST /x", 403, nil, `{"message":"Forbidden"}`, "fatal"},
	})
	testExchanges(t, "envoy", []exchange{
		{"POST /x", 503, []string{"x-envoy-ratelimited: true"}, "", "throttled retry - credential"},
		{"POST /x", 500, []string{"x-envoy-ratelimited: true"}, "", "overloaded no - credential"},
		{"POST /x", 503, []string{"x-envoy-overloaded: true"}, "", "overloaded no - provider"},
		{"GET /x", 200, []string{"x-ratelimit-limit: 10, 10;window=60", "x-ratelimit-remaining: 4", "x-ratelimit-reset: 42"}, "", "ok; requests 4/10 42s"},
	})
	testExchanges(t, "kong", []exchange{
		{"GET /x", 429, []string{"X-RateLimit-Limit-Second: 5", "X-RateLimit-Remaining-Second: 0"}, "", "throttled retry - credential; requests_per_second 0/5 -"},
		{"GET /x", 200, []string{"RateLimit-Limit: 9", "RateLimit-Remaining: 8", "RateLimit-Reset: 3", "X-RateLimit-Limit-Hour: 9", "X-RateLimit-Remaining-Hour: 8"}, "",
			"ok; requests 8/9 3s; requests_per_hour 8/9 -"},
	})
	testExchanges(t, "express-rate-limit", []exchange{
		{"GET /x", 429, []string{"Date: Tue, 10 Mar 2026 11:59:50 GMT", "X-RateLimit-Limit: 5", "X-RateLimit-Remaining: 0", "X-RateLimit-Reset: 1773144000", "RateLimit-Limit: 5", "RateLimit-Remaining: 0", "RateLimit-Reset: 10"}, "",
			"throttled retry 10s credential; requests 0/5 10s"},
	})
	testExchanges(t, "ietf", []exchange{
		{"GET /x", 403, nil, `{"type":"https://iana.org/assignments/http-problem-types#quota-exceeded"}`, "throttled retry - credential"},
		{"GET /x", 429, nil, `{"type":"https://iana.org/assignments/http-problem-types#temporary-reduced-capacity"}`, "overloaded retry - credential"},
	})
	testExchanges(t, "cloudflare-edge", []exchange{
		{"GET /x", 429, nil, `{"cloudflare_error":true,"error_code":1015,"retry_after":30}`, "throttled retry 30s provider"},
		{"GET /x", 403, nil, `<span class="cf-error-code">1015</span>`, "throttled retry - provider"},
		{"GET /x", 403, nil, `error code: 1020`, "fatal"},
		{"GET /x", 522, nil, "", "overloaded retry - provider"},
		{"POST /x", 520, nil, "", "overloaded no - provider"},
	})
}

func TestGenericReadsWordsAndCodesOfBodies(t *testing.T) {
	testExchanges(t, "generic", []exchange{
		{"GET /x", 429, nil, "Too many requests, please try again in 2 minutes.", "throttled retry 2m0s credential"},
		{"GET /x", 429, nil, `{"error":{"message":"slow down","retry_after":1.5}}`, "throttled retry 1.5s credential"},
		{"GET /x", 429, nil, `{"retry_after":-1}`, "throttled retry - credential"},
		{"GET /x", 429, nil, `{"retry_after":"NaN"}`, "throttled retry - credential"},
		{"GET /x", 429, nil, `{"error":"insufficient_quota"}`, "fatal"},
		{"GET /x", 429, nil, `{"error":{"code":"insufficient_quota"`, "fatal"},
		{"GET /x", 429, []string{"Server: cloudflare"}, "error code: 1015", "throttled retry - provider"},
	})
	a := Answer{Status: 429, Header: header("Server: cloudflare"), Body: []byte("error code: 1015")}
	if r := standard.Read(a, t0); r.Dialect != "cloudflare-edge" {
		t.Errorf("the edge's page reads as %s, want cloudflare-edge", r.Dialect)
	}
}

func TestProseOfWaits(t *testing.T) {
	for s, want := range map[string]time.Duration{
		"Please try again in 20s.":                              20 * time.Second,
		"try again in 6m0s":                                     6 * time.Minute,
		"Try again in 15m37.44s. Need more?":                    15*time.Minute + 37440*time.Millisecond,
		"Please try again in 820ms":                             820 * time.Millisecond,
		"Please retry after 86400 seconds.":                     24 * time.Hour,
		"Your rate limit resets in ~30s.":                       30 * time.Second,
		"wait 1 minute and 5 seconds":                           65 * time.Second,
		"wait at least 2 hours, 3 mins":                         2*time.Hour + 3*time.Minute,
		"available again in 3 Days":                             72 * time.Hour,
		"Retry in 99999999999999999 hours":                      MaxWait,
		"Please try again in a few minutes.":                    none,
		"limited to 20 API calls / minute":                      none,
		"try again in 20":                                       none,
		"try again in 20 bananas":                               none,
		"try again later":                                       none,
		"country against 5s":                                    none,
		"":                                                      none,
		"retry the call, then try again in 3s":                  3 * time.Second,
		"retry after 5 things; else try again in 0.0001 second": time.Millisecond,
	} {
		d, by := prosaic(s)
		if by == (signal{}) {
			d = none
		}
		if d != want {
			t.Errorf("prosaic(%q) = %v, want %v", s, d, want)
		}
	}
}

func TestParseKeepsWhatStandsBeforeAFault(t *testing.T) {
	for body, want := range map[string]string{
		`{"a":{"b":"x"}}`:               "x",
		`{"a":{"b":"x","c":`:            "x",
		`{"a":{"b":"x"}, nonsense`:      "x",
		`{"a":{"b":7.50}`:               "7.50",
		` [{"a":{}},{"a":{"b":"x"}}]`:   "",
		`{"a":{"b":"cut of`:             "",
		`{"a":{"b":true}}`:              "",
		`{"a":[{"b":"x"}]}`:             "",
		`{"a":null}`:                    "",
		`"a"`:                           "",
		``:                              "",
		`{"a":{"b":"x"}}{"a":"second"}`: "x",
	} {
		a := answer{Answer: Answer{Body: []byte(body)}}
		if got := a.text("a", "b"); got != want {
			t.Errorf("a.b of %s = %q, want %q", body, got, want)
		}
	}
	a := answer{Answer: Answer{Body: []byte(`{"a":[null,{"b":"x"}]}`)}}
	if got := a.text("a", "1", "b"); got != "x" {
		t.Errorf("a.1.b = %q, want x", got)
	}
	for _, index := range []string{"2", "-1", "x", ""} {
		if got := a.at("a", index); got != nil {
			t.Errorf("a[%q] = %v, want nil", index, got)
		}
	}
}

func TestWindowsOfLimits(t *testing.T) {
	for _, c := range []struct {
		dialect string
		lines   []string
		want    time.Duration
	}{
		{"mistral", []string{"x-ratelimit-limit-req-10-second: 60"}, 10 * time.Second},
		{"groq", []string{"x-ratelimit-limit-requests: 60"}, 24 * time.Hour},
		{"kong", []string{"X-RateLimit-Limit-Hour: 60"}, time.Hour},
		{"azure-openai", []string{"x-ratelimit-limit-tokens: 60", "x-ratelimit-renewalperiod-tokens: 10"}, 10 * time.Second},
		{"huggingface", []string{`RateLimit-Policy: "fixed window";"api";q=500;w=300`}, 5 * time.Minute},
		{"datadog", []string{"X-RateLimit-Limit: 60", "X-RateLimit-Period: 3600"}, time.Hour},
		{"openai", []string{"x-ratelimit-limit-requests: 60"}, 0},
		{"generic", []string{"X-RateLimit-Limit: 60"}, 0},
	} {
		d, _ := Lookup(c.dialect)
		r := d.Read(Answer{Status: 200, Header: header(c.lines...)}, t0)
		if len(r.Limits) != 1 || r.Limits[0].Window != c.want {
			t.Errorf("%s: %q: limits %+v, want one with a window of %v", c.dialect, c.lines, r.Limits, c.want)
		}
	}
	for dimension, want := range map[string]time.Duration{
		"requests_per_second": time.Second, "tokens_per_week:x": 7 * 24 * time.Hour, "requests_per_500ms": 500 * time.Millisecond,
		"requests_per_month": 0, "requests": 0, "requests:a_per_minute": 0, "x_per_": 0, "": 0,
	} {
		if got := windowIn(dimension); got != want {
			t.Errorf("windowIn(%q) = %v, want %v", dimension, got, want)
		}
	}
}
