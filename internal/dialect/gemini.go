package dialect

import (
	"net/http"
	"time"
)

// gemini tells nothing in fields: its quotas and waits stand in the details of an
// error.
var gemini = &family{
	name:   "gemini",
	remark: "everything is in the body; a quota per day is fatal, though RetryInfo names a wait",
	hosts:  []string{"generativelanguage.googleapis.com"},
	limits: func(a *answer) []Limit { return readGoogleError(a).limits() },
	judge:  judgeGemini,
	preset: Preset{Methods: MethodsAny, Usage: geminiUsage},
}

// vertex serves the same models from capacity that all share, mostly without a
// hint.
var vertex = &family{
	name:   "vertex",
	remark: "shared capacity; 429 mostly without any hint",
	hosts:  []string{"*-aiplatform.googleapis.com", "aiplatform.googleapis.com"},
	limits: gemini.limits,
	judge:  judgeGemini,
	preset: Preset{Methods: MethodsAny, Usage: geminiUsage},
}

var geminiUsage = &Usage{
	Model: []string{"model"},
	Cap: []string{
		"generationConfig.maxOutputTokens", "generation_config.max_output_tokens", "generationConfig.max_output_tokens",
		"max_completion_tokens", "max_tokens",
	},
	Answers: []string{"generationConfig.candidateCount", "generation_config.candidate_count"},
	Total:   []string{"usageMetadata.totalTokenCount", "usage.total_tokens"},
	Input:   []string{"usageMetadata.promptTokenCount", "usage.prompt_tokens", "usage.input_tokens"},
	Output:  []string{"usageMetadata.candidatesTokenCount", "usage.completion_tokens", "usage.output_tokens"},
}

func judgeGemini(a *answer) verdict {
	e := readGoogleError(a)
	if a.Status != http.StatusTooManyRequests && e.status != "RESOURCE_EXHAUSTED" {
		return verdict{scope: Provider}
	}
	if by := e.spent(); by != (signal{}) {
		return verdict{class: Fatal, by: by}
	}
	v := verdict{scope: modelScope(a, e.model())}
	v.hint, v.byHint = e.hint()
	if v.byPenalty = e.perMinute(); v.byPenalty != (signal{}) {
		v.penalty = time.Minute
	}
	if a.Status != http.StatusTooManyRequests {
		v.class, v.by = Throttled, signal{"status", e.status}
	}
	return v
}
