package dialect

import (
	"slices"
	"strings"
	"time"
)

// zendesk reads Zendesk: a limit of the account per minute, and smaller ones of
// single endpoints, which are told in one field each.
//
// Source: developer.zendesk.com, "Rate limits".
var zendesk = &family{
	name:   "zendesk",
	remark: "a limit for the account, and smaller ones for endpoints in fields of their own",
	hosts:  []string{"*.zendesk.com"},
	fields: []string{"X-Zendesk-Request-Id", "Zendesk-Ratelimit-Tickets-Index", "Zendesk-Ratelimit-Tickets-Update"},
	limits: zendeskLimits,
	told:   []string{"Ratelimit-Remaining", "Ratelimit-Limit", "X-Rate-Limit", "X-Rate-Limit-Remaining"},
	judge: func(a *answer) verdict {
		if exhausted(a.limits, "requests") || !exhausted(a.limits, "") {
			return verdict{}
		}
		return perRoute(a)
	},
}

const zendeskEndpoint = "Zendesk-Ratelimit-"

func zendeskLimits(a *answer) []Limit {
	account := readTriple("requests", a.Header["Ratelimit-Limit"], a.Header["Ratelimit-Remaining"], a.Header["Ratelimit-Reset"], a.base)
	older := readTriple("requests", a.Header["X-Rate-Limit"], a.Header["X-Rate-Limit-Remaining"], a.Header["X-Rate-Limit-Reset"], a.base)
	if older.Reset < 0 { // it counts the same and has none of its own
		older.Reset = account.Reset
	}
	all := within(time.Minute, addLimit(addLimit(nil, account), older)...)
	var endpoints []string
	for name := range a.Header {
		if strings.HasPrefix(name, zendeskEndpoint) {
			endpoints = append(endpoints, name)
		}
	}
	slices.Sort(endpoints)
	for _, name := range endpoints {
		dimension := dimensionOf("requests", strings.ToLower(strings.TrimPrefix(name, zendeskEndpoint)))
		for _, line := range a.Header[name] {
			all = addLimit(all, zendeskEndpointLimit(dimension, line))
		}
	}
	return all
}

// zendeskEndpointLimit reads "total=100; remaining=99; resets=41".
func zendeskEndpointLimit(dimension, line string) Limit {
	l := Limit{Dimension: dimension, Limit: -1, Remaining: -1, Reset: -1}
	for part := range strings.SplitSeq(line, ";") {
		key, value, _ := strings.Cut(part, "=")
		switch value = trim(value); strings.ToLower(trim(key)) {
		case "total":
			l.Limit = count(value)
		case "remaining":
			l.Remaining = count(value)
		case "resets":
			if d, ok := delay(value, time.Second); ok {
				l.Reset = d
			}
		}
	}
	return l
}
