package dialect

import "net/http"

// mistralTriples carry the window in the name of the field; there are no resets.
var mistralTriples = []triple{
	{dimension: "requests_per_second", limit: "X-Ratelimit-Limit-Req-Second", remaining: "X-Ratelimit-Remaining-Req-Second"},
	{dimension: "requests_per_10s", limit: "X-Ratelimit-Limit-Req-10-Second", remaining: "X-Ratelimit-Remaining-Req-10-Second"},
	{dimension: "requests_per_minute", limit: "X-Ratelimit-Limit-Req-Minute", remaining: "X-Ratelimit-Remaining-Req-Minute"},
	{dimension: "tokens_per_minute", limit: "X-Ratelimit-Limit-Tokens-Minute", remaining: "X-Ratelimit-Remaining-Tokens-Minute"},
	{dimension: monthlyTokens, limit: "X-Ratelimit-Limit-Tokens-Month", remaining: "X-Ratelimit-Remaining-Tokens-Month"},
}

const monthlyTokens = "tokens_per_month"

var mistral = &family{
	name:    "mistral",
	remark:  "no resets; 429 with code 3505 is overload, with no tokens left for the month fatal",
	hosts:   []string{"api.mistral.ai", "codestral.mistral.ai"},
	fields:  append(fieldsOf(mistralTriples), "X-Ratelimit-Tokens-Query-Cost"),
	triples: mistralTriples,
	judge: func(a *answer) verdict {
		if code, kind := a.text("code"), a.text("type"); code == "3505" || kind == "service_tier_capacity_exceeded" {
			return verdict{class: Overloaded, by: signal{"error code", "3505"}, scope: modelScope(a, "")}
		}
		if a.Status != http.StatusTooManyRequests {
			return judgeOpenAI(a)
		}
		for _, l := range a.limits {
			if l.Dimension == monthlyTokens && l.Remaining == 0 {
				return verdict{class: Fatal, by: signal{"no room in limit", l.Dimension}}
			}
		}
		return judgeOpenAI(a)
	},
	preset: Preset{Methods: MethodsAny, Usage: &Usage{
		Model:   []string{"model"},
		Cap:     []string{"max_tokens"},
		Answers: []string{"n"},
		Total:   []string{"usage.total_tokens"},
		Input:   []string{"usage.prompt_tokens"},
		Output:  []string{"usage.completion_tokens"},
	}},
}
