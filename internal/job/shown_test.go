package job

import "testing"

func TestShownHidesSecretsOfURLs(t *testing.T) {
	for in, want := range map[string]string{
		"":                                     "",
		"/v1/x":                                "/v1/x",
		"/v1/x?":                               "/v1/x?",
		"/v1/x?a=b&key=SECRET":                 "/v1/x?a=b&key=***",
		"/v1/x?api_key=SECRET&a=b":             "/v1/x?api_key=***&a=b",
		"/v1/x?%6bey=SECRET&API-Key=SECRET":    "/v1/x?%6bey=***&API-Key=***",
		"/v1/x?X-Amz-Signature=SECRET&n=1":     "/v1/x?X-Amz-Signature=***&n=1",
		"/v1/x?max_tokens=5&monkey=1&key=&key": "/v1/x?max_tokens=5&monkey=1&key=&key",
		"/v1/x?%zz=1&token=SECRET?a":           "/v1/x?%zz=1&token=***",
		"https://hook.test/in?token=SECRET":    "https://hook.test/in?token=***",
	} {
		j := Job{Path: in, Callback: in}
		if got := j.Shown(); got.Path != want || got.Callback != want || got.Attempts == nil {
			t.Errorf("%q is shown as %q and %q, attempts %v; want %q and a list", in, got.Path, got.Callback, got.Attempts, want)
		}
		if j.Path != in {
			t.Errorf("%q itself became %q", in, j.Path)
		}
	}
}
