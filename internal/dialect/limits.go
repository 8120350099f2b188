package dialect

import (
	"net/http"
	"strings"
	"time"
)

// mostLimits bounds how many limits one answer can tell. Real ones tell up to
// a handful; a hostile one must not fill a memory.
const mostLimits = 32

// A triple is the names, in canonical form, of the fields that tell one limit
// piece by piece; "" is a field that there is not.
type triple struct {
	dimension               string
	limit, remaining, reset string
}

// standardTriples are those of the IETF drafts 03 to 06, and those that were
// there before.
var standardTriples = []triple{
	{"requests", "Ratelimit-Limit", "Ratelimit-Remaining", "Ratelimit-Reset"},
	{"requests", "X-Ratelimit-Limit", "X-Ratelimit-Remaining", "X-Ratelimit-Reset"},
	{"requests", "X-Rate-Limit-Limit", "X-Rate-Limit-Remaining", "X-Rate-Limit-Reset"},
}

// standardFields are the fields that hasLimits looks for.
var standardFields = append(fieldsOf(standardTriples), "Ratelimit", "Ratelimit-Policy")

// fieldsOf returns the fields of triples by which tripled knows them.
func fieldsOf(triples []triple) []string {
	var fields []string
	for _, t := range triples {
		for _, field := range [...]string{t.limit, t.remaining} {
			if field != "" {
				fields = append(fields, field)
			}
		}
	}
	return fields
}

// tripled reports whether an answer has one of the triples. A reset alone, of
// whatever it may be, is not looked for: this runs for every answer, and each
// name costs.
func tripled(h http.Header, triples []triple) bool {
	for i := range triples {
		if len(h[triples[i].remaining]) > 0 || len(h[triples[i].limit]) > 0 {
			return true
		}
	}
	return false
}

// readTriples adds the limits that triples tell to all.
func readTriples(all []Limit, h http.Header, triples []triple, base time.Time) []Limit {
	for i := range triples {
		t := &triples[i]
		l := readTriple(t.dimension, h[t.limit], h[t.remaining], h[t.reset], base)
		if l.Window == 0 && t.limit == "Ratelimit-Limit" {
			l.Window = listedWindow(l.Limit, h["Ratelimit-Policy"])
		}
		all = addLimit(all, l)
	}
	return all
}

// hasLimits reports whether an answer tells of limits in the standard fields.
func hasLimits(h http.Header) bool {
	for _, field := range standardFields {
		if len(h[field]) > 0 {
			return true
		}
	}
	return false
}

// limits returns what an answer tells of limits in the standard fields, each
// dimension once. base is the moment from which absolute resets count.
func limits(h http.Header, base time.Time) []Limit {
	return readTriples(ietfLimits(h["Ratelimit"], h["Ratelimit-Policy"]), h, standardTriples, base)
}

// readTriple reads limit, remaining and reset from the lines of their fields. Where
// lines or members are several, the set with the least remaining counts; a
// field that has another number of them is read by its first, which draft 03
// says is the limit in force.
func readTriple(dimension string, limitLines, remainingLines, resetLines []string, base time.Time) Limit {
	l := Limit{Dimension: dimension, Limit: -1, Remaining: -1, Reset: -1}
	remaining := members(remainingLines)
	least := 0
	for i, m := range remaining {
		if n := count(bare(m)); n >= 0 && (l.Remaining < 0 || n < l.Remaining) {
			l.Remaining, least = n, i
		}
	}
	pick := func(lines []string) string {
		all := members(lines)
		switch len(all) {
		case 0:
			return ""
		case len(remaining):
			return bare(all[least])
		}
		return bare(all[0])
	}
	l.Limit = count(pick(limitLines))
	if d, ok := delayOrMoment(pick(resetLines), base); ok {
		l.Reset = d
	}
	l.Window = listedWindow(l.Limit, limitLines)
	return l
}

// members returns the members of a list field, the first mostLimits of them. An
// HTTP-date, which begins with a letter, is one member in spite of its comma.
func members(lines []string) []string {
	if len(lines) == 1 && strings.IndexByte(lines[0], ',') < 0 {
		return lines // the common field; costs no allocation
	}
	var all []string
	for _, line := range lines {
		rest := trim(line)
		more := rest != "" && isDigit(rest[0])
		if !more {
			all = append(all, rest)
		}
		for more && len(all) < mostLimits {
			var m string
			m, rest, more = cut(rest, ',')
			all = append(all, m)
		}
	}
	return all
}

// bare returns a member of a list without its parameters.
func bare(member string) string {
	item, _, _ := cut(member, ';')
	return trim(item)
}

// addLimit adds a limit unless nothing is known of it. Of two that count the
// same, the one with less remaining stays.
func addLimit(all []Limit, l Limit) []Limit {
	if l.Limit < 0 && l.Remaining < 0 && l.Reset < 0 {
		return all
	}
	for i := range all {
		if all[i].Dimension != l.Dimension {
			continue
		}
		if l.Remaining >= 0 && (all[i].Remaining < 0 || l.Remaining < all[i].Remaining) {
			all[i] = l
		}
		return all
	}
	if len(all) == mostLimits {
		return all
	}
	return append(all, l)
}

// windowIn returns the window that a dimension has in its name, as
// "tokens_per_minute" and "requests_per_10s:name" have; 0 if it has none.
func windowIn(dimension string) time.Duration {
	unit, _, _ := strings.Cut(dimension, ":")
	_, window, _ := strings.Cut(unit, "_per_")
	switch window {
	case "second":
		return time.Second
	case "minute":
		return time.Minute
	case "hour":
		return time.Hour
	case "day":
		return 24 * time.Hour
	case "week":
		return 7 * 24 * time.Hour
	}
	d, _ := duration(window)
	return d
}
