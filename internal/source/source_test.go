package source

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestIDOfIsTheMessagesOwnOrItsContent(t *testing.T) {
	for body, want := range map[string]string{
		`{"id": "a/b", "x": 1}`:         "a/b",
		` {"id": 12345678901234567890}`: "12345678901234567890",
		`{"id": -1.5e3}`:                "-1.5e3",
		`{"id": ""}`:                    "",
		`{"id": null}`:                  "",
		`{"id": {"x": 1}}`:              "",
		`{"id": true}`:                  "",
		`["id"]`:                        "",
		`{"id": 7`:                      "",
		`{"id": "` + strings.Repeat("x", 257) + `"}`: "",
		"text": "982d9e3eb996f559e633f4d194def376",
		"":     "e3b0c44298fc1c149afbf4c8996fb924",
	} {
		id, own := IDOf([]byte(body))
		if made := want == "" || len(want) == 32; own == made || !made && id != want || len(want) == 32 && id != want {
			t.Errorf("IDOf(%.40q) = %q, %v, want %q", body, id, own, want)
		}
		if again, _ := IDOf([]byte(body)); again != id {
			t.Errorf("IDOf(%.40q) = %q and then %q", body, id, again)
		}
	}
}

func TestBodyOfIsTheOnlyValueOrAnObject(t *testing.T) {
	for want, fields := range map[string][]string{
		`x`:                     {"text", "x"},
		`{"a":"1","b":"<\"&>"}`: {"a", "1", "b", `<"&>`},
		`{}`:                    {},
	} {
		if got := string(BodyOf(fields)); got != want {
			t.Errorf("BodyOf(%q) = %s, want %s", fields, got, want)
		}
	}
}

func TestResultsAreJSONWhateverTheAnswerIs(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("", 3600))
	for want, e := range map[string]End{
		`{"id":"7","status":200,"content_type":"application/json","body":{"n":1.50},"attempts":2,"ended_at":"2026-01-02T02:04:05Z"}`: {
			Status: 200, ContentType: "application/json", Body: []byte(`{"n":1.50}`), Attempts: 2},
		`{"id":"7","status":200,"body":"a <b>","attempts":1,"ended_at":"2026-01-02T02:04:05Z"}`: {Status: 200, Body: []byte("a <b>"), Attempts: 1},
		`{"id":"7","status":204,"body":"","attempts":1,"ended_at":"2026-01-02T02:04:05Z"}`:      {Status: 204, Attempts: 1},
		`{"id":"7","status":200,"body_base64":"/wA=","attempts":1,"ended_at":"2026-01-02T02:04:05Z"}`: {
			Status: 200, Body: []byte{0xff, 0}, Attempts: 1},
	} {
		e.At = at
		if got := string(WriteResult(Message{ID: "7"}, e)); got != want {
			t.Errorf("WriteResult(%+v)\n got %s\nwant %s", e, got, want)
		}
	}
}

func TestLettersReadAsTheyWereWritten(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, m := range []Message{
		{ID: "1", Body: []byte("text")},
		{ID: "2", Body: []byte{0, 0xff, '"'}},
		{ID: "3", Body: []byte(`{"base64":"x"}`)},
		{ID: "4", Fields: []string{"a", "1", "b", "\xff"}, Body: BodyOf([]string{"a", "1", "b", "\xff"})},
	} {
		for _, e := range []End{
			{Dead: "bad", At: at},
			{Dead: "bad", At: at, Status: 400, ContentType: "text/plain", Body: []byte("no <b>"), Attempts: 3},
			{Dead: "bad", At: at, Status: 400, Body: []byte(`{"no":1}`), Attempts: 3},
			{Dead: "bad", At: at, Status: 400, Body: []byte{0xfe}, Attempts: 3},
		} {
			raw := WriteLetter("s", m, e)
			got, err := ReadLetter(raw)
			if want := (Letter{ID: m.ID, Source: "s", Reason: "bad", End: e, Body: m.Body, Fields: m.Fields, Raw: raw}); err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%s read as\n%+v, %v, want\n%+v", raw, got, err, want)
			}
		}
	}
	for _, raw := range []string{"", "x", "{}", `{"id":"1","fields":["a"]}`, `{"id":"1","message":7}`} {
		if l, err := ReadLetter([]byte(raw)); err == nil {
			t.Errorf("ReadLetter(%q) = %+v, want an error", raw, l)
		}
	}
}

func TestLettersAreFoundByAnythingInThem(t *testing.T) {
	l := Letter{ID: "Order-7", Reason: "Status 500 means overloaded", Body: []byte(`{"name":"ÄRGER"}`)}
	for text, want := range map[string]bool{"": true, "order-7": true, "status 500": true, "ärger": true, "Status 400": false} {
		if got := l.Matches(text); got != want {
			t.Errorf("Matches(%q) = %v, want %v", text, got, want)
		}
	}
}

func TestTemplateMakesCallsOfMessages(t *testing.T) {
	for _, c := range []struct {
		name    string
		request Request
		message string
		method  string
		target  string
		header  map[string]string
		body    string
	}{
		{"the contract's", Request{Method: "POST", Path: "/v1/analyze", Headers: map[string]string{"Content-Type": "application/json"}, Body: `{"text": {{ json .Message }}}`},
			"it's \"good\" <b>\n", "POST", "/v1/analyze", map[string]string{"Content-Type": "application/json"}, `{"text": "it's \"good\" <b>\n"}`},
		{"fields, and numbers as they are", Request{Path: "/v1/{{ pathescape .JSON.name }}?q={{ urlquery .JSON.q }}", Body: `[{{ json .JSON.n }},{{ .JSON.n }},{{ json .JSON.list }},{{ json (index .JSON "none") }}]`},
			`{"name":"a/../b ?","q":"x&y","n":12345678901234567890.10,"list":[1,{"a":null}]}`, "POST", "/v1/a%2F..%2Fb%20%3F?q=x%26y",
			map[string]string{"Content-Type": "application/json"}, `[12345678901234567890.10,12345678901234567890.10,[1,{"a":null}],null]`},
		{"conditions", Request{Method: "PUT", Path: "/x", Body: `{{ if gt (int .JSON.n) 5 }}many{{ else }}few{{ end }}`}, `{"n":6}`, "PUT", "/x", nil, "many"},
		{"binary", Request{Path: "/x", Headers: map[string]string{"idempotency-key": "{{ .ID }}", "X-B": "{{ base64 .Message }}"}, Body: "{{ .Message }}"},
			"\xff\x00", "POST", "/x", map[string]string{"Idempotency-Key": "id", "X-B": "/wA="}, "\xff\x00"},
		{"a path of the message", Request{Method: "GET", Path: "{{ .Message }}"}, "/v1/x?y=1", "GET", "/v1/x?y=1", nil, ""},
	} {
		tmpl, err := ParseTemplate(c.request)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		got, err := tmpl.Render(Message{ID: "id", Body: []byte(c.message)})
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		header := map[string]string{}
		for name := range got.Header {
			header[name] = got.Header.Get(name)
		}
		if got.Method != c.method || got.Target.RequestURI() != c.target || !maps.Equal(header, c.header) || string(got.Body) != c.body {
			t.Errorf("%s: %s %s %v\n%s\nwant %s %s %v\n%s", c.name, got.Method, got.Target.RequestURI(), header, got.Body, c.method, c.target, c.header, c.body)
		}
	}
}

func TestTemplateRefusesMessagesThatDoNotFit(t *testing.T) {
	for _, c := range []struct {
		request       Request
		message, want string
	}{
		{Request{Path: "/", Body: "{{ .JSON.text }}"}, "x", "the message is not JSON"},
		{Request{Path: "/", Body: "{{ .JSON.text }}"}, "{} {}", "something behind"},
		{Request{Path: "/", Body: "{{ .JSON.text }}"}, "\"\xff\"", "not UTF-8"},
		{Request{Path: "/", Body: "{{ .JSON.text }}"}, "{}", `no entry for key "text"`},
		{Request{Path: "/", Body: "{{ .JSON.a.b }}"}, `{"a":null}`, "body: <.JSON.a.b>"},
		{Request{Path: "/", Body: "{{ .JSON.a.b }}"}, `[1]`, "body: <.JSON.a.b>"},
		{Request{Path: "/", Body: "{{ json .Message }}"}, "\xff", "write it with base64"},
		{Request{Path: "/{{ .Message }}"}, "a b", "pathescape"},
		{Request{Path: "/v1/{{ .Message }}"}, "../admin", "climbs"},
		{Request{Path: "/v1/{{ .Message }}"}, "%2e%2e/admin", "climbs"},
		{Request{Path: "{{ .Message }}"}, "https://elsewhere", "is not one"},
		{Request{Path: "/", Headers: map[string]string{"X": "{{ .Message }}"}}, "a\r\nEvil: 1", "headers.X: the value has a line end"},
		{Request{Path: "/", Body: "{{ int .JSON }}"}, "1.5", "invalid syntax"},
	} {
		tmpl, err := ParseTemplate(c.request)
		if err != nil {
			t.Fatal(err)
		}
		if r, err := tmpl.Render(Message{Body: []byte(c.message)}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v with %q = %+v, %v, want %s", c.request, c.message, r, err, c.want)
		}
	}
}

func TestParseTemplateNamesFieldAndLine(t *testing.T) {
	for _, c := range []struct {
		request Request
		want    []string
	}{
		{Request{Path: "/", Body: "a\n{{ jsn .Message }}"}, []string{`body: line 2: function "jsn" not defined`}},
		{Request{Path: "/{{ .ID", Method: "post", Headers: map[string]string{"X": "{{ end }}", "a b": "", "host": ""}}, []string{
			`method: "post": want a method in capitals`, "path: unclosed action", "headers.X: unexpected {{end}}",
			"headers.a b: is not the name", "headers.host: is set by the connection"}},
		{Request{Path: "v1"}, []string{`path: "v1": want a path`}},
		{Request{Path: "/", Headers: map[string]string{"A": "", "a": ""}}, []string{"headers.a: is there twice"}},
	} {
		_, err := ParseTemplate(c.request)
		for _, want := range c.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("ParseTemplate(%+v) = %v, want %s", c.request, err, want)
			}
		}
		var fault *TemplateError
		if !errors.As(err, &fault) || fault.Field == "" {
			t.Errorf("ParseTemplate(%+v) = %v, want a TemplateError", c.request, err)
		}
	}
}

// Whatever a message says, its call is one that can be sent, and its letter reads
// as it was.
func FuzzMessage(f *testing.F) {
	for _, seed := range []string{"", "x", `{"id":1,"path":"a"}`, `{"path":"../x"}`, "\xff\x00\r\n", `{"path":"%2e%2e/?#"}`, `{"path":1e999}`} {
		f.Add([]byte(seed))
	}
	tmpl, err := ParseTemplate(Request{Path: "/v1/{{ .JSON.path }}", Headers: map[string]string{"X-ID": "{{ .ID }}"}, Body: `{"m":{{ json .Message }},"j":{{ json .JSON }}}`})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		m := Message{Body: body}
		m.ID, m.Own = IDOf(body)
		if r, err := tmpl.Render(m); err == nil {
			if !json.Valid(r.Body) {
				t.Errorf("%q made the body %s, which is not JSON", body, r.Body)
			}
			if !strings.HasPrefix(r.Target.Path, "/v1/") || slices.Contains(strings.Split(r.Target.EscapedPath(), "/"), "..") {
				t.Errorf("%q made the path %s", body, r.Target.Path)
			}
			if strings.ContainsAny(r.Header.Get("X-ID"), "\r\n\x00") {
				t.Errorf("%q made the field %q", body, r.Header.Get("X-ID"))
			}
		}
		if m.ID == "" {
			t.Fatalf("%q has no ID", body)
		}
		m.ID = "id"
		if l, err := ReadLetter(WriteLetter("s", m, End{Dead: "no"})); err != nil || !bytes.Equal(l.Body, body) {
			t.Errorf("%q as a letter reads %q, %v", body, l.Body, err)
		}
	})
}
