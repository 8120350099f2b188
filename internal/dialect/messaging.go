package dialect

import "net/http"

// twilio reads Twilio, which limits the calls of an account that are in progress
// at once. Twilio-Concurrent-Requests says how many are, not how many may be.
//
// Source: twilio.com/docs, errors 20429 and 63038, and "API best practices".
var twilio = &family{
	name:   "twilio",
	remark: "limits calls at once and tells the use, but not the limit",
	hosts:  []string{"*.twilio.com"},
	fields: []string{"Twilio-Concurrent-Requests", "Twilio-Request-Id"},
	judge: func(a *answer) verdict {
		if code := a.text("code"); a.Status == http.StatusTooManyRequests && code == twilioDaySpent {
			return verdict{class: Fatal, by: signal{"code", code}}
		}
		return verdict{}
	},
}

// twilioDaySpent is the code of an account whose messages of the day are spent.
const twilioDaySpent = "63038"

// sendgrid reads SendGrid, which counts each endpoint by itself.
//
// Source: docs of Twilio SendGrid, "Rate limits".
var sendgrid = &family{
	name:   "sendgrid",
	remark: "a window for each endpoint",
	hosts:  []string{"api.sendgrid.com", "api.eu.sendgrid.com"},
	judge:  perRoute,
}
