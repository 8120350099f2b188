package dialect

import (
	"net/http"
	"strings"
	"time"
)

// airtable reads Airtable: five calls a second for each base, a penalty of 30 s
// for more, and the month's calls of the plan, all with status 429.
//
// Source: airtable.com/developers/web/api/rate-limits; airtable.js.
var airtable = &family{
	name:   "airtable",
	remark: "a throttle refuses a base for 30 s; a 429 can mean that the month is spent",
	hosts:  []string{"api.airtable.com"},
	judge: func(a *answer) verdict {
		if a.Status != http.StatusTooManyRequests {
			return verdict{}
		}
		for _, path := range [...][]string{{"errors", "0", "error"}, {"error", "type"}, {"error"}} {
			if code := a.text(path...); code == "PUBLIC_API_BILLING_LIMIT_EXCEEDED" {
				return verdict{class: Fatal, by: signal{strings.Join(path, "."), code}}
			}
		}
		return verdict{
			penalty: 30 * time.Second, byPenalty: signal{name: "Airtable's penalty"},
			scope: airtableBase(a.Path),
		}
	},
	preset: Preset{Limits: []string{"5/1s"}},
}

// airtableBase is the scope of the base that a path such as /v0/appXYZ/Table is
// about; "" if it names none.
func airtableBase(path string) string {
	end := 0
	for part := range strings.SplitAfterSeq(path, "/") {
		end += len(part)
		if strings.HasPrefix(part, "app") {
			return RouteScope + strings.TrimSuffix(path[:end], "/")
		}
	}
	return ""
}
