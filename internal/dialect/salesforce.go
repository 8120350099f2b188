package dialect

import "strings"

// salesforce reads Salesforce: so many calls in any 24 hours, of which it tells
// those used but not when they come back, and so many long calls at once. The
// two refuse with the same code.
//
// Source: developer.salesforce.com, "API request limits and allocations",
// "Limit info header".
var salesforce = &family{
	name:   "salesforce",
	remark: "a 403 can mean that the day is spent, or too many long calls at once",
	hosts:  []string{"*.salesforce.com", "*.force.com"},
	fields: []string{"Sforce-Limit-Info"},
	limits: salesforceLimits,
	told:   []string{"Sforce-Limit-Info"},
	judge: func(a *answer) verdict {
		const code = "REQUEST_LIMIT_EXCEEDED"
		if !a.contains("request_limit_exceeded") { // in JSON, or in a fault of SOAP
			return verdict{}
		}
		if a.contains("concurrent") {
			return verdict{class: Throttled, by: signal{"the message", "concurrent " + code}}
		}
		return verdict{class: Fatal, by: signal{"errorCode", code}}
	},
}

// salesforceLimits reads "api-usage=135/5000", to which
// "per-app-api-usage=17/250(appName=x)" may be added.
func salesforceLimits(a *answer) []Limit {
	var all []Limit
	separator := func(c rune) bool { return c == ';' || c == ',' }
	for _, line := range a.Header["Sforce-Limit-Info"] {
		for part := range strings.FieldsFuncSeq(line, separator) {
			if len(all) == mostLimits {
				return all
			}
			name, usage, _ := strings.Cut(part, "=")
			usage, app, _ := strings.Cut(usage, "(appName=")
			switch trim(name) {
			case "api-usage":
				all = append(all, used("requests_per_day", usage))
			case "per-app-api-usage":
				all = append(all, used(dimensionOf("requests_per_day", strings.TrimSuffix(trim(app), ")")), usage))
			}
		}
	}
	return all
}
