package dialect

import (
	"net/http"
	"net/url"
	"strings"
	"time"
)

// A family is a dialect that can be told from others.
type family interface {
	Dialect
	// recognises reports whether an answer of this host (without port, in lower
	// case) and header speaks the dialect. It must be quick: it is asked for
	// every answer.
	recognises(host string, h http.Header) bool
}

// families lists the dialects in the order in which they are tried.
var families = []family{
	standard,
	generic{name: "ietf"}, // for people who look for the draft's name
}

// standard is the dialect of those whom no family recognises.
var standard family = generic{name: "generic"}

// Lookup returns the dialect of that name, as Names lists it.
func Lookup(name string) (Dialect, bool) {
	if name == autoName {
		return auto{}, true
	}
	for _, f := range families {
		if f.Name() == name {
			return f, true
		}
	}
	return nil, false
}

// Names lists the names that Lookup knows, "auto" first.
func Names() []string {
	names := []string{autoName}
	for _, f := range families {
		names = append(names, f.Name())
	}
	return names
}

// Detect returns the dialect that an answer speaks, by the host that was asked
// and the header that came back. It is never nil: what nobody recognises is
// generic.
func Detect(host string, h http.Header) Dialect {
	host = bareHost(host)
	for _, f := range families {
		if f.recognises(host, h) {
			return f
		}
	}
	return standard
}

const autoName = "auto"

// auto reads each answer in the dialect that Detect finds. Its readings bear
// the name of that dialect.
type auto struct{}

func (auto) Name() string { return autoName }

func (auto) Read(a Answer, now time.Time) Reading {
	return Detect(a.Host, a.Header).Read(a, now)
}

// BodyMax returns the most that any dialect wants, since the host is not known
// here. Callers that know it ask the dialect that Detect returns.
func (auto) BodyMax(status int, h http.Header) int {
	most := 0
	for _, f := range families {
		most = max(most, f.BodyMax(status, h))
	}
	return most
}

// bareHost returns a host in lower case, without its port and brackets.
func bareHost(host string) string {
	u := url.URL{Host: host}
	return strings.ToLower(u.Hostname())
}
