package dialect

import (
	"net/http"
	"strings"
)

// stripe reads Stripe: limits on calls per second and on calls at once, of the
// account and of single endpoints, and locks on single objects. It tells no
// numbers and no waits, but Stripe-Should-Retry says outright what to do.
//
// Source: docs.stripe.com/rate-limits, docs.stripe.com/api/errors; stripe-python.
var stripe = &family{
	name:   "stripe",
	remark: "Stripe-Should-Retry is obeyed; a 429 can be the lock of one object",
	hosts:  []string{"api.stripe.com", "files.stripe.com", "meter-events.stripe.com"},
	fields: []string{"Stripe-Rate-Limited-Reason", "Stripe-Should-Retry", "Stripe-Version"},
	judge:  judgeStripe,
	preset: Preset{Limits: []string{"100/1s"}},
}

func judgeStripe(a *answer) verdict {
	code := a.text("error", "code")
	byCode := signal{"error.code", code}
	switch a.Status {
	case http.StatusTooManyRequests:
		if code == "lock_timeout" {
			return verdict{class: Throttled, by: byCode, scope: objectOf(a)}
		}
		reason := a.field("Stripe-Rate-Limited-Reason")
		by := signal{"Stripe-Rate-Limited-Reason", reason}
		switch {
		case strings.HasPrefix(reason, "endpoint-"):
			return verdict{class: Throttled, by: by, scope: routeOf(a)}
		case reason == "resource-specific":
			return verdict{class: Throttled, by: by, scope: objectOf(a)}
		}
	case http.StatusBadRequest: // of old versions of the API
		if code == "rate_limit" {
			return verdict{class: Throttled, by: byCode}
		}
	case http.StatusConflict:
		if code == "idempotency_key_in_use" { // by the same call, still in progress
			return verdict{class: Overloaded, by: byCode, scope: objectOf(a)}
		}
	}
	return verdict{}
}
