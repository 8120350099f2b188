package dialect

import (
	"net/http"
	"strings"
)

var anthropicTriples = []triple{
	{"requests", "Anthropic-Ratelimit-Requests-Limit", "Anthropic-Ratelimit-Requests-Remaining", "Anthropic-Ratelimit-Requests-Reset"},
	{"tokens", "Anthropic-Ratelimit-Tokens-Limit", "Anthropic-Ratelimit-Tokens-Remaining", "Anthropic-Ratelimit-Tokens-Reset"},
	{"input_tokens", "Anthropic-Ratelimit-Input-Tokens-Limit", "Anthropic-Ratelimit-Input-Tokens-Remaining", "Anthropic-Ratelimit-Input-Tokens-Reset"},
	{"output_tokens", "Anthropic-Ratelimit-Output-Tokens-Limit", "Anthropic-Ratelimit-Output-Tokens-Remaining", "Anthropic-Ratelimit-Output-Tokens-Reset"},
	{"input_tokens:priority", "Anthropic-Priority-Input-Tokens-Limit", "Anthropic-Priority-Input-Tokens-Remaining", "Anthropic-Priority-Input-Tokens-Reset"},
	{"output_tokens:priority", "Anthropic-Priority-Output-Tokens-Limit", "Anthropic-Priority-Output-Tokens-Remaining", "Anthropic-Priority-Output-Tokens-Reset"},
}

// anthropic counts in token buckets. Its resets are moments in RFC 3339 when a
// bucket is full again; what remains of tokens is rounded to thousands.
var anthropic = &family{
	name:    "anthropic",
	remark:  "a 200 may carry Retry-After, which asks for nothing; 529 is overload; a spend limit is fatal",
	hosts:   []string{"api.anthropic.com"},
	fields:  append(fieldsOf(anthropicTriples), "Anthropic-Organization-Id"),
	triples: anthropicTriples,
	judge: func(a *answer) verdict {
		kind, message := a.text("error", "type"), strings.ToLower(a.text("error", "message"))
		by := signal{"error type", kind}
		switch {
		case oneOf(kind, "billing_error", "request_too_large"):
			return verdict{class: Fatal, by: by}
		case strings.Contains(message, "reached your specified api usage limits"), strings.Contains(message, "credit balance is too low"):
			return verdict{class: Fatal, by: signal{"the message", a.text("error", "message")}}
		case kind == "rate_limit_error":
			return verdict{class: Throttled, by: by, scope: modelScope(a, "")}
		case oneOf(kind, "overloaded_error", "api_error", "timeout_error") && a.Status != http.StatusRequestEntityTooLarge:
			return verdict{class: Overloaded, by: by, scope: Provider}
		case a.Status == http.StatusTooManyRequests:
			return verdict{scope: modelScope(a, "")}
		}
		return verdict{scope: Provider}
	},
	preset: Preset{Methods: MethodsAny, Usage: &Usage{
		Model:     []string{"model"},
		Cap:       []string{"max_tokens", "max_tokens_to_sample"},
		Input:     []string{"usage.input_tokens", "message.usage.input_tokens"},
		InputMore: []string{"usage.cache_creation_input_tokens", "message.usage.cache_creation_input_tokens"},
		Output:    []string{"usage.output_tokens", "message.usage.output_tokens"},
	}},
}
