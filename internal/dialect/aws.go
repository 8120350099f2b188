package dialect

import (
	"net/http"
	"strings"
)

// aws reads the service APIs of Amazon Web Services, S3 among them. The error's
// code says what an answer means, since throttles come with 400, 429, 503 or
// 509; it stands in a field, in JSON or in XML. Nothing tells of limits.
//
// Source: botocore, retries/standard.py; aws-sdk-go-v2, aws/retry.
var aws = &family{
	name:   "aws",
	remark: "the error's code decides, not the status: throttles come with 400 or 503 too",
	hosts:  []string{"*.amazonaws.com", "*.amazonaws.com.cn", "*.api.aws"},
	fields: []string{"X-Amzn-Requestid", "X-Amz-Request-Id", "X-Amzn-Errortype", "X-Amzn-Query-Error"},
	judge:  judgeAWS,
}

func judgeAWS(a *answer) verdict {
	code := awsCode(a)
	by := signal{"error code", code}
	switch code {
	case "ServiceQuotaExceededException":
		return verdict{class: Fatal, by: by}
	case "Throttling", "ThrottlingException", "ThrottledException", "RequestThrottled",
		"RequestThrottledException", "TooManyRequestsException", "ProvisionedThroughputExceededException",
		"RequestLimitExceeded", "BandwidthLimitExceeded", "TransactionInProgressException",
		"PriorRequestNotComplete", "EC2ThrottledException", "SlowDown":
		return verdict{class: Throttled, by: by}
	case "LimitExceededException":
		// A hard cap with most services. DynamoDB's, of calls at once, clears by
		// itself, and so its documents have it repeated.
		if strings.HasPrefix(a.Host, "dynamodb") || strings.Contains(a.text("__type"), "dynamodb") {
			return verdict{class: Throttled, by: by}
		}
	case "RequestTimeout", "RequestTimeoutException":
		if a.Status == http.StatusBadRequest {
			return verdict{class: Overloaded, by: by}
		}
	}
	return verdict{}
}

// awsCode returns the code of an AWS error, also where a service that speaks JSON
// tells it in a field, as the query APIs did; "" if there is none.
func awsCode(a *answer) string {
	if code := awsError(a); code != "" {
		return code
	}
	code, _, _ := strings.Cut(a.field("X-Amzn-Query-Error"), ";")
	return awsName(code)
}
