package dialect

// kongTriples are the limits of Kong's plugin rate-limiting, one for each period;
// RateLimit-* tells the tightest of them.
var kongTriples = []triple{
	{dimension: "requests_per_second", limit: "X-Ratelimit-Limit-Second", remaining: "X-Ratelimit-Remaining-Second"},
	{dimension: "requests_per_minute", limit: "X-Ratelimit-Limit-Minute", remaining: "X-Ratelimit-Remaining-Minute"},
	{dimension: "requests_per_hour", limit: "X-Ratelimit-Limit-Hour", remaining: "X-Ratelimit-Remaining-Hour"},
	{dimension: "requests_per_day", limit: "X-Ratelimit-Limit-Day", remaining: "X-Ratelimit-Remaining-Day"},
	{dimension: "requests_per_month", limit: "X-Ratelimit-Limit-Month", remaining: "X-Ratelimit-Remaining-Month"},
	{dimension: "requests_per_year", limit: "X-Ratelimit-Limit-Year", remaining: "X-Ratelimit-Remaining-Year"},
}

var kong = &family{
	name:    "kong",
	remark:  "one limit for each period, aligned to the clock; only the tightest has a reset",
	fields:  append(fieldsOf(kongTriples), "X-Kong-Proxy-Latency", "X-Kong-Upstream-Latency", "X-Kong-Request-Id"),
	triples: kongTriples,
	limits: func(a *answer) []Limit {
		return readTriples(limits(a.Header, a.base), a.Header, kongTriples, a.base)
	},
	told: standardFields,
}
