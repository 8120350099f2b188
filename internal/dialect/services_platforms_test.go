package dialect

import "testing"

func TestDeveloperPlatforms(t *testing.T) {
	checkServices(t, []serviceCase{
		{
			"primary limit of another resource", "github", "GET /search/code",
			"429\nx-ratelimit-limit: 10\nx-ratelimit-remaining: 0\nx-ratelimit-reset: 1773144030\nx-ratelimit-resource: code_search\n",
			"throttled, repeat, wait 30s, on route:/search/code; requests:code_search 0/10 30s",
		},
		{
			"secondary limit with a blank Retry-After", "github", "POST /repos/a/b/issues",
			"403\nretry-after: \nx-ratelimit-remaining: 100\nx-ratelimit-reset: 1773146400\n\n{\"message\":\"You have exceeded a Secondary Rate Limit. Please wait a few minutes.\"}",
			"throttled, repeat, wait 1m0s; requests 100/- 40m0s",
		},
		{
			"secondary limit on a spent hour", "github", "GET /user",
			"403\nx-ratelimit-remaining: 0\nx-ratelimit-reset: 1773144600\nx-ratelimit-resource: core\n\n{\"message\":\"secondary rate limit\"}",
			"throttled, repeat, wait 10m0s; requests:core 0/- 10m0s",
		},
		{
			"secondary limit in the older words", "github", "GET /user",
			"403\n\n{\"message\":\"You have triggered an abuse detection mechanism.\"}",
			"throttled, repeat, wait 1m0s",
		},
		{
			"secondary limit with Retry-After alone", "github", "GET /user",
			"403\nretry-after: 90\n", "throttled, repeat, wait 1m30s",
		},
		{
			"429 with plenty left", "github", "GET /user",
			"429\nx-ratelimit-remaining: 10\nx-ratelimit-reset: 1773146400\n", "throttled, repeat, wait 1m0s; requests 10/- 40m0s",
		},
		{
			"spent hour on a call that is not found", "github", "GET /repos/a/b",
			"404\nx-ratelimit-remaining: 0\nx-ratelimit-reset: 1773146400\n\n{\"message\":\"Not Found\"}", "fatal; requests 0/- 40m0s",
		},
		{
			"GraphQL without fields", "github", "POST /graphql",
			"200\n\n{\"data\":null,\"errors\":[{\"path\":[\"x\"]},{\"type\":\"RATE_LIMITED\"}]}", "throttled, repeat, on route:/graphql",
		},
		{
			"GraphQL's secondary limit", "github", "POST /graphql",
			"200\nretry-after: 20\n\n{\"errors\":[{\"message\":\"You have exceeded a secondary rate limit\"}]}", "throttled, repeat, wait 20s",
		},
		{
			"GraphQL's other errors", "github", "POST /graphql",
			"200\nx-ratelimit-remaining: 0\n\n{\"errors\":[{\"type\":\"NOT_FOUND\"}]}", "ok; requests 0/- -",
		},
		{
			"GraphQL that took too long", "github", "POST /graphql",
			"502\nx-ratelimit-resource: graphql\nx-ratelimit-remaining: 7\n", "overloaded; cost:graphql 7/- -",
		},
		{
			"cached answer", "github", "GET /user",
			"200\nage: 30\nx-ratelimit-remaining: 0\nx-ratelimit-limit: 60\n", "ok",
		},
		{
			"reset by its date alone", "gitlab", "GET /api/v4/projects",
			"429\nRateLimit-Limit: 60\nRateLimit-Remaining: 0\nRateLimit-ResetTime: Tue, 10 Mar 2026 12:00:30 GMT\n\nRetry later\n",
			"throttled, repeat, wait 30s; requests 0/60 30s",
		},
		{
			"limit of the application", "gitlab", "POST /api/v4/notes",
			"429\nRateLimit-Name: throttle_authenticated_api\nRateLimit-Remaining: 9\nRateLimit-Limit: 60\nRetry-After: 60\n",
			"throttled, repeat, wait 1m0s, on route:/api/v4/notes; requests:throttle_authenticated_api 9/60 -",
		},
		{
			"burst of one endpoint", "atlassian", "PUT /rest/api/3/issue/X-1",
			"429\nRateLimit-Reason: jira-per-issue-on-write\nX-RateLimit-Limit: 20\nX-RateLimit-Remaining: 0\nX-RateLimit-Reset: 2026-03-10T12:00Z\n",
			"throttled, repeat, wait 0s, on route:/rest/api/3/issue/X-1; requests 0/20 0s",
		},
		{
			"points of the tenant", "atlassian", "GET /rest/api/3/search",
			"429\nRateLimit-Reason: jira-quota-tenant-based\nBeta-RateLimit: \"tenant-quota\";r=0;t=90\nRateLimit-Policy: \"a\";q=5\n",
			"throttled, repeat, wait 1m30s; requests:a -/5 -; requests:tenant-quota 0/- 1m30s",
		},
		{
			"structured fields on a 429", "cloudflare-api", "GET /client/v4/zones",
			"429\nRatelimit: \"default\";r=0;t=184\nRatelimit-Policy: \"default\";q=1200;w=300\n", "throttled, repeat, wait 3m4s; requests:default 0/1200 3m4s",
		},
		{
			"edge in front of the API", "cloudflare-api", "GET /client/v4/zones",
			"429\nServer: cloudflare\n\nerror code: 1015", "throttled, repeat, on provider",
		},
		{
			"windows by name", "datadog", "GET /api/v1/query",
			"200\nX-RateLimit-Limit: 1600\nX-RateLimit-Period: 3600\nX-RateLimit-Remaining: 1599\nX-RateLimit-Reset: 60\nX-RateLimit-Name: batch_query\n",
			"ok; requests:batch_query 1599/1600 1m0s",
		},
		{
			"429 of one of them", "datadog", "GET /api/v1/query", "429\nX-RateLimit-Remaining: 0\nX-RateLimit-Reset: 9\n",
			"throttled, repeat, wait 9s, on route:/api/v1/query; requests 0/- 9s",
		},
		{"Events API v1", "pagerduty", "POST /generic/2010-04-15/create_event.json", "403\n\nForbidden", "throttled, repeat, on route:/generic/2010-04-15/create_event.json"},
		{"permission", "pagerduty", "GET /incidents", "403\nratelimit-remaining: 0\nratelimit-reset: 5\n", "fatal; requests 0/- 5s"},
		{
			"server's clock behind ours", "okta", "GET /api/v1/users",
			"429\nDate: Tue, 10 Mar 2026 11:59:00 GMT\nX-Rate-Limit-Limit: 600\nX-Rate-Limit-Remaining: 0\nX-Rate-Limit-Reset: 1773143960\n",
			"throttled, repeat, wait 20s, on route:/api/v1/users; requests 0/600 20s",
		},
		{
			"calls at once", "okta", "GET /api/v1/users",
			"429\nX-Rate-Limit-Limit: 0\nX-Rate-Limit-Remaining: 0\nX-Rate-Limit-Reset: 1773144060\n", "throttled, repeat, wait 1m0s; concurrency 0/- 1m0s",
		},
		{"fraction left", "reddit", "GET /r/go", "200\nx-ratelimit-remaining: 0.5\nx-ratelimit-reset: 4\n", "ok; requests 0/- 4s"},
		{"fraction of a second", "reddit", "GET /r/go", "429\nretry-after: 2.61\n", "throttled, repeat, wait 2.61s"},
	})
}

func TestSocialAndChat(t *testing.T) {
	checkServices(t, []serviceCase{
		{
			"day of the user", "x", "POST /2/tweets",
			"429\nx-rate-limit-limit: 300\nx-rate-limit-remaining: 299\nx-rate-limit-reset: 1773144900\nx-user-limit-24hour-limit: 17\nx-user-limit-24hour-remaining: 0\nx-user-limit-24hour-reset: 1773180000\n",
			"throttled, repeat, wait 10h0m0s; requests 299/300 15m0s; requests_per_day:user 0/17 10h0m0s",
		},
		{"cap among errors", "x", "GET /2/tweets", "429\n\n{\"errors\":[{\"type\":\"https://api.twitter.com/2/problems/usage-capped\"}]}", "fatal"},
		{"credits", "x", "GET /2/tweets", "402\n\n{\"title\":\"CreditsDepleted\"}", "fatal"},
		{"window of an endpoint", "x", "GET /2/tweets", "429\n\n{\"errors\":[{\"code\":88}]}", "throttled, repeat, on route:/2/tweets"},
		{"over capacity", "x", "GET /2/tweets", "503\n\n{\"errors\":[{\"code\":130}]}", "overloaded, repeat"},
		{
			"wait in the body alone", "discord", "POST /api/v10/channels/1/messages",
			"429\n\n{\"message\":\"You are being rate limited.\",\"retry_after\":0.3,\"global\":false}",
			"throttled, repeat, wait 300ms, on route:/api/v10/channels/1/messages",
		},
		{
			"wait in Reset-After alone", "discord", "POST /api/v10/channels/1/messages",
			"429\nX-RateLimit-Bucket: b\nX-RateLimit-Limit: 5\nX-RateLimit-Remaining: 0\nX-RateLimit-Reset-After: 1.5\nX-RateLimit-Reset: 1773144999\n",
			"throttled, repeat, wait 1.5s, on route:/api/v10/channels/1/messages; requests:b 0/5 1.5s",
		},
		{
			"moment with a fraction", "discord", "GET /api/v10/users/@me",
			"200\nX-RateLimit-Limit: 5\nX-RateLimit-Remaining: 4\nX-RateLimit-Reset: 1773144001.123\nX-RateLimit-Reset-After: soon\n", "ok; requests 4/5 1.123s",
		},
		{"all routes by the body", "discord", "GET /api/v10/users/@me", "429\n\n{\"retry_after\":2,\"global\":true}", "throttled, repeat, wait 2s"},
		{"ban at the edge", "discord", "GET /api/v10/users/@me", "429\nServer: cloudflare\nRetry-After: 600\n\n<html>error code: 1015</html>", "throttled, repeat, wait 10m0s, on provider"},
		{"refused credential", "discord", "GET /api/v10/users/@me", "401\nRetry-After: 1\n", "fatal"},
		{"one method", "slack", "POST /api/chat.postMessage", "429\nRetry-After: 30\n", "throttled, repeat, wait 30s, on route:/api/chat.postMessage"},
		{
			"refusal with 200", "slack", "POST /api/chat.postMessage",
			"200\nContent-Type: application/json; charset=utf-8\nRetry-After: 2\n\n{\"ok\":false,\"error\":\"rate_limited\"}", "throttled, repeat, wait 2s, on route:/api/chat.postMessage",
		},
		{"other error with 200", "slack", "POST /api/chat.postMessage", "200\nContent-Length: 44\n\n{\"ok\":false,\"error\":\"channel_not_found\"}", "ok"},
		{"message that speaks of limits", "slack", "GET /api/x", "200\nContent-Length: 44\n\n{\"ok\":true,\"error\":\"ratelimited\"}", "ok"},
		{"longer than a year", "spotify", "GET /v1/me", "429\nRetry-After: 99999999999999999999\n", "throttled, repeat, wait 8784h0m0s"},
	})
}
