package dialect

// atlassian reads the cloud APIs of Jira, Confluence and Bitbucket: a token
// bucket for each endpoint and tenant, a pool of points for each hour, and
// windows of writes for each issue. RateLimit-Reason says which of them refused.
//
// Source: developer.atlassian.com, "Rate limiting" of Jira Cloud.
var atlassian = &family{
	name:   "atlassian",
	remark: "resets in RFC 3339; RateLimit-Reason says which of several limits refused",
	hosts:  []string{"*.atlassian.net", "api.atlassian.com", "api.bitbucket.org"},
	fields: []string{"Ratelimit-Reason", "X-Ratelimit-Nearlimit", "Beta-Ratelimit", "Beta-Ratelimit-Policy"},
	limits: func(a *answer) []Limit {
		return append(limits(a.Header, a.base), ietfLimits(a.Header["Beta-Ratelimit"], a.Header["Beta-Ratelimit-Policy"])...)
	},
	told: []string{
		"X-Ratelimit-Remaining", "X-Ratelimit-Limit", "Ratelimit", "Ratelimit-Policy",
		"Beta-Ratelimit", "Beta-Ratelimit-Policy",
	},
	judge: func(a *answer) verdict {
		switch a.field("Ratelimit-Reason") {
		case "jira-burst-based":
			return perRoute(a)
		case "jira-per-issue-on-write":
			return verdict{scope: objectOf(a)}
		}
		return verdict{}
	},
}
