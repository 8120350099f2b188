package batch

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/headgate/headgate/internal/job"
)

func response(status int, body string) *job.Response {
	return &job.Response{Status: status, Header: http.Header{}, Body: []byte(body)}
}

func TestTemplatesMakeCalls(t *testing.T) {
	const text = `
method: PUT
path: /v1/{{ urlquery .ID }}/{{ .Line }}
headers: {X-Model: "{{ .JSON.model }}"}
body: '{"text": {{ json .JSON.text }}, "n": {{ .JSON.n }}, "all": {{ .Message }}}'
`
	tmpl, err := ParseTemplate("t", text)
	if err != nil {
		t.Fatal(err)
	}
	message := `{"text": "a <b> \"c\"\n", "n": 12345678901234567890, "model": "m"}`
	req, err := tmpl.request(line{7, []byte(message)}, "x y", nil)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(req.Body)
	want := `{"text": "a <b> \"c\"\n", "n": 12345678901234567890, "all": ` + message + `}`
	if req.Method != "PUT" || req.URL.String() != "/v1/x+y/7" || string(body) != want ||
		req.Header.Get("X-Model") != "m" || req.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%s %s %v\n%s\nwant\n%s", req.Method, req.URL, req.Header, body, want)
	}
	for _, s := range []struct{ message, want string }{
		{`{"n": 1, "model": "m"}`, `map has no entry for key "text"`},
		{`{"text": "", "n": 1, "model": "a\r\nEvil: b"}`, "X-Model has a line end in it"},
		{`[1]`, "can't evaluate field"},
		{`{`, "not JSON"},
	} {
		if _, err := tmpl.request(line{7, []byte(s.message)}, "x", nil); err == nil || !strings.Contains(err.Error(), s.want) {
			t.Errorf("call of %s = %v, want %s", s.message, err, s.want)
		}
	}
}

func TestTemplateFaultsNameTheirPlace(t *testing.T) {
	for text, want := range map[string]string{
		"path: '/{{ .ID'":                "t: path: line 1: unclosed action",
		"{path: /, body: '{{ jsn . }}'}": `t: body: line 1: function "jsn" not defined`,
		"{path: /, headers: {A: '{{'}}":  "t: headers.A: line 1: unclosed action",
		"{path: /, meth: GET}":           `t:1:11: meth: unknown key; did you mean "method"?`,
		"":                               "t:1:1: the file is empty",
	} {
		if _, err := ParseTemplate("t", text); err == nil || err.Error() != want {
			t.Errorf("ParseTemplate(%q) = %v, want %s", text, err, want)
		}
	}
}
