package dialect

import "net/http"

// googleAPI is the other APIs of Google: a 403 is a missing permission, a rate or
// a spent quota, as its reason says.
var googleAPI = &family{
	name:   "google-api",
	remark: "a 403 throttles if its reason is rateLimitExceeded or userRateLimitExceeded; a daily quota is fatal",
	hosts:  []string{"*.googleapis.com"},
	judge: func(a *answer) verdict {
		if a.Status != http.StatusForbidden && a.Status != http.StatusTooManyRequests {
			return verdict{}
		}
		e := readGoogleError(a)
		if by := e.spent(); by != (signal{}) {
			return verdict{class: Fatal, by: by}
		}
		var v verdict
		v.hint, v.byHint = e.hint()
		for _, r := range e.reasons {
			if oneOf(r, "rateLimitExceeded", "userRateLimitExceeded", "RATE_LIMIT_EXCEEDED") {
				v.class, v.by = Throttled, signal{"reason", r}
			}
		}
		if e.status == "RESOURCE_EXHAUSTED" && v.by == (signal{}) {
			v.class, v.by = Throttled, signal{"status", e.status}
		}
		return v
	},
}
