package dialect

import (
	"net/http"
	"strings"
)

// envoy is the proxy with its rate limit filters. Which status they refuse with
// is configured, so that x-envoy-ratelimited decides; a 500 is the limiter's own
// failure.
var envoy = &family{
	name:   "envoy",
	remark: "x-ratelimit-limit lists policies, of which the first is in force; x-envoy-ratelimited marks its own refusals",
	fields: []string{"X-Envoy-Ratelimited", "X-Envoy-Overloaded"},
	marks: func(h http.Header) bool {
		v := h["X-Ratelimit-Limit"]
		return len(v) > 0 && (strings.Contains(v[0], ";w=") || strings.Contains(v[0], ";window="))
	},
	how: "`x-ratelimit-limit` with `;w=`",
	judge: func(a *answer) verdict {
		switch {
		case a.has("X-Envoy-Ratelimited", "true") && a.Status != http.StatusInternalServerError:
			return verdict{class: Throttled, by: signal{"x-envoy-ratelimited", "true"}}
		case a.has("X-Envoy-Overloaded", "true"):
			return verdict{class: Overloaded, by: signal{"x-envoy-overloaded", "true"}, scope: Provider}
		}
		return verdict{}
	},
}
