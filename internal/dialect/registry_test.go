package dialect

import (
	"net/http"
	"slices"
	"testing"
)

func TestLookupKnowsEveryName(t *testing.T) {
	names := Names()
	if want := []string{"auto", "generic", "ietf"}; !slices.Equal(names, want) {
		t.Errorf("Names() = %q, want %q", names, want)
	}
	for _, name := range names {
		if d, ok := Lookup(name); !ok || d.Name() != name {
			t.Errorf("Lookup(%q) = %v, %t, want a dialect of that name", name, d, ok)
		}
	}
	for _, name := range []string{"", "Generic", "nobody"} {
		if d, ok := Lookup(name); ok {
			t.Errorf("Lookup(%q) = %v, want none", name, d)
		}
	}
}

// hosted is a family that is recognised by its host.
type hosted struct {
	generic
	host string
}

func (f hosted) recognises(host string, _ http.Header) bool { return host == f.host }

func TestDetectAsksFamiliesByBareHost(t *testing.T) {
	was := families
	defer func() { families = was }()
	families = append(slices.Clip(was), hosted{generic{"example"}, "api.example.com"}, hosted{generic{"six"}, "::1"})
	for host, want := range map[string]string{
		"api.example.com": "example", "API.Example.com:443": "example", "[::1]:80": "six", "[::1]": "six",
		"example.com": "generic", "": "generic",
	} {
		if got := Detect(host, nil).Name(); got != want {
			t.Errorf("Detect(%q) = %s, want %s", host, got, want)
		}
		if got := (auto{}).Read(Answer{Host: host, Status: 200}, t0).Dialect; got != want {
			t.Errorf("auto reads an answer of %q as %s, want %s", host, got, want)
		}
	}
}

func TestClassNames(t *testing.T) {
	for c, want := range map[Class]string{OK: "ok", Throttled: "throttled", Overloaded: "overloaded", Fatal: "fatal", 9: "class 9"} {
		if got := c.String(); got != want {
			t.Errorf("Class(%d) = %q, want %q", uint8(c), got, want)
		}
	}
}
