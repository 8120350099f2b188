package dialect

import (
	"net/http"
	"strings"
	"time"
)

// hubspot reads HubSpot: a window that rolls, mostly of ten seconds, and the day
// of the account's time zone, which is told nowhere. The fields for a second are
// no longer enforced, and a 429 has none at all, but names its policy.
//
// Source: developers.hubspot.com, "API usage guidelines"; HubSpot/hubspot-api-nodejs.
var hubspot = &family{
	name:   "hubspot",
	remark: "policyName of a 429 tells the rolling window from the spent day",
	hosts:  []string{"api.hubapi.com", "api.hubspot.com", "api-*.hubapi.com"},
	fields: []string{"X-Hubspot-Ratelimit-Max", "X-Hubspot-Ratelimit-Daily", "X-Hubspot-Correlation-Id"},
	limits: func(a *answer) []Limit {
		return readTriples(nil, a.Header, []triple{
			{"requests_per_" + windowOf(hubspotWindow(a)), "X-Hubspot-Ratelimit-Max", "X-Hubspot-Ratelimit-Remaining", ""},
			{"requests_per_day", "X-Hubspot-Ratelimit-Daily", "X-Hubspot-Ratelimit-Daily-Remaining", ""},
		}, a.base)
	},
	told: []string{
		"X-Hubspot-Ratelimit-Remaining", "X-Hubspot-Ratelimit-Max",
		"X-Hubspot-Ratelimit-Daily-Remaining", "X-Hubspot-Ratelimit-Daily",
	},
	judge: judgeHubSpot,
}

// hubspotWindow is the window that rolls: ten seconds if the answer doesn't say.
func hubspotWindow(a *answer) time.Duration {
	if d, ok := delay(a.field("X-Hubspot-Ratelimit-Interval-Milliseconds"), time.Millisecond); ok && d > 0 {
		return d
	}
	return 10 * time.Second
}

func judgeHubSpot(a *answer) verdict {
	switch a.Status {
	case http.StatusLocked:
		return verdict{class: Overloaded, by: signal{name: "a lock of HubSpot's"}, scope: objectOf(a)}
	case 477:
		return verdict{class: Overloaded, by: signal{name: "a migration of the account"}}
	case http.StatusTooManyRequests:
		policy := a.text("policyName")
		by := signal{"policyName", policy}
		switch strings.ToUpper(policy) {
		case "DAILY":
			return verdict{class: Fatal, by: by}
		case "TEN_SECONDLY_ROLLING":
			return verdict{class: Throttled, by: by, penalty: 10 * time.Second, byPenalty: by}
		case "SECONDLY":
			return verdict{class: Throttled, by: by, penalty: time.Second, byPenalty: by}
		}
		if message := a.text("message"); strings.Contains(strings.ToLower(message), "daily limit") {
			return verdict{class: Fatal, by: signal{"message", message}}
		}
	}
	return verdict{}
}
