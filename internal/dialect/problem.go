package dialect

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
)

// problemMax bounds how much of a problem description is read, in bytes. Its
// type stands near the start.
const problemMax = 16 << 10

// isProblem reports whether an answer's body is problem+json (RFC 9457).
func isProblem(h http.Header) bool {
	lines := h["Content-Type"]
	if len(lines) == 0 {
		return false
	}
	return strings.EqualFold(bare(lines[0]), "application/problem+json")
}

// problemClass reads the problem types of draft-ietf-httpapi-ratelimit-headers,
// which outrank the status. by is zero if the body names none of them.
func problemClass(body []byte) (c Class, by signal) {
	kind := problemType(body)
	_, name, _ := strings.Cut(kind, "http-problem-types#")
	switch name {
	case "quota-exceeded", "abnormal-usage-detected":
		return Throttled, signal{name: "problem type", value: kind}
	case "temporary-reduced-capacity":
		return Overloaded, signal{name: "problem type", value: kind}
	}
	return OK, signal{}
}

// problemType returns the type member of a JSON object, which may be cut off
// behind it; "" if there is none.
func problemType(body []byte) string {
	d := json.NewDecoder(bytes.NewReader(body))
	if start, err := d.Token(); err != nil || start != json.Delim('{') {
		return ""
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return ""
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return ""
		}
		if key == "type" {
			return text(value)
		}
	}
	return ""
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
