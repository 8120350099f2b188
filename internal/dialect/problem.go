package dialect

import (
	"net/http"
	"strings"
)

// isProblem reports whether an answer's body is problem+json (RFC 9457).
func isProblem(h http.Header) bool {
	lines := h["Content-Type"]
	return len(lines) > 0 && strings.EqualFold(bare(lines[0]), "application/problem+json")
}

// problemClass reads the problem types of draft-ietf-httpapi-ratelimit-headers,
// which outrank the status. by is zero if the body names none of them.
func problemClass(a *answer) (c Class, by signal) {
	kind := a.text("type")
	_, name, _ := strings.Cut(kind, "http-problem-types#")
	switch name {
	case "quota-exceeded", "abnormal-usage-detected":
		return Throttled, signal{name: "problem type", value: kind}
	case "temporary-reduced-capacity":
		return Overloaded, signal{name: "problem type", value: kind}
	}
	return OK, signal{}
}
