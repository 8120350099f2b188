package dialect

import (
	"bytes"
	"encoding/json"
)

// EventClass reads the first server-sent event of a stream whose status was
// 200: event is the event's name, data its data. If the event is an error that
// says "too many" or "not now", its class is Throttled or Overloaded and ok is
// true. Any other event, errors of other kinds among them, is no matter of
// limits: OK and false.
//
// An error is an event named "error", data with a member "error", or data of
// type "error"; its kind is the type or code in it, as OpenAI, Anthropic and
// those who speak like them write it.
func EventClass(event, data []byte) (c Class, ok bool) {
	named := string(bytes.TrimSpace(event)) == "error"
	if !named && !bytes.Contains(data, []byte(`"error"`)) {
		return OK, false // the common event; costs no allocation
	}
	var outer, inner struct {
		Type, Code, Error json.RawMessage
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
	for _, word := range [...]json.RawMessage{inner.Type, inner.Code, outer.Type, outer.Code} {
		switch text(word) {
		case "insufficient_quota": // the bill is due; waiting won't help
			return OK, false
		case "rate_limit_error", "rate_limit_exceeded", "429":
			c = Throttled
		case "overloaded_error", "server_error", "529", "503":
			if c != Throttled { // the more exact of the two
				c = Overloaded
			}
		}
	}
	return c, c != OK
}

// Streamed returns the reading of an answer whose status was 200, and whose
// stream began with an error of class c, as EventClass reads it.
func (r Reading) Streamed(a Answer, c Class) Reading {
	r.Class, r.byClass = c, signal{name: "an error as its first event"}
	r.Retryable, r.byRetry = retryable(a, c)
	return r
}
