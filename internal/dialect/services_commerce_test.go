package dialect

import (
	"fmt"
	"testing"
)

func TestCommerce(t *testing.T) {
	checkServices(t, []serviceCase{
		{
			"one endpoint", "stripe", "POST /v1/charges", "429\nStripe-Rate-Limited-Reason: endpoint-concurrency\n",
			"throttled, repeat, on route:/v1/charges",
		},
		{"one object", "stripe", "POST /v1/payment_intents/pi_1", "429\nStripe-Rate-Limited-Reason: resource-specific\n", "throttled, repeat, on route:/v1/payment_intents/pi_1"},
		{"whole account", "stripe", "POST /v1/charges", "429\nStripe-Rate-Limited-Reason: global-rate\n", "throttled, repeat"},
		{"lock", "stripe", "POST /v1/charges/1", "429\n\n{\"error\":{\"code\":\"lock_timeout\"}}", "throttled, repeat, on route:/v1/charges/1"},
		{"lock that must not be tried again", "stripe", "POST /v1/charges/1", "429\nStripe-Should-Retry: false\n\n{\"error\":{\"code\":\"lock_timeout\"}}", "throttled, on route:/v1/charges/1"},
		{"old versions", "stripe", "POST /v1/charges", "400\n\n{\"error\":{\"type\":\"invalid_request_error\",\"code\":\"rate_limit\"}}", "throttled, repeat"},
		{"wrong parameter", "stripe", "POST /v1/charges", "400\nStripe-Should-Retry: false\n\n{\"error\":{\"code\":\"parameter_missing\"}}", "fatal"},
		{"same key in progress", "stripe", "POST /v1/charges", "409\n\n{\"error\":{\"code\":\"idempotency_key_in_use\"}}", "overloaded, on route:/v1/charges"},
		{"other conflict", "stripe", "POST /v1/charges", "409\n\n{\"error\":{\"type\":\"invalid_request_error\"}}", "fatal"},
		{"over the bucket", "shopify", "GET /admin/api/2026-01/orders.json", "429\nX-Shopify-Shop-Api-Call-Limit: 41/40\n", "throttled, repeat; requests 0/40 -"},
		{"lines of two proxies", "shopify", "GET /orders.json", "200\nX-Shopify-Shop-Api-Call-Limit: 3/40\nX-Shopify-Shop-Api-Call-Limit: 5/40, 4/40\n", "ok; requests 35/40 -"},
		{"locked shop", "shopify", "GET /admin/api/2026-01/orders.json", "423\nRetry-After: 1\n", "fatal"},
		{
			"query that costs too much", "shopify", "POST /graphql.json",
			"200\n\n{\"errors\":[{\"message\":\"x\",\"extensions\":{\"code\":\"MAX_COST_EXCEEDED\",\"cost\":1500,\"maxCost\":1000}}]}", "fatal",
		},
		{"throttle without cost", "shopify", "POST /graphql.json", "200\n\n{\"errors\":[{\"extensions\":{\"code\":\"THROTTLED\"}}]}", "throttled, repeat"},
		{"other error", "shopify", "POST /graphql.json", "200\n\n{\"errors\":[{\"message\":\"Throttled fields are wrong\",\"extensions\":{\"code\":\"undefinedField\"}}]}", "ok"},
		{"errors as a text", "shopify", "POST /graphql.json", "200\n\n{\"errors\":\"Not Found\"}", "ok"},
		{"cut off behind the error", "shopify", "POST /graphql.json", "200\n\n{\"errors\":[{\"extensions\":{\"code\":\"THROTTLED\"}}],\"extensions\":{\"cost\":{\"requ", "throttled, repeat"},
	})
}

func TestShopifyWaitsForCost(t *testing.T) {
	const answer = "200\n\n{\"errors\":[{\"message\":\"Throttled\",\"extensions\":{\"code\":\"THROTTLED\"}}],\"extensions\":{\"cost\":" +
		"{\"requestedQueryCost\":%s,\"actualQueryCost\":null,\"throttleStatus\":{\"maximumAvailable\":%s,\"currentlyAvailable\":%s,\"restoreRate\":%s}}}}"
	for _, c := range []struct{ requested, size, available, rate, want string }{
		{"752", "1000.0", "50", "50.0", "throttled, repeat, wait 14.04s; cost 50/1000 19s"},
		{"752", "1000.0", "50.5", "50.0", "throttled, repeat, wait 14.03s; cost 50/1000 18.99s"},
		{"100", "1000", "0", "3", "throttled, repeat, wait 33.334s; cost 0/1000 5m33.334s"},
		{"10", "1000", "50", "50", "throttled, repeat, wait 0s; cost 50/1000 19s"},
		{"752", "1000", "50", "0", "throttled, repeat; cost 50/1000 -"},
		{"752", "1000", "50", "0.0", "throttled, repeat; cost 50/1000 -"},
		{"752", "1000", "50", "-50", "throttled, repeat; cost 50/1000 -"},
		{"752", "1000", "50", "null", "throttled, repeat; cost 50/1000 -"},
		{"null", "1000", "50", "50", "throttled, repeat; cost 50/1000 19s"},
		{"null", "1000", "0", "50", "throttled, repeat, wait 20s; cost 0/1000 20s"},
		{"752", "null", "50", "50", "throttled, repeat, wait 14.04s; cost 50/- -"},
		{"752", "1000", "-5", "50", "throttled, repeat; cost -/1000 -"},
		{"752", "1000", "0", "0.000001", "throttled, repeat, wait 8784h0m0s; cost 0/1000 8784h0m0s"},
		{"1001", "1000", "50", "50", "fatal; cost 50/1000 19s"},
	} {
		s := serviceCase{dialect: "shopify", request: "POST /admin/api/2026-01/graphql.json", answer: fmt.Sprintf(answer, c.requested, c.size, c.available, c.rate)}
		r := s.read(t)
		if got := brief(r); got != c.want {
			t.Errorf("%+v\n got %s\nwant %s", c, got, c.want)
		}
		checkReading(t, r)
	}
}

func TestOffice(t *testing.T) {
	checkServices(t, []serviceCase{
		{
			"limit of an app", "salesforce", "GET /services/data", "200\nSforce-Limit-Info: api-usage=25/5000; per-app-api-usage=17/250(appName=sample-app)\n",
			"ok; requests_per_day 4975/5000 -; requests_per_day:sample-app 233/250 -",
		},
		{"more used than there is", "salesforce", "GET /services/data", "200\nSforce-Limit-Info: api-usage=15007/15000\n", "ok; requests_per_day 0/15000 -"},
		{"garbage", "salesforce", "GET /services/data", "200\nSforce-Limit-Info: api-usage=many/5000, x, per-app-api-usage=1/2\n", "ok; requests_per_day 1/2 -"},
		{
			"long calls at once", "salesforce", "POST /services/data",
			"403\n\n[{\"message\":\"ConcurrentPerOrgLongTxn Limit exceeded.\",\"errorCode\":\"REQUEST_LIMIT_EXCEEDED\"}]", "throttled, repeat",
		},
		{"fault of SOAP", "salesforce", "POST /services/Soap/u/60.0", "500\n\n<faultcode>sf:REQUEST_LIMIT_EXCEEDED</faultcode>", "fatal"},
		{"permission", "salesforce", "GET /services/data", "403\n\n[{\"errorCode\":\"INSUFFICIENT_ACCESS\"}]", "fatal"},
		{"server", "salesforce", "POST /services/data", "503\n\n[{\"errorCode\":\"SERVER_UNAVAILABLE\"}]", "overloaded"},
		{"policy of a second", "hubspot", "POST /crm/v3/objects/contacts/search", "429\n\n{\"errorType\":\"RATE_LIMIT\",\"policyName\":\"SECONDLY\"}", "throttled, repeat, wait 1s"},
		{"Retry-After before the policy", "hubspot", "GET /crm", "429\nRetry-After: 3\n\n{\"policyName\":\"TEN_SECONDLY_ROLLING\"}", "throttled, repeat, wait 3s"},
		{"unknown policy", "hubspot", "GET /crm", "429\n\n{\"policyName\":\"OTHER\"}", "throttled, repeat"},
		{"spent day by its message", "hubspot", "GET /crm", "429\n\n{\"message\":\"You have reached your daily limit.\"}", "fatal"},
		{"migration", "hubspot", "GET /crm", "477\nRetry-After: 3600\n", "overloaded, repeat, wait 1h0m0s"},
		{"lock", "hubspot", "POST /crm", "423\n", "overloaded, on route:/crm"},
		{
			"other window", "hubspot", "GET /crm", "200\nX-HubSpot-RateLimit-Max: 19\nX-HubSpot-RateLimit-Remaining: 18\nX-HubSpot-RateLimit-Interval-Milliseconds: 1000\n",
			"ok; requests_per_second 18/19 -",
		},
		{"window of ten seconds unless told", "hubspot", "GET /crm", "200\nX-HubSpot-RateLimit-Max: 100\nX-HubSpot-RateLimit-Remaining: 9\n", "ok; requests_per_10s 9/100 -"},
		{"calls at once", "twilio", "POST /x", "429\nTwilio-Concurrent-Requests: 101\nRetry-After: 1\n\n{\"code\":20429}", "throttled, repeat, wait 1s"},
		{"spent day", "twilio", "POST /x", "429\n\n{\"code\":63038,\"status\":429}", "fatal"},
		{"one endpoint", "sendgrid", "GET /v3/templates", "429\nX-RateLimit-Remaining: 0\nX-RateLimit-Reset: 1773144022\n", "throttled, repeat, wait 22s, on route:/v3/templates; requests 0/- 22s"},
		{
			"one endpoint", "zendesk", "GET /api/v2/tickets", "429\nratelimit-limit: 700\nratelimit-remaining: 600\nratelimit-reset: 41\nzendesk-ratelimit-tickets-index: total=100;remaining=0;resets=12\n",
			"throttled, repeat, wait 12s, on route:/api/v2/tickets; requests 600/700 41s; requests:tickets-index 0/100 12s",
		},
		{
			"older fields alone", "zendesk", "GET /api/v2/tickets", "200\nX-Rate-Limit: 700\nX-Rate-Limit-Remaining: 699\n", "ok; requests 699/700 -",
		},
		{
			"least of two", "zendesk", "GET /api/v2/tickets", "200\nX-Rate-Limit: 700\nX-Rate-Limit-Remaining: 3\nratelimit-limit: 700\nratelimit-remaining: 9\nratelimit-reset: 5\nzendesk-ratelimit-x: garbage; total=-1\n",
			"ok; requests 3/700 5s",
		},
		{
			"lines of two proxies", "zendesk", "GET /api/v2/tickets", "200\nratelimit-limit: 700\nratelimit-remaining: 9, 8\nratelimit-reset: 5, 4\nzendesk-ratelimit-x: total=5; remaining=4\nzendesk-ratelimit-x: total=5; remaining=3; resets=99999999999\n",
			"ok; requests 8/700 4s; requests:x 3/5 8784h0m0s",
		},
		{"overload of a change", "notion", "PATCH /v1/pages/1", "529\n", "overloaded, repeat"},
		{"error of a change", "notion", "PATCH /v1/pages/1", "503\n", "overloaded"},
		{"error of a reading", "notion", "GET /v1/pages/1", "500\n", "overloaded, repeat"},
		{"words without a number", "notion", "POST /v1/search", "429\n\n{\"code\":\"rate_limited\",\"message\":\"Please try again in a few minutes.\"}", "throttled, repeat"},
		{"penalty of a base", "airtable", "GET /v0/appX/Table%201", "429\n", "throttled, repeat, wait 30s, on route:/v0/appX"},
		{"penalty of a base by its definition", "airtable", "GET /v0/meta/bases/appX/tables", "429\n", "throttled, repeat, wait 30s, on route:/v0/meta/bases/appX"},
		{"Retry-After before the penalty", "airtable", "GET /v0/meta/whoami", "429\nRetry-After: 5\n", "throttled, repeat, wait 5s"},
		{"spent month in another form", "airtable", "GET /v0/appX/T", "429\nRetry-After: 30\n\n{\"error\":{\"type\":\"PUBLIC_API_BILLING_LIMIT_EXCEEDED\"}}", "fatal"},
		{"overload", "airtable", "GET /v0/appX/T", "503\n", "overloaded, repeat"},
	})
}

func TestPresetsOfServices(t *testing.T) {
	for _, f := range services {
		p, ok := PresetOf(f.name)
		if !ok || p.Methods != MethodsIdempotent || p.Usage != nil {
			t.Errorf("PresetOf(%q) = %+v, %t, want idempotent methods and no tokens", f.name, p, ok)
		}
	}
}
