package config

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/agnivade/levenshtein"
)

// Error is one fault of a configuration. Parse, Load and Validate join all
// that they find; errors.As reaches the first.
type Error struct {
	File   string // as given to Load or Parse; "" for values set in code
	Line   int    // from 1; 0 if the fault has no place in a file
	Column int    // from 1; 0 if the fault has no place in a file
	Path   string // such as upstreams.openai.limits[1]; "" for the whole file
	Value  string // as written; "" if there is none or it may be secret
	Msg    string // what is wrong, or what was expected
	Hint   string // how it might have been meant; "" if there is no guess
	err    error
}

// Error writes the fault in one line:
//
//	headgate.yaml:14:18: upstreams.openai.limits[1] "50/1min": …; did you mean "50/1m"?
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", e.Line, e.Column)
	}
	if b.Len() > 0 {
		b.WriteString(": ")
	}
	about := e.Path
	if e.Value != "" {
		about = strings.TrimPrefix(about+" "+quote(e.Value), " ")
	}
	if about != "" {
		b.WriteString(about + ": ")
	}
	b.WriteString(e.Msg)
	if e.Hint != "" {
		b.WriteString("; did you mean " + quote(e.Hint) + "?")
	}
	return b.String()
}

// Unwrap returns what the operating system said, if it did.
func (e *Error) Unwrap() error { return e.err }

// hide takes from a fault what it tells of a value that came from an expansion.
// Msg must tell nothing of it.
func hide(e *Error) {
	e.Value, e.Hint = "", ""
	e.Msg += " (its value came from ${…} and is not shown)"
}

// quote quotes text for a message and shortens it to one that fits a line.
func quote(s string) string {
	const most = 80 // runes
	if utf8.RuneCountInString(s) > most {
		s = string([]rune(s)[:most]) + "…"
	}
	return strconv.Quote(s)
}

// join returns the faults as one error in the order of the file, and nil if
// there are none.
func join(faults []*Error) error {
	slices.SortStableFunc(faults, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	errs := make([]error, len(faults))
	for i, f := range faults {
		errs[i] = f
	}
	return errors.Join(errs...)
}

// child is the path of a key below path. A key that would not read as one
// element is quoted.
func child(path, key string) string {
	plain := key != "" && strings.IndexFunc(key, func(c rune) bool {
		return !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-')
	}) < 0
	if !plain {
		key = quote(key)
	}
	return strings.TrimPrefix(path+"."+key, ".")
}

// item is the path of element i of the list at path.
func item(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }

// parent is the path above path, and "" at the top.
func parent(path string) string {
	return path[:max(strings.LastIndexAny(path, ".["), 0)]
}

// nearest returns the name closest to text, and "" if none is close enough to
// have been meant: two edits, or one in three letters of a long word, letter
// case aside.
func nearest(text string, names []string) string {
	best, least := "", max(2, (utf8.RuneCountInString(text)+2)/3)+1
	for _, name := range names {
		if d := levenshtein.ComputeDistance(strings.ToLower(text), strings.ToLower(name)); d < least {
			best, least = name, d
		}
	}
	return best
}
