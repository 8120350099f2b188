package jobhttp

import (
	"iter"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// MaxWait bounds how long an answer is held back.
const MaxWait = 10 * time.Minute

// Prefer is what a request's Prefer fields ask of us (RFC 7240). A preference
// that is malformed is none.
type Prefer struct {
	Async bool          // respond-async
	Wait  time.Duration // wait, at most MaxWait; 0: not at all
	Rest  []string      // what else is preferred, as it was written: it is for others
}

// ReadPrefer reads the values of Prefer. Of a preference that is there more than
// once the first counts (section 2).
func ReadPrefer(values []string) Prefer {
	var p Prefer
	waits := false
	for _, value := range values {
		for member := range split(value, ',') {
			switch name, word := readPreference(member); name {
			case "":
			case "respond-async":
				p.Async = true
			case "wait":
				if !waits {
					waits, p.Wait = true, readWait(word)
				}
			default:
				p.Rest = append(p.Rest, member)
			}
		}
	}
	return p
}

// Applied is the Preference-Applied field of an answer that kept to p.
func (p Prefer) Applied() string {
	var said []string
	if p.Async {
		said = append(said, "respond-async")
	}
	if p.Wait > 0 {
		said = append(said, "wait="+strconv.Itoa(int(p.Wait.Seconds())))
	}
	return strings.Join(said, ", ")
}

// SetApplied adds Preference-Applied to the fields of an answer that kept to p.
func (p Prefer) SetApplied(h http.Header) {
	if said := p.Applied(); said != "" {
		h.Set("Preference-Applied", said)
	}
}

// readPreference returns the name of a preference, in lower case, and its word.
// Parameters are passed over: none of ours has any.
func readPreference(member string) (name, word string) {
	for first := range split(member, ';') {
		name, word, _ = strings.Cut(first, "=")
		break
	}
	return strings.ToLower(strings.TrimSpace(name)), unquote(strings.TrimSpace(word))
}

// readWait reads whole seconds (section 4.3).
func readWait(word string) time.Duration {
	if word == "" || strings.Trim(word, "0123456789") != "" {
		return 0
	}
	s, err := strconv.ParseInt(word, 10, 64)
	if most := int64(MaxWait.Seconds()); err != nil || s > most { // too many digits
		s = most
	}
	return time.Duration(s) * time.Second
}

// split yields the parts of s between separators that stand outside of quotes,
// trimmed. The last one has all of a quote that does not end.
func split(s string, separator byte) iter.Seq[string] {
	return func(yield func(string) bool) {
		begin, quoted := 0, false
		for i := 0; i < len(s); i++ {
			switch c := s[i]; {
			case quoted && c == '\\':
				i++
			case c == '"':
				quoted = !quoted
			case c == separator && !quoted:
				if !yield(strings.TrimSpace(s[begin:i])) {
					return
				}
				begin = i + 1
			}
		}
		yield(strings.TrimSpace(s[begin:]))
	}
}

// unquote reads a quoted string (RFC 9110, section 5.6.4); what is none stays.
func unquote(word string) string {
	if len(word) < 2 || word[0] != '"' || word[len(word)-1] != '"' {
		return word
	}
	var b strings.Builder
	for i := 1; i < len(word)-1; i++ {
		if word[i] == '\\' && i+1 < len(word)-1 {
			i++
		}
		b.WriteByte(word[i])
	}
	return b.String()
}
