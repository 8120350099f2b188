package dialect

var openRouter = &family{
	name:   "openrouter",
	remark: "resets are Unix time in ms; free models are limited per day; 402 is spent credit",
	hosts:  []string{"openrouter.ai"},
	judge:  judgeOpenAI,
	preset: Preset{Methods: MethodsAny, Usage: openAIUsage},
}
