package dialect

import "strings"

// awsAPIGateway is Amazon API Gateway. A 429 has two meanings that the body alone
// tells apart: the rate of the account, and the calendar quota of a usage plan.
var awsAPIGateway = &family{
	name:   "aws-apigateway",
	remark: "429 `Limit Exceeded` is the usage plan's quota for the day, week or month: fatal",
	hosts:  []string{"*.execute-api.*.amazonaws.com"},
	fields: []string{"X-Amz-Apigw-Id", "X-Amzn-Apigateway-Api-Id"},
	judge: func(a *answer) verdict {
		name, message := awsError(a), a.text("message")
		if message == "" {
			message = a.text("Message")
		}
		switch {
		case name == "LimitExceededException", name == "" && strings.EqualFold(trim(message), "Limit Exceeded"):
			return verdict{class: Fatal, by: signal{"error", "Limit Exceeded"}}
		case oneOf(name, "TooManyRequestsException", "ThrottlingException", "ThrottledException"):
			return verdict{class: Throttled, by: signal{"error", name}}
		}
		return verdict{}
	},
	preset: Preset{Limits: []string{"10000/1s burst 5000"}},
}
