package dialect

import "net/http"

// bedrock is Amazon's runtime for models: the name of the error decides, whatever
// the status.
var bedrock = &family{
	name:   "bedrock",
	remark: "the error's name decides: ModelNotReadyException is a 429 and overload, ServiceQuotaExceededException fatal",
	hosts:  []string{"bedrock-runtime.*.amazonaws.com", "bedrock-runtime-fips.*.amazonaws.com"},
	fields: []string{"X-Amzn-Bedrock-Invocation-Latency", "X-Amzn-Bedrock-Input-Token-Count", "X-Amzn-Bedrock-Output-Token-Count"},
	judge: func(a *answer) verdict {
		name := awsError(a)
		v := verdict{by: signal{"error", name}, scope: modelScope(a, "")}
		switch name {
		case "ThrottlingException", "ThrottledException", "Throttling", "TooManyRequestsException":
			v.class = Throttled
		case "ServiceUnavailableException", "InternalServerException", "InternalFailure",
			"ModelNotReadyException", "ModelTimeoutException", "ModelErrorException", "ModelStreamErrorException":
			v.class = Overloaded
		case "ServiceQuotaExceededException", "ValidationException", "AccessDeniedException", "ResourceNotFoundException":
			v.class = Fatal
		default:
			v.by = signal{}
			if a.Status == http.StatusFailedDependency { // a model's own error
				v.class, v.by = Overloaded, signal{"a model's error", ""}
			}
		}
		return v
	},
	preset: Preset{Methods: MethodsAny, Usage: &Usage{
		Cap: []string{
			"inferenceConfig.maxTokens", "max_tokens", "max_completion_tokens", "max_gen_len",
			"textGenerationConfig.maxTokenCount", "max_tokens_to_sample",
		},
		Total:        []string{"usage.totalTokens", "metadata.usage.totalTokens", "usage.total_tokens"},
		Input:        []string{"amazon-bedrock-invocationMetrics.inputTokenCount", "usage.inputTokens", "metadata.usage.inputTokens", "usage.input_tokens", "message.usage.input_tokens", "prompt_token_count"},
		Output:       []string{"amazon-bedrock-invocationMetrics.outputTokenCount", "usage.outputTokens", "metadata.usage.outputTokens", "usage.output_tokens", "generation_token_count"},
		InputFields:  []string{"X-Amzn-Bedrock-Input-Token-Count"},
		OutputFields: []string{"X-Amzn-Bedrock-Output-Token-Count"},
	}},
}
