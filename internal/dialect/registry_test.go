package dialect

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

func TestLookupKnowsEveryName(t *testing.T) {
	names := Names()
	if names[0] != "auto" || names[1] != "generic" || !slices.IsSorted(names[2:]) {
		t.Errorf("Names() = %q, want auto, generic, and the rest sorted", names)
	}
	for i, name := range names {
		if d, ok := Lookup(name); !ok || d.Name() != name || slices.Contains(names[:i], name) {
			t.Errorf("Lookup(%q) = %v, %t, want a dialect of that name, once", name, d, ok)
		}
	}
	for _, name := range []string{"", "Generic", "nobody"} {
		if d, ok := Lookup(name); ok {
			t.Errorf("Lookup(%q) = %v, want none", name, d)
		}
	}
}

func TestFamiliesNameFieldsCanonically(t *testing.T) {
	for _, f := range families {
		fields := slices.Concat(f.fields, f.told)
		for _, tr := range f.triples {
			fields = append(fields, tr.limit, tr.remaining, tr.reset)
		}
		for _, field := range fields {
			if field != http.CanonicalHeaderKey(field) {
				t.Errorf("%s: field %q, want %q", f.name, field, http.CanonicalHeaderKey(field))
			}
		}
		for _, host := range f.hosts {
			if strings.ToLower(host) != host || strings.Contains(domain(host), "*") {
				t.Errorf("%s: host %q, want lower case and two last labels", f.name, host)
			}
		}
		if f.remark == "" || f.limits != nil && f.told == nil && f.triples == nil && f.peeks == nil && f.readsLimits() {
			t.Errorf("%s: no remark, or limits in fields that told does not name", f.name)
		}
	}
}

// readsLimits reports whether limits finds anything in the standard fields.
func (f *family) readsLimits() bool {
	return len(f.limits(&answer{Answer: Answer{Status: 200, Header: header("X-RateLimit-Limit: 1", "RateLimit-Limit: 1")}, base: t0})) > 0
}

func TestDetectByHost(t *testing.T) {
	for host, want := range map[string]string{
		"api.openai.com": "openai", "API.OpenAI.com:443": "openai", "eu.api.openai.com": "openai", "openai.com": "generic",
		"x.openai.azure.com": "azure-openai", "x.cognitiveservices.azure.com": "azure-openai", "x.services.ai.azure.com": "azure-openai",
		"api.anthropic.com": "anthropic", "generativelanguage.googleapis.com": "gemini", "europe-west1-aiplatform.googleapis.com": "vertex",
		"aiplatform.googleapis.com": "vertex", "sheets.googleapis.com": "google-api", "www.googleapis.com": "google-api",
		"bedrock-runtime.us-east-1.amazonaws.com": "bedrock", "abc.execute-api.eu-west-1.amazonaws.com": "aws-apigateway",
		"api.mistral.ai": "mistral", "api.groq.com": "groq", "api.cohere.com": "cohere", "api.together.xyz": "together",
		"api.replicate.com": "replicate", "huggingface.co": "huggingface", "router.huggingface.co": "huggingface",
		"openrouter.ai": "openrouter", "me--app.modal.run": "modal",
		"modal.run": "generic", "evil-api.openai.com.example": "generic", "[::1]:80": "generic", "localhost": "generic", "": "generic",
	} {
		if got := Detect(host, nil).Name(); got != want {
			t.Errorf("Detect(%q) = %s, want %s", host, got, want)
		}
		if got := (auto{}).Read(Answer{Host: host, Status: 200}, t0).Dialect; got != want {
			t.Errorf("auto reads an answer of %q as %s, want %s", host, got, want)
		}
	}
}

func TestDetectByHeader(t *testing.T) {
	for _, c := range []struct {
		lines []string
		want  string
	}{
		{[]string{"x-ratelimit-limit-requests: 10"}, "openai"},
		{[]string{"x-ratelimit-limit-requests: 10", "apim-request-id: 1"}, "azure-openai"},
		{[]string{"x-ratelimit-limit-requests: 10", "x-groq-region: us"}, "groq"},
		{[]string{"anthropic-ratelimit-requests-limit: 1", "Server: nginx"}, "anthropic"},
		{[]string{"x-ratelimit-limit-tokens-minute: 1"}, "mistral"},
		{[]string{"x-trial-endpoint-call-limit: 1"}, "cohere"},
		{[]string{"x-amzn-bedrock-invocation-latency: 1", "x-amzn-requestid: 1"}, "bedrock"},
		{[]string{"x-amz-apigw-id: 1", "x-amzn-requestid: 1"}, "aws-apigateway"},
		{[]string{"X-Kubernetes-PF-FlowSchema-UID: 1"}, "kubernetes"},
		{[]string{"X-RateLimit-Limit-Minute: 60", "RateLimit-Limit: 60"}, "kong"},
		{[]string{"x-ratelimit-limit: 10, 10;w=1"}, "envoy"},
		{[]string{"x-envoy-ratelimited: true", "Server: nginx"}, "envoy"},
		{[]string{"X-Powered-By: Express", "RateLimit: \"a\";r=1"}, "express-rate-limit"},
		{[]string{"X-Powered-By: Express"}, "generic"},
		{[]string{"RateLimit: \"a\";r=1", "Server: nginx/1.25"}, "ietf"},
		{[]string{"Server: nginx/1.25"}, "nginx"},
		{[]string{"Server: openresty"}, "nginx"},
		{[]string{"Server: cloudflare"}, "generic"},
		{[]string{"X-RateLimit-Limit: 5"}, "generic"},
	} {
		if got := Detect("127.0.0.1:8080", header(c.lines...)).Name(); got != c.want {
			t.Errorf("Detect by %q = %s, want %s", c.lines, got, c.want)
		}
	}
}

func TestRecogniseGoesByWhatWasAskedForLast(t *testing.T) {
	for _, c := range []struct {
		host, path string
		lines      []string
		want       string
	}{
		{"10.0.0.1:8000", "/v1/chat/completions", nil, "openai"},
		{"10.0.0.1:8000", "/api/v1/embeddings", nil, "openai"},
		{"10.0.0.1:8000", "/v1/messages", nil, "generic"}, // of letters, as likely as of models
		{"10.0.0.1:8000", "/v1/chat/completions", []string{"Server: nginx"}, "nginx"},
		{"api.groq.com", "/openai/v1/chat/completions", nil, "groq"},
	} {
		a := Answer{Host: c.host, Path: c.path, Status: 503, Header: header(c.lines...)}
		if got, read := Recognise(a).Name(), (auto{}).Read(a, t0).Dialect; got != c.want || read != c.want {
			t.Errorf("Recognise(%s%s, %q) = %s, auto reads as %s, want %s", c.host, c.path, c.lines, got, read, c.want)
		}
	}
}

func TestHostPatterns(t *testing.T) {
	for _, c := range []struct {
		pattern, host string
		want          bool
	}{
		{"*.a.com", "x.a.com", true},
		{"*.a.com", "x.y.a.com", true},
		{"*.a.com", "a.com", false},
		{"*.a.com", ".a.com", false},
		{"x-*.a.com", "x-1.a.com", true},
		{"x.*.y.a.com", "x.1.y.a.com", true},
		{"x.*.y.a.com", "x.y.a.com", false},
		{"*.s3.*.a.com", "b.s3.eu.a.com", true},
		{"*.s3.*.a.com", "b.s3.a.com", false},
		{"a.com", "a.com", true},
		{"a.com", "ba.com", false},
	} {
		if got := matches(c.pattern, c.host); got != c.want {
			t.Errorf("matches(%q, %q) = %t, want %t", c.pattern, c.host, got, c.want)
		}
	}
}

func TestIndexPrefersWholeHostsAndLongPatterns(t *testing.T) {
	short, long, whole, second := &family{name: "short", hosts: []string{"*.a.com"}}, &family{name: "long", hosts: []string{"*.x.a.com"}},
		&family{name: "whole", hosts: []string{"1.x.a.com"}, fields: []string{"F"}}, &family{name: "second", hosts: []string{"1.x.a.com"}, fields: []string{"F", "G"}}
	x := newIndex([]*family{short, long, whole, second})
	for host, want := range map[string]*family{"1.x.a.com": whole, "2.x.a.com": long, "y.a.com": short, "a.com": nil} {
		if got := x.byHost(host); got != want {
			t.Errorf("byHost(%q) = %v, want %v", host, got, want)
		}
	}
	if got := x.byHeader(header("F: 1", "G: 1")); got != whole {
		t.Errorf("byHeader of a field of two families = %s, want the first", got.name)
	}
}

func TestClassNames(t *testing.T) {
	for c, want := range map[Class]string{OK: "ok", Throttled: "throttled", Overloaded: "overloaded", Fatal: "fatal", 9: "class 9"} {
		if got := c.String(); got != want {
			t.Errorf("Class(%d) = %q, want %q", uint8(c), got, want)
		}
	}
}
