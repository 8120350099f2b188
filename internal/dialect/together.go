package dialect

var together = &family{
	name:   "together",
	remark: "limits are per second, whence small numbers",
	hosts:  []string{"api.together.xyz", "api.together.ai"},
	judge:  judgeOpenAI,
	preset: Preset{Methods: MethodsAny, Usage: openAIUsage},
}
