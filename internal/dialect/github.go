package dialect

import (
	"net/http"
	"strings"
	"time"
)

// github reads GitHub's REST and GraphQL APIs. Its primary limits are hours of
// requests, or of points for GraphQL, one for each resource. Its secondary ones
// (calls at once, points a minute, writes a minute) are told by no field but an
// occasional Retry-After: while one of them refuses, the reset is still that of
// the hour. Both come as 403 or 429, and in GraphQL as 200.
//
// Source: docs.github.com, "Rate limits for the REST API" and "Rate limits and
// query limits for the GraphQL API"; octokit/plugin-throttling.js.
var github = &family{
	name:   "github",
	remark: "403 and GraphQL's 200 can be throttles; secondary limits ask for a minute",
	hosts:  []string{"api.github.com", "uploads.github.com", "api.*.ghe.com"},
	fields: []string{"X-Github-Request-Id"},
	limits: githubLimits,
	told:   []string{"X-Ratelimit-Remaining", "X-Ratelimit-Limit"},
	judge:  judgeGitHub,
	peeks:  isGitHubGraphQL,
	preset: Preset{Limits: []string{"concurrent:100"}},
}

// githubSecondary is what GitHub's documents ask for where a secondary limit
// says nothing.
const githubSecondary = time.Minute

func githubLimits(a *answer) []Limit {
	resource := a.field("X-Ratelimit-Resource")
	switch resource {
	case "core":
		return within(time.Hour, xRateLimit("requests:core", a))
	case "graphql":
		return within(time.Hour, xRateLimit("cost:graphql", a))
	}
	return []Limit{xRateLimit(dimensionOf("requests", resource), a)} // some are hours, some minutes
}

func isGitHubGraphQL(a Answer) bool {
	if a.Method != http.MethodPost || a.Status != http.StatusOK {
		return false
	}
	lines := a.Header["X-Ratelimit-Resource"]
	return len(lines) > 0 && trim(lines[0]) == "graphql" || strings.HasSuffix(a.Path, "/graphql") || a.Path == ""
}

func judgeGitHub(a *answer) verdict {
	switch a.Status {
	case http.StatusForbidden, http.StatusTooManyRequests:
		return judgeGitHubRefusal(a)
	case http.StatusOK:
		for _, e := range a.list("errors") {
			kind := textOf(at(e, "type"))
			if oneOf(kind, "RATE_LIMITED", "RATE_LIMIT") {
				return verdict{class: Throttled, by: signal{"errors.type", kind}, scope: routeOf(a)}
			}
			if v := githubSecondaryIn(textOf(at(e, "message"))); v.by != (signal{}) {
				return v
			}
		}
		return githubSecondaryIn(a.text("message"))
	}
	return verdict{}
}

// judgeGitHubRefusal tells throttles from 403s that are about permissions.
func judgeGitHubRefusal(a *answer) verdict {
	message := a.text("message")
	if message == "" {
		message = string(a.Body)
	}
	if v := githubSecondaryIn(message); v.by != (signal{}) {
		return v
	}
	if exhausted(a.limits, "") {
		v := verdict{class: Throttled, by: signal{"X-RateLimit-Remaining", "0"}}
		if r := a.field("X-Ratelimit-Resource"); r != "" && r != "core" {
			v.scope = githubRoute(a, r)
		}
		return v
	}
	_, asked := askedWait(a.Header, a.base) // comes with secondary limits alone
	if asked != (signal{}) || a.Status == http.StatusTooManyRequests {
		return verdict{
			class: Throttled, by: asked,
			penalty: githubSecondary, byPenalty: signal{name: "a limit that is told nowhere"},
		}
	}
	return verdict{}
}

// githubRoute is the scope of a resource: all searches are one, but for those of
// code.
func githubRoute(a *answer, resource string) string {
	if before, _, ok := strings.Cut(a.Path, "/search/"); ok && resource == "search" {
		return RouteScope + before + "/search"
	}
	return routeOf(a)
}

// githubSecondaryIn looks for the words of a secondary limit, the older of which
// are still found on GitHub Enterprise.
func githubSecondaryIn(message string) verdict {
	low := strings.ToLower(message)
	for _, words := range [...]string{"secondary rate limit", "abuse detection mechanism"} {
		if strings.Contains(low, words) {
			return verdict{
				class: Throttled, by: signal{"the message", words},
				penalty: githubSecondary, byPenalty: signal{name: "a secondary limit"},
			}
		}
	}
	return verdict{}
}
