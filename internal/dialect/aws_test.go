package dialect

import (
	"net/http"
	"testing"
)

func TestAWS(t *testing.T) {
	checkServices(t, []serviceCase{
		{"code in a field", "aws", "POST /", "400\nx-amzn-ErrorType: ThrottlingException:http://internal.amazon.com/\n\n{}", "throttled, repeat"},
		{"code of the query APIs", "aws", "POST /", "400\nx-amzn-query-error: RequestThrottled;Sender\n", "throttled, repeat"},
		{"code in XML", "aws", "POST /", "400\n\n<ErrorResponse><Error><Type>Sender</Type><Code>Throttling</Code></Error></ErrorResponse>", "throttled, repeat"},
		{"code of EC2", "aws", "POST /", "503\n\n<Response><Errors><Error><Code>RequestLimitExceeded</Code></Error></Errors></Response>", "throttled, repeat"},
		{"wait in ms", "aws", "POST /", "503\nx-amz-retry-after: 1500\n\n<Error><Code>SlowDown</Code></Error>", "throttled, repeat, wait 1.5s"},
		{"overload of S3", "aws", "PUT /b/k", "503\n\n<Error><Code>ServiceUnavailable</Code></Error>", "overloaded, repeat"},
		{"fault of S3", "aws", "GET /b/k", "500\n\n<Error><Code>InternalError</Code></Error>", "overloaded, repeat"},
		{"refused upload that came too slowly", "aws", "PUT /b/k", "400\n\n<Error><Code>RequestTimeout</Code></Error>", "overloaded, repeat"},
		{"bandwidth", "aws", "POST /", "509\n", "throttled, repeat"},
		{"hard cap", "aws", "POST /", "400\n\n{\"__type\":\"LimitExceededException\"}", "fatal"},
		{"cap that clears", "aws", "POST /", "400\n\n{\"__type\":\"com.amazonaws.dynamodb.v20120810#LimitExceededException\"}", "throttled, repeat"},
		{"quota", "aws", "POST /", "429\n\n{\"__type\":\"ServiceQuotaExceededException\"}", "fatal"},
		{"wrong input", "aws", "POST /", "400\n\n{\"__type\":\"ValidationException\",\"message\":\"Throttling\"}", "fatal"},
		{"access", "aws", "GET /b/k", "403\n\n<Error><Code>AccessDenied</Code></Error>", "fatal"},
		{"unfinished XML", "aws", "POST /", "400\n\n<Error><Code>SlowDo", "fatal"},
	})
}

func TestAWSThrottleCodesOutrankTheStatus(t *testing.T) {
	for _, code := range []string{
		"Throttling", "ThrottlingException", "ThrottledException", "RequestThrottled", "RequestThrottledException",
		"TooManyRequestsException", "ProvisionedThroughputExceededException", "RequestLimitExceeded", "BandwidthLimitExceeded",
		"TransactionInProgressException", "PriorRequestNotComplete", "EC2ThrottledException", "SlowDown",
	} {
		for _, status := range []int{400, 429, 503} {
			a := Answer{Method: "POST", Status: status, Header: http.Header{}, Body: []byte(`{"__type":"a.b#` + code + `:http://c/"}`)}
			if got := brief(aws.Read(a, t0)); got != "throttled, repeat" {
				t.Errorf("%d %s reads as %s, want throttled, repeat", status, code, got)
			}
		}
	}
}
