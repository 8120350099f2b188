package dialect

import (
	"net/http"
	"strings"
	"time"
)

// askedWait returns the wait that an answer asks for outright. A form in
// milliseconds is finer than Retry-After and comes first, unless it is 0, as
// then it tells nothing; where the two are more than a second apart they are not
// roundings of each other, and the longer counts. Without a wait the signal is
// zero.
func askedWait(h http.Header, base time.Time) (time.Duration, signal) {
	coarse, byCoarse := longest(h, "Retry-After", func(s string) (time.Duration, bool) {
		return retryAfter(s, base)
	})
	var fine time.Duration
	var byFine signal
	for _, field := range [...]string{"Retry-After-Ms", "X-Ms-Retry-After-Ms", "X-Amz-Retry-After"} {
		d, by := longest(h, field, func(s string) (time.Duration, bool) {
			return delay(s, time.Millisecond)
		})
		if d > fine {
			fine, byFine = d, by
		}
	}
	switch {
	case byFine == (signal{}):
		return coarse, byCoarse
	case byCoarse != (signal{}) && coarse-fine > time.Second:
		return coarse, byCoarse
	}
	return fine, byFine
}

// retryAfter reads Retry-After (RFC 9110, section 10.2.3): seconds, a duration, or
// a moment. A number is seconds, however large, unless it is Unix time of about
// now: that many seconds nobody means.
func retryAfter(s string, base time.Time) (time.Duration, bool) {
	if isNumber(s) {
		for _, unit := range [...]time.Duration{time.Second, time.Millisecond} {
			if d := time.Unix(0, int64(scale(s, unit))).Sub(base); d.Abs() < MaxWait {
				return bounded(d), true
			}
		}
		return delay(s, time.Second)
	}
	return delayOrMoment(s, base)
}

// longest returns the longest wait among the lines of a field, since every hop
// may add its own. A line is read whole; if that fails it may be several lines
// that were joined, and its parts that are plain numbers count.
func longest(h http.Header, field string, read func(string) (time.Duration, bool)) (wait time.Duration, by signal) {
	take := func(s string) bool {
		d, ok := read(s)
		if ok && (by == (signal{}) || d > wait) {
			wait, by = d, signal{name: field, value: s}
		}
		return ok
	}
	for _, line := range h[field] {
		line = trim(line)
		if take(line) {
			continue
		}
		for part := range strings.SplitSeq(line, ",") {
			if part = trim(part); isNumber(part) {
				take(part)
			}
		}
	}
	return wait, by
}

// resetWait returns the wait until all exhausted limits are back. A limit whose
// remaining is unknown may be the one that refused. Limits with something left
// are not the cause, whatever their reset.
func resetWait(limits []Limit) (wait time.Duration, by signal) {
	for _, l := range limits {
		if l.Remaining > 0 || l.Reset < 0 {
			continue
		}
		if by == (signal{}) || l.Reset > wait {
			wait, by = l.Reset, signal{name: "the reset of limit", value: l.Dimension}
		}
	}
	return wait, by
}

// serverTime returns the moment from which absolute times of an answer count:
// its Date, since that is the clock by which they were written, or now.
// The Date of a cached answer tells of another time.
func serverTime(h http.Header, now time.Time) time.Time {
	lines := h["Date"]
	if len(lines) == 0 || isCached(h) {
		return now
	}
	if t, ok := date(trim(lines[0])); ok {
		return t
	}
	return now
}

// isCached reports whether an answer spent time in a cache.
func isCached(h http.Header) bool {
	for _, age := range h["Age"] {
		if count(age) > 0 {
			return true
		}
	}
	return false
}
