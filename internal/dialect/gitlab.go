package dialect

import "time"

// gitlab reads GitLab. It uses the names of the IETF drafts, but its reset is a
// moment. The fields tell of the throttle that its middleware keeps, scaled to a
// minute; limits of the application are in none, so that a 429 with plenty left
// is normal.
//
// Source: docs.gitlab.com, "User and IP rate limits", "Rate limits".
var gitlab = &family{
	name:   "gitlab",
	remark: "RateLimit-Reset is a moment; limits of the application are in no field",
	hosts:  []string{"gitlab.com"},
	fields: []string{"Ratelimit-Observed", "Ratelimit-Name", "X-Gitlab-Meta"},
	limits: gitlabLimits,
	told:   []string{"Ratelimit-Remaining", "Ratelimit-Limit"},
	judge: func(a *answer) verdict {
		if len(a.limits) > 0 && !exhausted(a.limits, "") {
			return perRoute(a) // a limit of the application: that of an endpoint
		}
		return verdict{}
	},
}

func gitlabLimits(a *answer) []Limit {
	dimension := dimensionOf("requests", a.field("Ratelimit-Name"))
	l := readTriple(dimension, a.Header["Ratelimit-Limit"], a.Header["Ratelimit-Remaining"], a.Header["Ratelimit-Reset"], a.base)
	if l.Reset < 0 {
		l.Reset = readTriple(dimension, nil, nil, a.Header["Ratelimit-Resettime"], a.base).Reset
	}
	return within(time.Minute, l)
}
