package dialect

import (
	"math"
	"net/http"
	"strings"
	"time"
)

// This file reads single values. Numbers are digits with an optional fraction
// and nothing else: strconv.ParseFloat would also take "NaN", "Infinity", "1e3",
// "+5" and "0x1p4". All waits come out in whole milliseconds, rounded up, and
// between 0 and MaxWait. Arguments are trimmed.

// delay reads a wait: a plain number of units, or a duration with units of its
// own, such as "20ms", "6m0s" or "1h34m52.896s".
func delay(s string, unit time.Duration) (time.Duration, bool) {
	if isNumber(s) {
		return bounded(scale(s, unit)), true
	}
	return duration(s)
}

// delayOrMoment reads a reset: seconds, a duration, or a moment, which base turns
// into a wait. A moment that
// has passed is a wait of 0: the server did answer the question.
//
// Some servers write Unix time where seconds belong. A number tells by its
// size: from 1e12 on it is Unix time in milliseconds, from 1e9 on in seconds,
// below that seconds from now. The ranges don't meet: 1e9 s is 31 years, and
// 1e12 ms is the year 2001.
func delayOrMoment(s string, base time.Time) (time.Duration, bool) {
	if isNumber(s) {
		whole, _, _ := strings.Cut(strings.TrimLeft(s, "0"), ".")
		switch {
		case len(whole) > 12:
			return bounded(time.Unix(0, int64(scale(s, time.Millisecond))).Sub(base)), true
		case len(whole) > 9:
			return bounded(time.Unix(0, int64(scale(s, time.Second))).Sub(base)), true
		}
	}
	if d, ok := delay(s, time.Second); ok {
		return d, true
	}
	if t, ok := date(s); ok {
		return bounded(t.Sub(base)), true
	}
	return 0, false
}

// count reads a number of things, rounded down; -1 if it cannot be read. A
// negative number is unknown too: it can mean "over" or "unlimited".
func count(s string) int64 {
	if s = trim(s); !isNumber(s) {
		return -1
	}
	whole, _, _ := strings.Cut(s, ".")
	return int64(scale(whole, 1))
}

// duration reads a duration with units, like time.ParseDuration, but with days,
// without signs, and saturating.
func duration(s string) (time.Duration, bool) {
	if s == "" {
		return 0, false
	}
	var sum time.Duration
	for s != "" {
		n := prefix(s, func(c byte) bool { return isDigit(c) || c == '.' })
		number := s[:n]
		s = s[n:]
		n = prefix(s, func(c byte) bool { return !isDigit(c) && c != '.' })
		unit := unitOf(s[:n])
		s = s[n:]
		if !isNumber(number) || unit == 0 {
			return 0, false
		}
		sum = add(sum, scale(number, unit))
	}
	return bounded(sum), true
}

func unitOf(s string) time.Duration {
	switch s {
	case "ns":
		return time.Nanosecond
	case "us", "µs", "μs": // micro sign, Greek mu
		return time.Microsecond
	case "ms":
		return time.Millisecond
	case "s":
		return time.Second
	case "m":
		return time.Minute
	case "h":
		return time.Hour
	case "d":
		return 24 * time.Hour
	}
	return 0
}

// Dates of RFC 9110, section 5.6.7. The zone is written out, since Go's "MST"
// would take any zone name for UTC.
var httpDates = [...]string{
	http.TimeFormat,
	"Monday, 02-Jan-06 15:04:05 GMT",
	time.ANSIC,
}

// Dates of RFC 3339, also without seconds and without the offset's colon. Go
// reads a fraction of the seconds unasked.
var isoDates = [...]string{
	"2006-01-02T15:04:05Z07:00",
	"2006-01-02T15:04Z07:00",
	"2006-01-02T15:04:05Z0700",
	"2006-01-02T15:04Z0700",
}

// date reads a moment: the three forms of an HTTP-date, also with UTC or +0000
// for GMT, or RFC 3339.
func date(s string) (time.Time, bool) {
	if s == "" {
		return time.Time{}, false
	}
	forms := httpDates[:]
	if isDigit(s[0]) {
		forms = isoDates[:]
	} else if zoneless, ok := strings.CutSuffix(s, " UTC"); ok {
		s = zoneless + " GMT"
	} else if zoneless, ok := strings.CutSuffix(s, " +0000"); ok {
		s = zoneless + " GMT"
	}
	for _, form := range forms {
		if t, err := time.Parse(form, s); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// scale multiplies a plain number by a unit: exactly, except that what is finer
// than a nanosecond counts as one more, and that it stops at the largest value.
func scale(number string, unit time.Duration) time.Duration {
	whole, fraction, _ := strings.Cut(number, ".")
	var n time.Duration
	for _, c := range []byte(whole) {
		if n > (math.MaxInt64-9)/10 {
			return math.MaxInt64
		}
		n = 10*n + time.Duration(c-'0')
	}
	if n > math.MaxInt64/unit {
		return math.MaxInt64
	}
	n *= unit
	for _, c := range []byte(fraction) {
		digit := time.Duration(c - '0')
		if unit%10 != 0 { // finer than a nanosecond
			if digit == 0 {
				continue
			}
			return add(n, 1)
		}
		unit /= 10
		n = add(n, digit*unit)
	}
	return n
}

// add adds two durations that are not negative, and stops at the largest.
func add(a, b time.Duration) time.Duration {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

// bounded rounds up to whole milliseconds, between 0 and MaxWait.
func bounded(d time.Duration) time.Duration {
	d = min(max(d, 0), MaxWait)
	return (d + time.Millisecond - 1).Truncate(time.Millisecond)
}

// isNumber reports whether s is digits with an optional fraction.
func isNumber(s string) bool {
	n := prefix(s, isDigit)
	if n == 0 || n == len(s) {
		return n > 0
	}
	fraction := s[n+1:]
	return s[n] == '.' && fraction != "" && prefix(fraction, isDigit) == len(fraction)
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// prefix returns how many bytes at the start of s are such.
func prefix(s string, such func(byte) bool) int {
	for i := range len(s) {
		if !such(s[i]) {
			return i
		}
	}
	return len(s)
}

// trim removes the white space that may surround a field's value.
func trim(s string) string { return strings.Trim(s, " \t") }
