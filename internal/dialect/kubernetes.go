package dialect

import "time"

// kubernetes is an API server with API Priority and Fairness: seats, not a rate,
// so that there is nothing to count, and its Retry-After is a constant.
var kubernetes = &family{
	name:   "kubernetes",
	remark: "counts calls in flight; Retry-After is a constant, to back off on top of",
	fields: []string{"X-Kubernetes-Pf-Flowschema-Uid", "X-Kubernetes-Pf-Prioritylevel-Uid"},
	limits: func(*answer) []Limit { return nil },
	judge: func(a *answer) verdict {
		var v verdict
		if s := a.text("details", "retryAfterSeconds"); isNumber(s) {
			v.hint, v.byHint = scale(s, time.Second), signal{"details.retryAfterSeconds", s}
		}
		return v
	},
}
