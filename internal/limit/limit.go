// Package limit holds single limits of an upstream: the syntax in which people
// write them, and the arithmetic that says when one more attempt may start.
//
// A limit knows nothing of clocks, goroutines or networks. Every method takes
// the moment it is asked about, so that the same code runs in a gate, in a test
// and in a simulator. Package ledger joins the limits of one credential and
// grants permits from all of them or from none.
//
// Values are safe for use by one goroutine at a time.
package limit

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// A Kind says how a limit counts.
type Kind uint8

// The kinds, as people write them.
const (
	Sliding    Kind = iota // 50/1m: at most N in any window
	Fixed                  // 50/1m fixed: at most N in each window aligned to the clock
	Bucket                 // 10/1s burst 20: N per window on average, Burst at once
	Concurrent             // concurrent:32: at most N in flight
)

// Dimensions with a meaning of their own. Any other word is the user's.
const (
	Requests = "requests"   // each attempt weighs 1
	Tokens   = "tokens"     // an attempt weighs what the model bills
	InFlight = "concurrent" // the dimension of Concurrent limits
)

// Bounds of what a limit may say. Sums of a few quotas must not overflow.
const (
	maxN      = math.MaxInt64 / 4
	minWindow = time.Millisecond
	maxWindow = 366 * 24 * time.Hour
)

const syntaxHelp = `want "50/1m", "50/1m fixed", "10/1s burst 20", "tokens:200000/1m" or "concurrent:32"`

// Limit is one rule of an upstream.
type Limit struct {
	Dimension string        // what is counted; Requests unless said otherwise
	N         int64         // how much of it
	Window    time.Duration // per which span; 0 for Concurrent
	Kind      Kind
	Burst     int64 // depth of a Bucket; 0 for the other kinds
}

// SyntaxError reports a limit that could not be read.
type SyntaxError struct {
	Text string // the limit as written
	Why  string // what is wrong with it
	Hint string // how it might have been meant; "" if there is no guess
}

func (e *SyntaxError) Error() string {
	s := strconv.Quote(e.Text) + ": " + e.Why
	if e.Hint != "" {
		s += "; did you mean " + strconv.Quote(e.Hint) + "?"
	}
	return s
}

// Parse reads a limit as people write it: [DIMENSION:]N/WINDOW[ fixed| burst B]
// or concurrent:N. WINDOW is a Go duration, or days as in "1d". The error is a
// *SyntaxError.
func Parse(text string) (Limit, error) {
	l, err := parse(strings.TrimSpace(text))
	if err != nil {
		err.Text = text
		if _, wrong := parse(err.Hint); wrong != nil {
			err.Hint = ""
		}
		return Limit{}, err
	}
	return l, nil
}

func parse(text string) (Limit, *SyntaxError) {
	l := Limit{Dimension: Requests}
	rest := text
	if dim, after, ok := strings.Cut(text, ":"); ok {
		if !validDimension(dim) {
			return l, &SyntaxError{Why: fmt.Sprintf("dimension %q is not a word of a-z, 0-9, _ and -", dim)}
		}
		l.Dimension, rest = dim, strings.TrimSpace(after)
	}
	if l.Dimension == InFlight {
		l.Kind = Concurrent
		n, err := parseN(rest)
		if err != nil {
			if head, _, ok := strings.Cut(rest, "/"); ok {
				err.Why, err.Hint = "a concurrent limit has no window", InFlight+":"+head
			}
			return l, err
		}
		l.N = n
		return l, nil
	}

	count, after, ok := strings.Cut(rest, "/")
	if !ok {
		return l, &SyntaxError{Why: syntaxHelp}
	}
	n, err := parseN(strings.TrimSpace(count))
	if err != nil {
		return l, err
	}
	l.N = n

	words := strings.Fields(after)
	if len(words) == 0 {
		return l, &SyntaxError{Why: "the window is missing", Hint: text + "1m"}
	}
	if l.Window, err = parseWindow(words[0]); err != nil {
		if unit := guessUnit(words[0]); unit != "" {
			err.Hint = strings.TrimSuffix(text, after) + strings.Replace(after, words[0], unit, 1)
		}
		return l, err
	}
	switch words = words[1:]; {
	case len(words) == 0:
	case len(words) == 1 && words[0] == "fixed":
		l.Kind = Fixed
	case len(words) == 2 && words[0] == "burst":
		l.Kind = Bucket
		if l.Burst, err = parseN(words[1]); err != nil {
			return l, err
		}
	default:
		return l, &SyntaxError{Why: fmt.Sprintf("%q after the window; want nothing, \"fixed\" or \"burst N\"", strings.Join(words, " "))}
	}
	return l, nil
}

func validDimension(s string) bool {
	for _, c := range s {
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '_' || c == '-') {
			return false
		}
	}
	return s != ""
}

func parseN(s string) (int64, *SyntaxError) {
	n, err := strconv.ParseInt(s, 10, 64)
	switch {
	case err != nil && strings.ContainsAny(s, "_,."):
		return 0, &SyntaxError{Why: fmt.Sprintf("%q is not a plain whole number", s)}
	case err != nil:
		return 0, &SyntaxError{Why: fmt.Sprintf("%q is not a whole number; %s", s, syntaxHelp)}
	case n < 1:
		return 0, &SyntaxError{Why: fmt.Sprintf("%d must be at least 1", n)}
	case n > maxN:
		return 0, &SyntaxError{Why: fmt.Sprintf("%d is too large", n)}
	}
	return n, nil
}

// parseWindow reads a Go duration, or whole days as in "1d".
func parseWindow(s string) (time.Duration, *SyntaxError) {
	var d time.Duration
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		if err != nil {
			return 0, &SyntaxError{Why: fmt.Sprintf("window %q is not a number of days", s)}
		}
		d = time.Duration(n) * 24 * time.Hour
	} else {
		var err error
		if d, err = time.ParseDuration(s); err != nil {
			return 0, &SyntaxError{Why: fmt.Sprintf("window %q has no known unit (ms, s, m, h, d)", s)}
		}
	}
	if d < minWindow || d > maxWindow {
		return 0, &SyntaxError{Why: fmt.Sprintf("window %q must be between %v and 366d", s, minWindow)}
	}
	return d, nil
}

// guessUnit turns a window in words ("min", "60", "hour") into one that parses.
func guessUnit(s string) string {
	digits := strings.TrimRight(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
	unit := strings.ToLower(s[len(digits):])
	if digits == "" {
		digits = "1"
	}
	switch unit {
	case "", "sec", "secs", "second", "seconds":
		unit = "s"
	case "min", "mins", "minute", "minutes":
		unit = "m"
	case "hr", "hrs", "hour", "hours":
		unit = "h"
	case "day", "days":
		unit = "d"
	}
	if _, err := parseWindow(digits + unit); err != nil {
		return ""
	}
	return digits + unit
}

// Capacity returns what fits when nothing is taken.
func (l Limit) Capacity() int64 {
	if l.Kind == Bucket {
		return l.Burst
	}
	return l.N
}

// String writes the limit as Parse reads it.
func (l Limit) String() string {
	if l.Kind == Concurrent {
		return fmt.Sprintf("%s:%d", InFlight, l.N)
	}
	var b strings.Builder
	if l.Dimension != Requests && l.Dimension != "" {
		b.WriteString(l.Dimension + ":")
	}
	fmt.Fprintf(&b, "%d/%s", l.N, formatWindow(l.Window))
	switch l.Kind {
	case Fixed:
		b.WriteString(" fixed")
	case Bucket:
		fmt.Fprintf(&b, " burst %d", l.Burst)
	}
	return b.String()
}

// formatWindow is Duration.String without zero units: 1m, 1h30m, 1d.
func formatWindow(d time.Duration) string {
	if d%(24*time.Hour) == 0 && d > 0 {
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
