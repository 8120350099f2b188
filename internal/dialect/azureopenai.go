package dialect

import (
	"math"
	"net/http"
	"strings"
	"time"
)

// azureOpenAI counts per deployment. Its resets are bare numbers, milliseconds on
// some back ends and seconds on others.
var azureOpenAI = &family{
	name:   "azure-openai",
	remark: "bare resets are s or ms, as fits the renewal period; 429 “high demand” is overload",
	hosts:  []string{"*.openai.azure.com", "*.cognitiveservices.azure.com", "*.services.ai.azure.com", "*.models.ai.azure.com"},
	fields: []string{"Apim-Request-Id", "Azureml-Model-Session", "X-Ratelimit-Renewalperiod-Requests", "X-Ratelimit-Renewalperiod-Tokens"},
	limits: azureLimits,
	told:   fieldsOf(openAITriples),
	judge: func(a *answer) verdict {
		message := a.text("error", "message")
		if message == "" {
			message = a.text("message")
		}
		if a.Status == http.StatusTooManyRequests && crowded(a.text("error", "code"), a.text("error", "type"), message) {
			return verdict{class: Overloaded, by: signal{"the message", message}, scope: modelScope(a, "")}
		}
		return judgeOpenAI(a)
	},
	preset: Preset{Methods: MethodsAny, Usage: openAIUsage},
}

func azureLimits(a *answer) []Limit {
	var all []Limit
	for _, t := range openAITriples {
		l := readTriple(t.dimension, a.Header[t.limit], a.Header[t.remaining], a.Header[t.reset], a.base)
		period := a.field(strings.Replace(t.reset, "-Reset-", "-Renewalperiod-", 1))
		if d, ok := azureReset(a.field(t.reset), l, count(period)); ok {
			l.Reset = d
		}
		l.Window, _ = delay(period, time.Second)
		all = append(all, l)
	}
	return all
}

// azureReset reads a bare reset in the unit in which it is closer to the time
// until l is full again, if limit, remaining and the renewal period in seconds are
// known. Else seconds stand, which can only be too careful.
func azureReset(reset string, l Limit, period int64) (time.Duration, bool) {
	if !isNumber(reset) || l.Limit <= 0 || l.Remaining < 0 || period <= 0 {
		return 0, false
	}
	used := float64(max(l.Limit-l.Remaining, 0)) / float64(l.Limit)
	full := used * float64(period) // seconds
	s, ms := scale(reset, time.Second), scale(reset, time.Millisecond)
	if math.Abs(ms.Seconds()-full) < math.Abs(s.Seconds()-full) {
		return bounded(ms), true
	}
	return 0, false
}
