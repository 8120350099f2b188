package dialect

import (
	"net/http"
	"strings"
	"time"
)

// cloudflareAPI reads the API by which Cloudflare is administered. Its edge is
// another dialect. Who goes over is refused for the next five minutes, and told
// so by Retry-After.
//
// Source: developers.cloudflare.com, "Rate limits", and its change log of
// 2025-09-03, since which the limits are told as the IETF drafts have it.
var cloudflareAPI = &family{
	name:   "cloudflare-api",
	remark: "who goes over is refused for five minutes",
	hosts:  []string{"api.cloudflare.com"},
	preset: Preset{Limits: []string{"1200/5m"}},
}

// datadog reads Datadog, whose windows are aligned to the calendar and counted
// by named limits.
//
// Source: docs.datadoghq.com, "Rate limits".
var datadog = &family{
	name:   "datadog",
	remark: "windows aligned to the calendar; X-RateLimit-Name says which limit",
	hosts:  []string{"api.datadoghq.com", "api.*.datadoghq.com", "api.datadoghq.eu", "api.ddog-gov.com"},
	fields: []string{"X-Ratelimit-Period"},
	limits: func(a *answer) []Limit {
		l := xRateLimit(dimensionOf("requests", a.field("X-Ratelimit-Name")), a)
		l.Window, _ = delay(a.field("X-Ratelimit-Period"), time.Second)
		return []Limit{l}
	},
	told:  []string{"X-Ratelimit-Remaining", "X-Ratelimit-Limit"},
	judge: perRoute,
}

// pagerduty reads PagerDuty. The first version of its Events API says 403 where
// others say 429.
//
// Source: support.pagerduty.com, "REST API rate limits".
var pagerduty = &family{
	name:   "pagerduty",
	remark: "a 403 of the Events API v1 is a throttle",
	hosts:  []string{"api.pagerduty.com", "api.eu.pagerduty.com", "events.pagerduty.com", "events.eu.pagerduty.com"},
	limits: func(a *answer) []Limit { return within(time.Minute, limits(a.Header, a.base)...) },
	told:   []string{"Ratelimit-Remaining", "Ratelimit-Limit"},
	judge: func(a *answer) verdict {
		if a.Status == http.StatusForbidden && strings.HasPrefix(a.Path, "/generic/2010-04-15/") {
			return verdict{class: Throttled, by: signal{"the path", a.Path}, scope: routeOf(a)}
		}
		return verdict{}
	},
}

// okta reads Okta: a minute for each group of endpoints, and a cap on calls at
// once for all of them, which it tells as a limit of 0.
//
// Source: developer.okta.com, "Rate limits"; okta-sdk-golang.
var okta = &family{
	name:   "okta",
	remark: "a limit of 0 with 0 left is the cap on calls at once",
	hosts:  []string{"*.okta.com", "*.oktapreview.com", "*.okta-emea.com"},
	fields: []string{"X-Okta-Request-Id"},
	limits: func(a *answer) []Limit {
		all := limits(a.Header, a.base)
		for i, l := range all {
			if l.Limit == 0 && l.Remaining == 0 {
				all[i].Dimension, all[i].Limit = "concurrency", -1
			} else {
				all[i].Window = time.Minute
			}
		}
		return all
	},
	told: []string{"X-Rate-Limit-Remaining", "X-Rate-Limit-Limit"},
	judge: func(a *answer) verdict {
		if exhausted(a.limits, "concurrency") {
			return verdict{}
		}
		return perRoute(a)
	},
}
