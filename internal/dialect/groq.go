package dialect

import "net/http"

// groqTriples bear OpenAI's names, but requests are per day, tokens per minute.
// The limits on requests per minute and on tokens per day are in messages only.
var groqTriples = []triple{
	{"requests_per_day", "X-Ratelimit-Limit-Requests", "X-Ratelimit-Remaining-Requests", "X-Ratelimit-Reset-Requests"},
	{"tokens_per_minute", "X-Ratelimit-Limit-Tokens", "X-Ratelimit-Remaining-Tokens", "X-Ratelimit-Reset-Tokens"},
}

var groq = &family{
	name:    "groq",
	remark:  "requests are per day, tokens per minute; a 413 is larger than the minute and fatal, in spite of Retry-After",
	hosts:   []string{"api.groq.com"},
	fields:  []string{"X-Groq-Region"},
	triples: groqTriples,
	judge: func(a *answer) verdict {
		switch a.Status {
		case http.StatusRequestEntityTooLarge:
			return verdict{class: Fatal, by: signal{"a size that never fits", ""}}
		case 498: // capacity of the flex tier
			return verdict{class: Overloaded, by: signal{"capacity exceeded", ""}, scope: Provider}
		}
		return judgeOpenAI(a)
	},
	preset: Preset{Methods: MethodsAny, Usage: &Usage{
		Model:   []string{"model"},
		Cap:     []string{"max_completion_tokens", "max_tokens", "max_output_tokens"},
		Answers: []string{"n"},
		Total:   []string{"usage.total_tokens", "x_groq.usage.total_tokens", "response.usage.total_tokens"},
		Input:   []string{"usage.prompt_tokens", "x_groq.usage.prompt_tokens", "response.usage.input_tokens"},
		Output:  []string{"usage.completion_tokens", "x_groq.usage.completion_tokens", "response.usage.output_tokens"},
	}},
}
