package dialect

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// families lists the dialects in the order in which they are tried: APIs before
// the servers that stand in front of them, and the generic one last. API Gateway
// comes before the services of AWS, since it has their fields too.
var families = slices.Concat(models, []*family{awsAPIGateway}, services, servers, []*family{standard})

// standard is the dialect of those whom no family recognises.
var standard = &family{
	name:   "generic",
	how:    "whatever no other dialect recognises",
	remark: "status, Retry-After, RateLimit of the IETF drafts, X-RateLimit-*, problem types",
}

// Lookup returns the dialect of that name, as Names lists it.
func Lookup(name string) (Dialect, bool) {
	if name == autoName {
		return auto{}, true
	}
	if f := named(name); f != nil {
		return f, true
	}
	return nil, false
}

func named(name string) *family {
	for _, f := range families {
		if f.name == name {
			return f
		}
	}
	return nil
}

// Names lists the names that Lookup knows: "auto" and "generic", then the rest
// by alphabet.
func Names() []string {
	var rest []string
	for _, f := range families {
		if f != standard {
			rest = append(rest, f.name)
		}
	}
	slices.Sort(rest)
	return append([]string{autoName, standard.name}, rest...)
}

// Detect returns the dialect that an answer speaks, by the host that was asked
// and the header that came back. It is never nil: what nobody recognises is
// generic.
func Detect(host string, h http.Header) Dialect {
	if f := recognised.byHost(bareHost(host)); f != nil {
		return f
	}
	return recognised.byHeader(h)
}

// recognised is the index of families.
var recognised = newIndex(families)

// An index finds the family of an answer without asking each. A whole host comes
// before a pattern, a longer pattern before a shorter one, and otherwise what is
// listed first.
type index struct {
	families []*family
	hosts    map[string]*family
	patterns map[string][]pattern // by their last two labels
	fields   map[string]int       // index of the first family that claims the field
}

type pattern struct {
	host   string
	family *family
}

func newIndex(families []*family) index {
	x := index{families: families, hosts: map[string]*family{}, patterns: map[string][]pattern{}, fields: map[string]int{}}
	for i, f := range families {
		for _, host := range f.hosts {
			if strings.Contains(host, "*") {
				d := domain(host)
				x.patterns[d] = append(x.patterns[d], pattern{host, f})
			} else if x.hosts[host] == nil {
				x.hosts[host] = f
			}
		}
		for _, field := range f.fields {
			if _, taken := x.fields[field]; !taken {
				x.fields[field] = i
			}
		}
	}
	for _, patterns := range x.patterns {
		slices.SortStableFunc(patterns, func(a, b pattern) int { return len(b.host) - len(a.host) })
	}
	return x
}

func (x *index) byHost(host string) *family {
	if f := x.hosts[host]; f != nil {
		return f
	}
	for _, p := range x.patterns[domain(host)] {
		if matches(p.host, host) {
			return p.family
		}
	}
	return nil
}

func (x *index) byHeader(h http.Header) *family {
	first := len(x.families)
	for name := range h {
		if i, ok := x.fields[name]; ok && i < first {
			first = i
		}
	}
	for i, f := range x.families[:first] {
		if f.marks != nil && f.marks(h) {
			first = i
			break
		}
	}
	if first == len(x.families) {
		return standard
	}
	return x.families[first]
}

// domain returns the last two labels of a host.
func domain(host string) string {
	i := strings.LastIndexByte(host, '.')
	if i < 0 {
		return host
	}
	return host[strings.LastIndexByte(host[:i], '.')+1:]
}

// matches reports whether a host fits a pattern, in which each "*" stands for
// any text that is not empty.
func matches(pattern, host string) bool {
	head, tail, wild := strings.Cut(pattern, "*")
	if !wild {
		return host == pattern
	}
	host, ok := strings.CutPrefix(host, head)
	if !ok {
		return false
	}
	for i := 1; i <= len(host); i++ {
		if matches(tail, host[i:]) {
			return true
		}
	}
	return false
}

const autoName = "auto"

// auto reads each answer in the dialect that it is recognised as. Its readings
// bear the name of that dialect.
type auto struct{}

func (auto) Name() string { return autoName }

func (auto) Read(a Answer, now time.Time) Reading {
	return Recognise(a).Read(a, now)
}

func (auto) BodyMaxOf(a Answer) int {
	return Recognise(a).BodyMaxOf(a)
}

// Recognise is Detect, and where that finds nobody goes by what was asked for:
// many serve OpenAI's interface under hosts of their own.
func Recognise(a Answer) Dialect {
	d := Detect(a.Host, a.Header)
	if d != Dialect(standard) {
		return d
	}
	switch {
	case strings.HasSuffix(a.Path, "/v1/chat/completions"), strings.HasSuffix(a.Path, "/v1/responses"),
		strings.HasSuffix(a.Path, "/v1/completions"), strings.HasSuffix(a.Path, "/v1/embeddings"):
		return openAI
	}
	return d
}

// bareHost returns a host in lower case, without its port and brackets.
func bareHost(host string) string {
	u := url.URL{Host: host}
	return strings.ToLower(u.Hostname())
}
