package dialect

import (
	"strings"
	"time"
)

// This file reads the RateLimit and RateLimit-Policy fields of
// draft-ietf-httpapi-ratelimit-headers:
//
//	from draft 08:  RateLimit-Policy: "daily";q=5000;w=86400;qu="requests"
//	                RateLimit: "daily";r=100;t=36000
//	draft 07:       RateLimit-Policy: 100;w=10
//	                RateLimit: limit=100, remaining=50, reset=5
//
// They are structured fields (RFC 9651), but no parser of those can be used, as
// it refuses the whole field for one bad member or parameter. Real servers send
// a pk that is no structured value, and the draft wants what is malformed to be
// ignored while the rest counts. So a member with a bad r or t is dropped alone;
// a name may be a token, parameters may be unknown or of a wrong type, and blanks
// may stand around a ";".

var ietf = &family{
	name:   "ietf",
	remark: "RateLimit and RateLimit-Policy of the IETF drafts; Retry-After beats their reset",
	fields: []string{"Ratelimit", "Ratelimit-Policy"},
	judge: func(a *answer) verdict {
		c, by := problemClass(a) // whatever its content type
		return verdict{class: c, by: by}
	},
}

// policy is what RateLimit-Policy says of one limit.
type policy struct {
	name, unit string
	quota      int64
	window     time.Duration // 0 unknown
	reported   bool          // RateLimit speaks of it too
}

// ietfLimits returns the limits of the lines of the two fields: what RateLimit
// reports, with the quotas and units of its policies, and then the policies it is
// silent on.
func ietfLimits(reports, policyLines []string) []Limit {
	var room [4]policy
	policies := readPolicies(room[:0], policyLines)
	pair := Limit{Dimension: "requests", Limit: -1, Remaining: -1, Reset: -1} // of draft 07
	var found []Limit
	for _, line := range reports {
		for more := true; more; {
			var m string
			m, line, more = cut(line, ',')
			if !readPair(&pair, m) {
				found = addLimit(found, readReport(m, policies))
			}
		}
	}
	pair.Window = listedWindow(pair.Limit, policyLines)
	found = addLimit(found, pair)
	for _, p := range policies {
		if !p.reported {
			found = addLimit(found, Limit{Dimension: p.unit + ":" + p.name, Limit: p.quota, Remaining: -1, Reset: -1, Window: p.window})
		}
	}
	return found
}

// readPolicies appends the named policies of the field's lines to all, the
// first mostLimits of them. Those of drafts up to 07 have no name and repeat
// what other fields say.
func readPolicies(all []policy, lines []string) []policy {
	for _, line := range lines {
		for more := true; more && len(all) < mostLimits; {
			var m string
			m, line, more = cut(line, ',')
			item, params, _ := cut(m, ';')
			name, named := stringOrToken(item)
			q, _ := param(params, "q")
			quota, ok := integer(q)
			if !named || !ok || quota < 0 {
				continue
			}
			p := policy{name: name, unit: "requests", quota: quota, window: windowParam(params)}
			if qu, ok := param(params, "qu"); ok {
				if unit, ok := stringOrToken(qu); ok && unit != "" {
					p.unit = unitName(unit)
				}
			}
			all = append(all, p)
		}
	}
	return all
}

// readReport reads one member of RateLimit and marks its policy. A member that
// is malformed tells nothing.
func readReport(m string, policies []policy) Limit {
	l := Limit{Limit: -1, Remaining: -1, Reset: -1}
	item, params, _ := cut(m, ';')
	name, ok := stringOrToken(item)
	if !ok {
		return l
	}
	remaining, reset := int64(-1), time.Duration(-1)
	if r, has := param(params, "r"); has {
		if remaining, ok = integer(r); !ok {
			return l
		}
	}
	if t, has := param(params, "t"); has {
		if seconds, ok := integer(t); !ok || seconds < 0 {
			return l
		}
		reset = bounded(scale(t, time.Second))
	}
	l.Remaining, l.Reset = max(remaining, -1), reset // a negative r is unknown
	unit := "requests"
	for i := range policies {
		if policies[i].name == name {
			policies[i].reported = true
			unit, l.Limit, l.Window = policies[i].unit, policies[i].quota, policies[i].window
			break
		}
	}
	l.Dimension = unit + ":" + name
	return l
}

// readPair reads one member of draft 07's dictionary into l. ok is false if m
// is not of the form key=value.
func readPair(l *Limit, m string) (ok bool) {
	m = bare(m)
	key, value, ok := strings.Cut(m, "=")
	if !ok || !isToken(key) {
		return false
	}
	n, isInt := integer(value)
	if !isInt || n < 0 {
		return true
	}
	switch key {
	case "limit":
		l.Limit = n
	case "remaining":
		l.Remaining = n
	case "reset":
		l.Reset = bounded(scale(value, time.Second))
	}
	return true
}

// listedWindow returns the window of the member of a list that is this quota, as
// in "10;w=1, 1000;w=3600", where drafts up to 07 write policies; 0 if there is
// none.
func listedWindow(quota int64, lines []string) time.Duration {
	if quota < 0 {
		return 0
	}
	for _, line := range lines {
		if strings.IndexByte(line, ';') < 0 {
			continue
		}
		for _, m := range members([]string{line}) {
			item, params, _ := cut(m, ';')
			if w := windowParam(params); w > 0 && count(item) == quota {
				return w
			}
		}
	}
	return 0
}

// windowParam returns the window that a policy's parameters tell in seconds; 0 if
// they don't.
func windowParam(params string) time.Duration {
	for _, key := range [...]string{"w", "window"} { // the latter of old Envoys
		if w, ok := param(params, key); ok && w != "" && prefix(w, isDigit) == len(w) {
			return bounded(scale(w, time.Second))
		}
	}
	return 0
}

// unitName returns the word that a dimension has for a quota unit.
func unitName(unit string) string {
	switch unit {
	case "request":
		return "requests"
	case "bytes": // until draft 08
		return "content-bytes"
	case "concurrent-requests":
		return "concurrency"
	}
	return unit
}

// cut returns s up to the first sep that is not in a quoted string, and the rest
// behind it; more is false if there is no sep.
func cut(s string, sep byte) (part, rest string, more bool) {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			quoted = !quoted
		case c == '\\' && quoted:
			i++
		case c == sep && !quoted:
			return s[:i], s[i+1:], true
		}
	}
	return s, "", false
}

// param returns the value of a parameter; of several the last, as RFC 9651 has
// it.
func param(params, key string) (value string, ok bool) {
	for more := params != ""; more; {
		var p string
		p, params, more = cut(params, ';')
		if k, v, _ := strings.Cut(p, "="); trim(k) == key {
			value, ok = trim(v), true
		}
	}
	return value, ok
}

// stringOrToken reads a quoted string or a token. A number is neither.
func stringOrToken(s string) (string, bool) {
	s = trim(s)
	if s == "" || s[0] != '"' {
		return s, isToken(s) && prefix(s, isDigit) < len(s)
	}
	inner, closed := strings.CutSuffix(s[1:], `"`)
	if !closed {
		return "", false
	}
	var plain strings.Builder // if inner has escapes
	start := 0
	for i := 0; i < len(inner); i++ {
		switch c := inner[i]; {
		case c == '\\':
			if i+1 == len(inner) || inner[i+1] != '"' && inner[i+1] != '\\' {
				return "", false
			}
			plain.WriteString(inner[start:i])
			start = i + 1
			i++
		case c == '"' || c < ' ' || c > '~':
			return "", false
		}
	}
	if start == 0 {
		return inner, true
	}
	plain.WriteString(inner[start:])
	return plain.String(), true
}

// integer reads a whole number, which may be negative. It saturates.
func integer(s string) (int64, bool) {
	digits, negative := strings.CutPrefix(s, "-")
	if digits == "" || prefix(digits, isDigit) < len(digits) {
		return 0, false
	}
	n := int64(scale(digits, 1))
	if negative {
		n = -n
	}
	return n, true
}

// isToken reports whether s is a token of RFC 9110, or has the two characters
// more that RFC 9651 allows in one.
func isToken(s string) bool { return s != "" && prefix(s, isTokenByte) == len(s) }

func isTokenByte(c byte) bool {
	return isDigit(c) || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' ||
		strings.IndexByte("!#$%&'*+-.^_`|~:/", c) >= 0
}
