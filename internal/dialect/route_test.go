package dialect

import "testing"

func TestRouteLeavesOutNamesOfObjects(t *testing.T) {
	for _, c := range []struct {
		path string
		keep int
		want string
	}{
		{"", 0, ""},
		{"/2/tweets/1234567890123", 0, "route:/2/tweets/*"},
		{"/api/v4/projects/314/notes", 0, "route:/api/v4/projects/*/notes"},
		{"/v1/payment_intents/pi_1/confirm", 0, "route:/v1/payment_intents/*/confirm"},
		{"/2010-04-01/Accounts/AC0123456789/Messages.json", 0, "route:/2010-04-01/Accounts/*/Messages.json"},
		{"/rest/api/3/issue/X-1", 0, "route:/rest/api/3/issue/*"},
		{"/users/0b1c2d3e-0000-4000-8000-000000000000", 0, "route:/users/*"},
		{"/v1beta1/oauth2/token", 0, "route:/v1beta1/oauth2/token"},
		{"/api/v10/channels/112233445566/messages/778899", 1, "route:/api/v10/channels/112233445566/messages/*"},
		{"/api/chat.postMessage", 0, "route:/api/chat.postMessage"},
		{"/", 0, "route:/"},
	} {
		if got := route(c.path, c.keep); got != c.want {
			t.Errorf("route(%q, %d) = %q, want %q", c.path, c.keep, got, c.want)
		}
	}
}

func TestScopeIsThatOfWhatIsCounted(t *testing.T) {
	for _, c := range []struct {
		dialect, path string
		lines         []string
		body, want    string
	}{
		{"stripe", "/v1/charges/ch_1", []string{"Stripe-Rate-Limited-Reason: endpoint-rate"}, "", "route:/v1/charges/*"},
		{"stripe", "/v1/charges/ch_1", []string{"Stripe-Rate-Limited-Reason: resource-specific"}, "", "route:/v1/charges/ch_1"},
		{"stripe", "/v1/charges/ch_1", nil, `{"error":{"code":"lock_timeout"}}`, "route:/v1/charges/ch_1"},
		{"atlassian", "/rest/api/3/issue/X-1", []string{"RateLimit-Reason: jira-burst-based"}, "", "route:/rest/api/3/issue/*"},
		{"github", "/search/issues", []string{"x-ratelimit-remaining: 0", "x-ratelimit-resource: search"}, "", "route:/search"},
		{"github", "/search/code", []string{"x-ratelimit-remaining: 0", "x-ratelimit-resource: code_search"}, "", "route:/search/code"},
		{"x", "/2/users/123456/tweets", nil, "", "route:/2/users/*/tweets"},
	} {
		d, _ := Lookup(c.dialect)
		r := d.Read(Answer{Method: "GET", Path: c.path, Status: 429, Header: header(c.lines...), Body: []byte(c.body)}, t0)
		if r.Scope != c.want {
			t.Errorf("%s %s %q %s: scope %s, want %s", c.dialect, c.path, c.lines, c.body, r.Scope, c.want)
		}
	}
}
