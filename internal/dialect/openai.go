package dialect

import (
	"net/http"
	"regexp"
	"strings"
)

var openAITriples = []triple{
	{"requests", "X-Ratelimit-Limit-Requests", "X-Ratelimit-Remaining-Requests", "X-Ratelimit-Reset-Requests"},
	{"tokens", "X-Ratelimit-Limit-Tokens", "X-Ratelimit-Remaining-Tokens", "X-Ratelimit-Reset-Tokens"},
	{"tokens:project", "X-Ratelimit-Limit-Project-Tokens", "X-Ratelimit-Remaining-Project-Tokens", "X-Ratelimit-Reset-Project-Tokens"},
	{"images", "X-Ratelimit-Limit-Input-Images", "X-Ratelimit-Remaining-Input-Images", "X-Ratelimit-Reset-Input-Images"},
}

// openAI counts in token buckets, per model: its resets, durations as Go writes
// them, tell when a bucket is full again, which is later than when it has room.
var openAI = &family{
	name:    "openai",
	remark:  "a reset is the time until the bucket is full, not the wait; a spent balance is a 429 and fatal",
	hosts:   []string{"api.openai.com", "*.api.openai.com"},
	fields:  append(fieldsOf(openAITriples), "Openai-Processing-Ms", "Openai-Organization", "Openai-Project", "Openai-Model", "Openai-Version"),
	triples: openAITriples,
	judge:   judgeOpenAI,
	preset:  Preset{Methods: MethodsAny, Usage: openAIUsage},
}

var openAIUsage = &Usage{
	Model:     []string{"model"},
	Cap:       []string{"max_completion_tokens", "max_output_tokens", "max_tokens"},
	Answers:   []string{"n"},
	StreamAsk: "stream_options.include_usage",
	Total:     []string{"usage.total_tokens", "response.usage.total_tokens"},
	Input:     []string{"usage.prompt_tokens", "usage.input_tokens", "response.usage.input_tokens"},
	Output:    []string{"usage.completion_tokens", "usage.output_tokens", "response.usage.output_tokens"},
}

// judgeOpenAI reads an error as OpenAI writes it, and those who speak like it:
// an object with message, type and code, as error or as the body itself.
func judgeOpenAI(a *answer) verdict {
	code, kind, message := a.text("error", "code"), a.text("error", "type"), a.text("error", "message")
	if message == "" {
		code, kind, message = a.text("code"), a.text("type"), a.text("message")
	}
	limited := oneOf(code, "rate_limit_exceeded", "rate_limit_error") || oneOf(kind, "rate_limit_exceeded", "rate_limit_error")
	throttles := a.Status == http.StatusTooManyRequests || limited && a.Status < 500
	switch {
	case oneOf(code, spentCodes...):
		return verdict{class: Fatal, by: signal{"error code", code}}
	case oneOf(kind, spentCodes...):
		return verdict{class: Fatal, by: signal{"error type", kind}}
	case throttles && tooLarge(message):
		return verdict{class: Fatal, by: signal{"the message", message}}
	case a.Status == http.StatusTooManyRequests && !limited && crowded(code, kind, message):
		return verdict{class: Overloaded, by: signal{"the message", message}, scope: Provider}
	case throttles && a.Status != http.StatusTooManyRequests:
		return verdict{class: Throttled, by: signal{"error code", "rate_limit_exceeded"}, scope: modelScope(a, modelIn(message))}
	case throttles:
		return verdict{scope: modelScope(a, modelIn(message))}
	}
	return verdict{scope: Provider}
}

// spentCodes say that money or credit has run out.
var spentCodes = []string{
	"insufficient_quota", "billing_hard_limit_reached", "billing_not_active",
	"organization_spend_limit_exceeded", "project_spend_limit_exceeded",
}

// tooLarge reports whether a message says that one call needs more than the
// whole limit holds, so that it can never fit.
func tooLarge(message string) bool {
	if strings.HasPrefix(strings.ToLower(message), "request too large") {
		return true
	}
	m := limitAndRequested.FindStringSubmatch(message)
	return m != nil && count(strings.ReplaceAll(m[2], ",", "")) > count(strings.ReplaceAll(m[1], ",", ""))
}

var limitAndRequested = regexp.MustCompile(`\bLimit:? ([\d,]*\d)\b.*\bRequested:? ([\d,]*\d)\b`)

// crowded reports whether a 429 is about the upstream's capacity, and not about
// what the caller used.
func crowded(code, kind, message string) bool {
	if oneOf(code, "overloaded_error", "server_error", "engine_overloaded") || oneOf(kind, "overloaded_error", "server_error", "engine_overloaded") {
		return true
	}
	message = strings.ToLower(message)
	for _, words := range [...]string{"currently overloaded", "is overloaded", "high demand", "capacity exceeded"} {
		if strings.Contains(message, words) {
			return true
		}
	}
	return false
}

// modelIn returns the model that a message of a refusal names; "" if none.
func modelIn(message string) string {
	m := refusedModel.FindStringSubmatch(message)
	if m == nil || oneOf(strings.ToLower(m[1]), "model", "your", "this", "the", "requests", "tokens", "organization") {
		return ""
	}
	return strings.TrimRight(m[1], ".:")
}

var refusedModel = regexp.MustCompile("(?i)\\b(?:reached|large|exceeded) for (?:the )?(?:model )?[`'\"]?([\\w.:/@-]{1,128})[`'\"]?")

// modelScope is the scope of a wait that is about a model: the one that the
// answer names, or else that the request asked for; "" if neither is known.
func modelScope(a *answer, named string) string {
	for _, model := range [...]string{named, a.Model, PathModel(a.Path)} {
		if model != "" {
			return ModelScope + model
		}
	}
	return ""
}
