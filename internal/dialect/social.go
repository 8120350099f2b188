package dialect

import (
	"net/http"
	"strings"
	"time"
)

// reddit reads Reddit, which counts over ten minutes, tells what is left with a
// fraction, and never tells the limit.
//
// Source: praw-dev/prawcore.
var reddit = &family{
	name:   "reddit",
	remark: "what is left is written with a fraction; the limit is not told",
	hosts:  []string{"oauth.reddit.com", "www.reddit.com", "api.reddit.com"},
	limits: func(a *answer) []Limit { return within(10*time.Minute, xRateLimit("requests", a)) },
	told:   []string{"X-Ratelimit-Remaining"},
	preset: Preset{Limits: []string{"1000/10m"}},
}

// xcom reads X, once Twitter: windows of 15 minutes or a day for each endpoint,
// and a cap for the month, whose 429 may show plenty left.
//
// Source: docs.x.com, "Rate limits".
var xcom = &family{
	name:   "x",
	remark: "a 429 can mean that the month is spent",
	hosts:  []string{"api.x.com", "api.twitter.com"},
	fields: []string{"X-App-Limit-24hour-Remaining", "X-User-Limit-24hour-Remaining", "X-Twitter-Response-Tags"},
	triples: []triple{
		{"requests", "X-Rate-Limit-Limit", "X-Rate-Limit-Remaining", "X-Rate-Limit-Reset"},
		{xAppDay, "X-App-Limit-24hour-Limit", "X-App-Limit-24hour-Remaining", "X-App-Limit-24hour-Reset"},
		{xUserDay, "X-User-Limit-24hour-Limit", "X-User-Limit-24hour-Remaining", "X-User-Limit-24hour-Reset"},
	},
	judge: judgeX,
}

const (
	xAppDay  = "requests_per_day:app"
	xUserDay = "requests_per_day:user"
)

func judgeX(a *answer) verdict {
	for _, problem := range append(a.list("errors"), a.at()) { // one of several, or the body itself
		title, kind := textOf(at(problem, "title")), textOf(at(problem, "type"))
		if oneOf(title, "UsageCapExceeded", "CreditsDepleted") {
			return verdict{class: Fatal, by: signal{"title", title}}
		}
		if strings.HasSuffix(kind, "/usage-capped") {
			return verdict{class: Fatal, by: signal{"type", kind}}
		}
	}
	for _, e := range a.list("errors") {
		if textOf(at(e, "code")) == "88" {
			return verdict{class: Throttled, by: signal{"errors.code", "88"}, scope: xScope(a)}
		}
	}
	if a.Status != http.StatusTooManyRequests {
		return verdict{}
	}
	return verdict{scope: xScope(a)}
}

// xScope is that of an endpoint, unless the day of all of them is spent.
func xScope(a *answer) string {
	if exhausted(a.limits, xAppDay) || exhausted(a.limits, xUserDay) {
		return Credential
	}
	return routeOf(a)
}

// spotify reads Spotify, which tells nothing but Retry-After: from 0, although
// it goes on refusing, to most of a day.
//
// Source: developer.spotify.com, "Rate limits"; spotify/web-api issues 542, 1267.
var spotify = &family{
	name:   "spotify",
	remark: "Retry-After is all it tells, and ranges from 0 to most of a day",
	hosts:  []string{"api.spotify.com"},
}
