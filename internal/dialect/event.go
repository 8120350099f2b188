package dialect

import (
	"bytes"
	"cmp"
	"encoding/json"
	"net/http"
	"strings"
)

// EventClass reads the first server-sent event of a stream whose status was
// 200: event is the event's name, data its data. If the event is an error that
// says "too many" or "not now", its class is Throttled or Overloaded and ok is
// true. Any other event, errors of other kinds among them, is no matter of
// limits: OK and false.
//
// An error is an event named "error", data with a member "error", or data of
// type "error"; its kind is the type, code or status in it, as OpenAI, Anthropic,
// Google and those who speak like them write it.
func EventClass(event, data []byte) (c Class, ok bool) {
	named := string(bytes.TrimSpace(event)) == "error"
	if !named && !bytes.Contains(data, []byte(`"error"`)) {
		return OK, false // the common event; costs no allocation
	}
	var outer, inner struct {
		Type, Code, Status, Error json.RawMessage
	}
	if json.Unmarshal(data, &outer) != nil {
		return OK, false
	}
	if len(outer.Error) == 0 || string(outer.Error) == "null" {
		if !named && text(outer.Type) != "error" {
			return OK, false
		}
	} else if json.Unmarshal(outer.Error, &inner) != nil {
		inner.Type = outer.Error // the kind alone
	}
	for _, word := range [...]json.RawMessage{inner.Type, inner.Code, inner.Status, outer.Type, outer.Code} {
		word := text(word)
		if oneOf(word, spentCodes...) { // the bill is due; waiting won't help
			return OK, false
		}
		switch word {
		case "rate_limit_error", "rate_limit_exceeded", "RESOURCE_EXHAUSTED", "429":
			c = Throttled
		case "overloaded_error", "server_error", "api_error", "UNAVAILABLE", "500", "502", "503", "504", "529":
			if c != Throttled { // the more exact of the two
				c = Overloaded
			}
		}
	}
	return c, c != OK
}

// Streamed returns the reading of an answer whose status was 200, and whose
// stream began with an error of class c, as EventClass reads it in data. How long
// to wait stands in data, if anywhere: a good answer's Retry-After asks for
// nothing.
func (r Reading) Streamed(a Answer, c Class, data []byte) Reading {
	r.Class, r.byClass = c, signal{name: "an error as its first event"}
	e := &answer{Answer: a, json: parse(data), parsed: true}
	google := readGoogleError(e)
	r.Wait, r.byWait = google.hint()
	if r.byWait == (signal{}) {
		r.Wait, r.byWait = bodyHint(e)
	}
	r.HasWait = r.byWait != (signal{})
	if f := named(r.Dialect); c == Throttled && f != nil && f.preset.Usage != nil {
		if scope := modelScope(e, cmp.Or(google.model(), modelIn(google.message))); scope != "" {
			r.Scope = scope
		}
	}
	r.Retryable, r.byRetry = retryable(a, c, r.repeats)
	_, told := serverSays(a.Header)
	r.Told = told != (signal{})
	return r
}

// IsEventStream reports whether a header announces a stream of server-sent
// events that can be read: one that is compressed cannot.
func IsEventStream(h http.Header) bool {
	v := h["Content-Type"]
	return len(v) > 0 && len(h["Content-Encoding"]) == 0 && strings.EqualFold(bare(v[0]), "text/event-stream")
}

// FirstEvent returns the name and the data of the first event of a stream that
// has either. ended is false if the blank line that closes it has not come yet.
func FirstEvent(stream []byte) (event, data []byte, ended bool) {
	stream = bytes.TrimPrefix(stream, byteOrderMark)
	for len(stream) > 0 {
		line, rest, whole := bytes.Cut(stream, []byte("\n"))
		if !whole {
			break
		}
		stream = rest
		line = bytes.TrimSuffix(line, []byte("\r"))
		field, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch {
		case len(line) == 0 && (event != nil || data != nil):
			return event, data, true
		case string(field) == "event":
			event = value
		case string(field) == "data" && data != nil:
			data = append(append(bytes.Clone(data), '\n'), value...)
		case string(field) == "data":
			data = value
		}
	}
	return event, data, false
}

// text returns a JSON string's or number's text; "" for anything else.
func text(value json.RawMessage) string {
	var s string
	if json.Unmarshal(value, &s) == nil {
		return s
	}
	var n json.Number
	if json.Unmarshal(value, &n) == nil {
		return n.String()
	}
	return ""
}
