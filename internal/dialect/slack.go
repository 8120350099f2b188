package dialect

import "net/http"

// slack reads Slack's Web API. It limits each method in each workspace by itself
// and tells no numbers. Some of its methods refuse with 200.
//
// Source: docs.slack.dev, "Rate limits".
var slack = &family{
	name:   "slack",
	remark: "each method by itself; some refuse with 200 and \"ok\":false",
	hosts:  []string{"slack.com", "*.slack.com", "slack-gov.com"},
	fields: []string{"X-Slack-Req-Id", "X-Slack-Failure"},
	peeks: func(a Answer) bool {
		if a.Status != http.StatusOK {
			return false
		}
		if lines := a.Header["Content-Length"]; len(lines) > 0 {
			return count(lines[0]) <= slackRefusalMax
		}
		return len(a.Header["Content-Type"]) > 0 || len(a.Header["Retry-After"]) > 0 || len(a.Body) > 0
	},
	judge: func(a *answer) verdict {
		if a.Status != http.StatusOK {
			return perRoute(a)
		}
		if len(a.Body) > slackRefusalMax {
			return verdict{}
		}
		kind := a.text("error")
		if ok, told := a.at("ok").(bool); told && !ok && oneOf(kind, "ratelimited", "rate_limited") {
			return verdict{class: Throttled, by: signal{"error", kind}, scope: routeOf(a)}
		}
		return verdict{}
	},
}

// slackRefusalMax bounds the bodies, in bytes, that may be a refusal with
// status 200.
const slackRefusalMax = 512
