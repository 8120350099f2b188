package dialect

import (
	"regexp"
	"strings"
	"time"
)

// bodyHint returns the wait that the body of an answer asks for, in the forms
// that several families have in common: a member in seconds, or words.
func bodyHint(a *answer) (time.Duration, signal) {
	for _, path := range [...][]string{
		{"retry_after"}, {"error", "retry_after"}, {"parameters", "retry_after"}, {"estimated_time"},
	} {
		if d, ok := delay(trim(a.text(path...)), time.Second); ok {
			return d, signal{name: strings.Join(path, "."), value: a.text(path...)}
		}
	}
	for _, path := range [...][]string{
		{"error", "message"}, {"message"}, {"detail"}, {"error"}, {"errors", "0", "message"}, {"errors", "0", "detail"}, {"title"},
	} {
		if d, by := prosaic(a.text(path...)); by != (signal{}) {
			return d, by
		}
	}
	if a.json == nil && len(a.Body) > 0 {
		return prosaic(string(a.Body))
	}
	return 0, signal{}
}

var (
	askWords = regexp.MustCompile(`(?i)\b(?:try(?:ing)?(?: \w+)? again|retry(?:ing)?|resets?|wait|available(?: again)?)` +
		`(?:\s+(?:in|after|for|at least|about|approximately|another))*\s*[:~]?\s*\d`)
	lengths = regexp.MustCompile(`(?i)^(?:\s*,?\s*(?:and\s+)?)(\d+(?:\.\d+)?)\s*([a-zµμ]+)`)
)

// prosaic reads the wait that words ask for: "try again in 20s", "retry after
// 86400 seconds", "resets in ~30s", "wait 1 minute and 5 seconds". A number
// without a unit is none.
func prosaic(s string) (time.Duration, signal) {
	for _, m := range askWords.FindAllStringIndex(s, mostHints) {
		var sum time.Duration
		start := m[1] - 1 // at the digit
		end := start
		for {
			part := lengths.FindStringSubmatch(s[end:])
			if part == nil {
				break
			}
			unit := unitWord(part[2])
			if unit == 0 {
				break
			}
			sum = add(sum, scale(part[1], unit))
			end += len(part[0])
		}
		if end > start {
			return bounded(sum), signal{name: "the message", value: s[m[0]:end]}
		}
	}
	return 0, signal{}
}

// mostHints bounds how often words that ask are looked behind.
const mostHints = 8

// unitWord returns the unit of a duration as prose writes it; 0 if it is none.
func unitWord(s string) time.Duration {
	switch strings.ToLower(s) {
	case "millisecond", "milliseconds", "msec", "msecs":
		return time.Millisecond
	case "second", "seconds", "sec", "secs":
		return time.Second
	case "minute", "minutes", "min", "mins":
		return time.Minute
	case "hour", "hours", "hr", "hrs":
		return time.Hour
	case "day", "days":
		return 24 * time.Hour
	}
	return unitOf(s)
}
