package gateway

import (
	"net/http"
	"net/textproto"
	"strings"
)

// hopByHop are the fields that end at each connection (RFC 9110, section
// 7.6.1), and those of proxies, whose peer we are. Te and Trailer are dealt
// with where trailers are.
var hopByHop = []string{
	"Connection",
	"Keep-Alive",
	"Proxy-Authenticate",
	"Proxy-Authorization",
	"Proxy-Connection",
	"Te",
	"Trailer",
	"Transfer-Encoding",
	"Upgrade",
}

// removeHopByHop removes those fields from h, and what Connection names.
func removeHopByHop(h http.Header) {
	for _, line := range h["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			if name = textproto.TrimString(name); name != "" {
				h.Del(name)
			}
		}
	}
	for _, name := range hopByHop {
		delete(h, name)
	}
}

// hasToken reports whether a field that is a list of tokens names one, in any
// case.
func hasToken(values []string, token string) bool {
	for _, line := range values {
		for t := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(textproto.TrimString(t), token) {
				return true
			}
		}
	}
	return false
}

// upgradeType returns the protocol that a message asks to switch to, or "".
// HTTP/2 is none: who wants it over plain text opens with its preface, and an
// upgrade to it would be a tunnel past our rules.
func upgradeType(h http.Header) string {
	if len(h["Upgrade"]) != 1 || !hasToken(h["Connection"], "Upgrade") {
		return ""
	}
	if p := h["Upgrade"][0]; !strings.HasPrefix(strings.ToLower(p), "h2") {
		return p
	}
	return ""
}
