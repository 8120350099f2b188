package dialect

import (
	"net/http"
	"strings"
)

// cohere tells of limits on success only, and only prose tells a spent minute
// from a spent month.
var cohere = &family{
	name:   "cohere",
	remark: "429 has no fields; a text with “/ month” is fatal",
	hosts:  []string{"api.cohere.com", "api.cohere.ai"},
	fields: []string{"X-Trial-Endpoint-Call-Limit", "X-Trial-Endpoint-Call-Remaining", "X-Endpoint-Monthly-Call-Limit"},
	triples: []triple{
		{dimension: "requests", limit: "X-Trial-Endpoint-Call-Limit", remaining: "X-Trial-Endpoint-Call-Remaining"},
	},
	judge: func(a *answer) verdict {
		message := a.text("message")
		if message == "" {
			message = a.text("error", "message")
		}
		if message == "" && a.json == nil {
			message = string(a.Body)
		}
		if a.Status == http.StatusTooManyRequests && monthly(message) {
			return verdict{class: Fatal, by: signal{"the message", message}}
		}
		return judgeOpenAI(a)
	},
	preset: Preset{Methods: MethodsAny, Usage: &Usage{
		Model: []string{"model"},
		Cap:   []string{"max_tokens"},
		Input: []string{
			"usage.billed_units.input_tokens", "delta.usage.billed_units.input_tokens",
			"meta.billed_units.input_tokens", "response.meta.billed_units.input_tokens",
		},
		Output: []string{
			"usage.billed_units.output_tokens", "delta.usage.billed_units.output_tokens",
			"meta.billed_units.output_tokens", "response.meta.billed_units.output_tokens",
		},
	}},
}

// monthly reports whether a message speaks of a limit per month.
func monthly(message string) bool {
	message = strings.ToLower(message)
	for _, words := range [...]string{"/ month", "/month", "per month", "monthly"} {
		if strings.Contains(message, words) {
			return true
		}
	}
	return false
}
