package dialect

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// services lists the dialects of platforms, commerce, office and cloud services.
var services = []*family{
	github, gitlab, atlassian, cloudflareAPI, datadog, pagerduty, okta,
	reddit, xcom, discord, slack, spotify,
	stripe, shopify, salesforce, hubspot, twilio, sendgrid, zendesk, notion, airtable,
	aws,
}

// perRoute judges for families that count each endpoint by itself.
func perRoute(a *answer) verdict {
	if a.Status != http.StatusTooManyRequests {
		return verdict{}
	}
	return verdict{scope: routeOf(a)}
}

// exhausted reports whether a limit of that dimension, or any if it is "", was
// told to have nothing left.
func exhausted(limits []Limit, dimension string) bool {
	for _, l := range limits {
		if l.Remaining == 0 && (dimension == "" || l.Dimension == dimension) {
			return true
		}
	}
	return false
}

// xRateLimit reads X-RateLimit-Limit and its like, for a limit that another field
// names.
func xRateLimit(dimension string, a *answer) Limit {
	return readTriple(dimension, a.Header["X-Ratelimit-Limit"], a.Header["X-Ratelimit-Remaining"], a.Header["X-Ratelimit-Reset"], a.base)
}

// within returns limits whose window is the vendor's, where the answer tells none.
func within(window time.Duration, limits ...Limit) []Limit {
	for i := range limits {
		if limits[i].Window == 0 {
			limits[i].Window = window
		}
	}
	return limits
}

// used reads "32/40", of which 32 are used, as limit and remaining; -1 if it
// can't be read. More used than there is leaves 0.
func used(dimension, usage string) Limit {
	l := Limit{Dimension: dimension, Limit: -1, Remaining: -1, Reset: -1}
	spent, size, ok := strings.Cut(usage, "/")
	if n, m := count(spent), count(size); ok && n >= 0 && m >= 0 {
		l.Limit, l.Remaining = m, max(m-n, 0)
	}
	return l
}

// dimensionOf returns a dimension with the name that the upstream gave it, if it did.
func dimensionOf(unit, name string) string {
	if name == "" {
		return unit
	}
	return unit + ":" + name
}

// windowOf names a window as dimensions do: "minute", "10s".
func windowOf(d time.Duration) string {
	switch d {
	case time.Second:
		return "second"
	case time.Minute:
		return "minute"
	case time.Hour:
		return "hour"
	case 24 * time.Hour:
		return "day"
	}
	if d%time.Second != 0 {
		return strconv.FormatInt(d.Milliseconds(), 10) + "ms"
	}
	return strconv.FormatInt(int64(d/time.Second), 10) + "s"
}
