package dialect

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"
)

func FuzzParse(f *testing.F) {
	for _, s := range samples(f) {
		f.Add([]byte(s.Body))
	}
	f.Add([]byte(`{"a":1,"a":null}`))
	f.Add([]byte(`{"a":[1,{"b":null}],"c":"\ud800"}`))
	f.Add([]byte(strings.Repeat("[", 100)))
	f.Fuzz(func(t *testing.T, body []byte) {
		got := parse(body)
		var want any
		d := json.NewDecoder(strings.NewReader(string(body)))
		d.UseNumber()
		err := d.Decode(&want)
		_, object := want.(map[string]any)
		_, array := want.([]any)
		if err == nil && (object || array) && depth(want) < deepest && !reflect.DeepEqual(got, want) {
			t.Errorf("parse(%q) = %#v, want %#v", body, got, want)
		}
		if depth(got) > deepest+1 {
			t.Errorf("parse(%q) is %d deep, want at most %d", body, depth(got), deepest+1)
		}
	})
}

func depth(v any) (d int) {
	switch v := v.(type) {
	case map[string]any:
		for _, member := range v {
			d = max(d, depth(member))
		}
	case []any:
		for _, element := range v {
			d = max(d, depth(element))
		}
	default:
		return 0
	}
	return d + 1
}

func FuzzProsaic(f *testing.F) {
	for _, s := range samples(f) {
		f.Add(s.Body)
	}
	f.Add("try again in 1h34m52.896s, or wait 3 days and 2 µs")
	f.Fuzz(func(t *testing.T, s string) {
		d, by := prosaic(s)
		if d < 0 || d > MaxWait || d%time.Millisecond != 0 || by == (signal{}) && d != 0 || !strings.Contains(s, by.value) {
			t.Errorf("prosaic(%q) = %v by %v; want whole ms between 0 and %v, by words that are there", s, d, by, MaxWait)
		}
	})
}

func FuzzFirstEvent(f *testing.F) {
	f.Add([]byte("event: error\ndata: {\"type\":\"error\"}\n\n"))
	f.Add([]byte("data: a\r\ndata: b\r\n\r\n"))
	f.Fuzz(func(t *testing.T, stream []byte) {
		before := string(stream)
		event, data, ended := FirstEvent(stream)
		if ended && event == nil && data == nil || len(event)+len(data) > len(stream) || string(stream) != before {
			t.Errorf("FirstEvent(%q) = %q, %q, %t", before, event, data, ended)
		}
		if more, again, ok := FirstEvent(append([]byte(before), "\ndata: more\n\n"...)); ended && (!ok || string(more) != string(event) || string(again) != string(data)) {
			t.Errorf("FirstEvent(%q) = %q, %q, but with more behind it %q, %q", before, event, data, more, again)
		}
	})
}

func FuzzDetect(f *testing.F) {
	f.Add("bedrock-runtime.us-east-1.amazonaws.com:443", "Server")
	f.Add("*.*.*", "x")
	f.Fuzz(func(t *testing.T, host, field string) {
		d := Detect(host, header(field+": 1"))
		if d == nil || d != Detect(host, header(field+": 1")) {
			t.Errorf("Detect(%q, %q) = %v", host, field, d)
		}
		PathModel(host)
		xmlText([]byte(host), field)
		awsName(host)
	})
}
