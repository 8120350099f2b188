package dialect

import "testing"

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
