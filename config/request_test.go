package config

import (
	"reflect"
	"testing"
)

func TestParseRequestReadsYAMLAndJSON(t *testing.T) {
	want := SourceRequest{
		Method: "PUT", Path: "/v1/{{ .ID }}",
		Headers: map[string]string{"Content-Type": "text/plain"},
		Body:    "{{ json .JSON.text }}",
	}
	for _, text := range []string{
		"method: PUT\npath: /v1/{{ .ID }}\nheaders: {Content-Type: text/plain}\nbody: '{{ json .JSON.text }}'\n",
		`{"method": "PUT", "path": "/v1/{{ .ID }}", "headers": {"Content-Type": "text/plain"}, "body": "{{ json .JSON.text }}"}`,
	} {
		got, err := ParseRequest("request.yaml", []byte(text))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("ParseRequest(%q) = %+v, %v, want %+v", text, got, err, want)
		}
	}
}

func TestParseRequestPlacesFaults(t *testing.T) {
	for text, want := range map[string]string{
		"method: POST\nbdy: x\npath: /":  `r:2:1: bdy: unknown key; did you mean "body"?`,
		"path: /\nupstream: openai":      "r:2:11: upstream: is not said here: the upstream is that of the command",
		"method: POST":                   "r:1:1: path: is missing",
		"path: /\nbody: {a: 1}":          "r:2:1: body: want text, found a mapping",
		"path: /\nbody: ${env:NO_SUCH_}": "r:2:7: body: environment variable NO_SUCH_ is not set",
		"":                               "r:1:1: the file is empty",
	} {
		if _, err := ParseRequest("r", []byte(text)); err == nil || err.Error() != want {
			t.Errorf("ParseRequest(%q) = %v, want %s", text, err, want)
		}
	}
}
