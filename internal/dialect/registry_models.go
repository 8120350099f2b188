package dialect

// models lists the dialects of model and inference APIs. Those that speak like
// another stand before it.
var models = []*family{
	azureOpenAI,
	groq,
	mistral,
	anthropic,
	cohere,
	huggingFace,
	replicate,
	together,
	openRouter,
	modal,
	openAI,
	gemini,
	vertex,
	bedrock,
	googleAPI,
}

// servers lists the dialects of standards, and of servers that stand in front of
// many APIs.
var servers = []*family{
	kubernetes,
	envoy,
	kong,
	expressRateLimit,
	ietf,
	cloudflareEdge,
	nginx,
}
