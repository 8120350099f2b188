package dialect

import (
	"net/http"
	"strings"
)

// huggingFace is the Hub and the inference hosts. Its RateLimit-Policy is no
// valid structured field: the kind of window stands where the name belongs.
var huggingFace = &family{
	name:   "huggingface",
	remark: "a 429 with room left is another limit; a model that loads is a 503 with estimated_time; spent credits are fatal",
	hosts:  []string{"huggingface.co", "*.huggingface.co", "*.huggingface.cloud"},
	limits: func(a *answer) []Limit {
		var policies []string
		for _, line := range a.Header["Ratelimit-Policy"] {
			if _, rest, ok := cut(line, ';'); ok && strings.HasPrefix(trim(rest), `"`) {
				line = rest
			}
			policies = append(policies, line)
		}
		found := ietfLimits(a.Header["Ratelimit"], policies)
		return readTriples(found, a.Header, standardTriples, a.base)
	},
	told: standardFields,
	judge: func(a *answer) verdict {
		reason := a.field("X-Error-Message")
		if reason == "" {
			reason = a.text("error")
		}
		if a.Status == http.StatusTooManyRequests && strings.Contains(strings.ToLower(reason), "monthly included credits") {
			return verdict{class: Fatal, by: signal{"the message", reason}}
		}
		if a.Status < 500 {
			return verdict{}
		}
		return verdict{scope: modelScope(a, "")}
	},
	preset: Preset{Methods: MethodsAny, Usage: openAIUsage},
}
