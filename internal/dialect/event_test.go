package dialect

import (
	"fmt"
	"net/http"
	"testing"
)

func TestEventClassFindsErrors(t *testing.T) {
	for _, c := range []struct {
		event, data string
		want        Class // OK: not an error
	}{
		{"error", `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`, Overloaded},
		{"error", `{"type":"error","error":{"type":"rate_limit_error","message":"…"}}`, Throttled},
		{"", `{"error":{"message":"Rate limit reached","type":"tokens","code":"rate_limit_exceeded"}}`, Throttled},
		{"", `{"error":{"message":"The server had an error","type":"server_error","code":null}}`, Overloaded},
		{"", `{"error":{"code":429,"status":"RESOURCE_EXHAUSTED"}}`, Throttled},
		{"", `{"error":{"status":"UNAVAILABLE"}}`, Overloaded},
		{"error", `{"type":"error","error":{"type":"api_error"}}`, Overloaded},
		{"", `{"error":{"code":"project_spend_limit_exceeded","type":"rate_limit_error"}}`, OK},
		{"", `{"error":{"code":"503"}}`, Overloaded},
		{"", `{"error":{"code":529}}`, Overloaded},
		{"", `{"error":{"type":"server_error","code":429}}`, Throttled},
		{"", `{"error":{"type":"insufficient_quota","code":429}}`, OK},
		{"error", `{"type":"error","code":"rate_limit_exceeded","message":"…"}`, Throttled},
		{"", `{"type":"error","code":"server_error"}`, Overloaded},
		{"error", `{"type":"rate_limit_error"}`, Throttled},
		{" error\r", `{"code":503}`, Overloaded},
		{"", `{"error":"rate_limit_exceeded"}`, Throttled},
		{"", `{"error":429}`, Throttled},
		{"error", `{"type":"error","error":{"type":"invalid_request_error"}}`, OK},
		{"error", `429`, OK},
		{"error", `Too many requests`, OK},
		{"error", ``, OK},
		{"error", `{"error":{"type":"overloaded_error"`, OK}, // cut off
		{"", `{"error":null,"type":"rate_limit_error"}`, OK},
		{"", `{"error":["429"],"x":1}`, OK},
		{"message_start", `{"type":"message_start","message":{"content":[]}}`, OK},
		{"", `{"choices":[{"delta":{"content":"the \"error\" 429"}}]}`, OK},
		{"", `{"code":429,"text":"error"}`, OK},
		{"", `[DONE]`, OK},
		{"", ``, OK},
	} {
		got, ok := EventClass([]byte(c.event), []byte(c.data))
		if got != c.want || ok != (c.want != OK) {
			t.Errorf("EventClass(%q, %s) = %v, %t, want %v", c.event, c.data, got, ok, c.want)
		}
	}
}

func TestFirstEvent(t *testing.T) {
	for stream, want := range map[string]string{
		"event: error\ndata: {}\n\nevent: x\n\n": "error|{}|true",
		"data: a\r\ndata:b\r\n\r\n":              "|a\nb|true",
		": comment\n\nid: 1\n\ndata: a\n\n":      "|a|true",
		"event: error\ndata: {}\n":               "error|{}|false",
		"data: a":                                "||false",
		"\n\n\n":                                 "||false",
		"":                                       "||false",
	} {
		event, data, ended := FirstEvent([]byte(stream))
		if got := fmt.Sprintf("%s|%s|%t", event, data, ended); got != want {
			t.Errorf("FirstEvent(%q) = %q, want %q", stream, got, want)
		}
	}
}

func TestIsEventStream(t *testing.T) {
	for want, all := range map[bool][][]string{
		true:  {{"Content-Type: text/event-stream"}, {"Content-Type: Text/Event-Stream; charset=utf-8"}},
		false: {nil, {"Content-Type: application/json"}, {"Content-Type: text/event-stream", "Content-Encoding: gzip"}},
	} {
		for _, lines := range all {
			if got := IsEventStream(header(lines...)); got != want {
				t.Errorf("IsEventStream(%q) = %t, want %t", lines, got, want)
			}
		}
	}
}

func TestStreamedReadsWaitAndModelOfTheEvent(t *testing.T) {
	for _, c := range []struct {
		dialect, path string
		header        http.Header
		data          string
		want          string
	}{
		{"openai", "/v1/chat/completions", nil, `{"error":{"code":"rate_limit_exceeded","message":"Rate limit reached for gpt-4o. Please try again in 1.5s."}}`,
			"throttled, repeat, wait 1.5s, on model:gpt-4o"},
		{"gemini", "/v1beta/models/gemini-pro:streamGenerateContent", nil,
			`{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"7s"}]}}`,
			"throttled, repeat, wait 7s, on model:gemini-pro"},
		{"anthropic", "/v1/messages", header("Retry-After: 59"), `{"type":"error","error":{"type":"overloaded_error"}}`, "overloaded, repeat"},
		{"generic", "/chat", nil, `{"error":{"code":429,"retry_after":3}}`, "throttled, repeat, wait 3s"},
		{"generic", "/chat", header("X-Should-Retry: false"), `{"error":{"code":429}}`, "throttled"},
	} {
		d, _ := Lookup(c.dialect)
		a := Answer{Method: "POST", Path: c.path, Status: 200, Header: c.header}
		class, ok := EventClass(nil, []byte(c.data))
		r := d.Read(a, t0).Streamed(a, class, []byte(c.data))
		if got := brief(r); !ok || got != c.want || r.Told != (len(c.header["X-Should-Retry"]) > 0) {
			t.Errorf("%s: a stream that begins with %s is %s, told %t; want %s", c.dialect, c.data, got, r.Told, c.want)
		}
	}
}

func TestErrorsInTheFormOfAStreamAreRead(t *testing.T) {
	a := Answer{Method: "POST", Status: 429, Header: header("Content-Type: text/event-stream"), Body: []byte("data: {\"error\":{\"code\":\"insufficient_quota\"}}")}
	if r := openAI.Read(a, t0); r.Class != Fatal {
		t.Errorf("429 with %q is %v, want fatal", a.Body, r.Class)
	}
}

func TestEventClassOfCommonEventDoesNotAllocate(t *testing.T) {
	data := []byte(`{"choices":[{"delta":{"content":"hello"}}]}`)
	if n := testing.AllocsPerRun(100, func() { EventClass(nil, data) }); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

func FuzzEventClass(f *testing.F) {
	f.Add([]byte("error"), []byte(`{"type":"error","error":{"type":"overloaded_error"}}`))
	f.Add([]byte(""), []byte(`{"error":{"code":429}}`))
	for _, s := range samples(f) {
		if s.Body != "" {
			f.Add([]byte("error"), []byte(s.Body))
		}
	}
	f.Fuzz(func(t *testing.T, event, data []byte) {
		c, ok := EventClass(event, data)
		if ok != (c == Throttled || c == Overloaded) || !ok && c != OK {
			t.Errorf("EventClass(%q, %q) = %v, %t", event, data, c, ok)
		}
		if c2, ok2 := EventClass(event, data); c2 != c || ok2 != ok {
			t.Errorf("EventClass(%q, %q) = %v, then %v", event, data, c, c2)
		}
	})
}
