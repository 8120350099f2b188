package dialect

import (
	"strings"
	"time"
)

// googleError is an error of a Google API: google.rpc.Status as JSON, with the
// older list of reasons, and its details by the last word of their type.
type googleError struct {
	status, message string
	reasons         []string // of errors[] and ErrorInfo
	quota           string   // ErrorInfo's metadata.quota_limit
	delay           string   // RetryInfo's retryDelay
	violations      []any    // of QuotaFailure
}

// readGoogleError reads the error of an answer. The body may be a list of one, as
// streams write it, and the message may itself be such a body, when a server
// passed on another's.
func readGoogleError(a *answer) googleError {
	body := a.at()
	var e googleError
	for range 3 {
		if list, ok := body.([]any); ok && len(list) > 0 {
			body = list[0]
		}
		node := at(body, "error")
		if node == nil {
			break
		}
		e = googleErrorOf(node)
		if body = parse([]byte(e.message)); body == nil {
			break
		}
	}
	return e
}

func googleErrorOf(node any) googleError {
	e := googleError{status: textOf(at(node, "status")), message: textOf(at(node, "message"))}
	older, _ := at(node, "errors").([]any)
	for _, entry := range older {
		e.reasons = append(e.reasons, textOf(at(entry, "reason")))
	}
	details, _ := at(node, "details").([]any)
	for _, d := range details {
		kind := textOf(at(d, "@type"))
		switch kind[strings.LastIndexByte(kind, '.')+1:] {
		case "ErrorInfo":
			e.reasons = append(e.reasons, textOf(at(d, "reason")))
			e.quota = textOf(at(d, "metadata", "quota_limit"))
		case "RetryInfo":
			e.delay = textOf(at(d, "retryDelay"))
		case "QuotaFailure":
			all, _ := at(d, "violations").([]any)
			e.violations = append(e.violations, all[:min(len(all), mostLimits)]...)
		}
	}
	return e
}

// spent returns the signal that a quota for a day or longer is used up, or that
// there is none to begin with. Words about billing are none: they come with
// quotas per minute too, and RetryInfo comes with spent days.
func (e googleError) spent() signal {
	for _, r := range e.reasons {
		if oneOf(r, "dailyLimitExceeded", "dailyLimitExceededUnreg", "quotaExceeded", "storageQuotaExceeded", "QUOTA_EXHAUSTED") {
			return signal{"reason", r}
		}
	}
	for _, v := range e.violations {
		id := textOf(at(v, "quotaId"))
		switch {
		case isLong(id):
			return signal{"quotaId", id}
		case textOf(at(v, "quotaValue")) == "0":
			return signal{"quotaValue", "0"}
		}
	}
	if isLong(e.quota) {
		return signal{"quota_limit", e.quota}
	}
	return signal{}
}

// isLong reports whether a quota's name says that it lasts for a day or longer.
func isLong(quota string) bool {
	for _, word := range [...]string{"PerDay", "Daily", "PerMonth", "PerWeek"} {
		if strings.Contains(quota, word) {
			return true
		}
	}
	return false
}

// hint returns the wait of RetryInfo, or of the message.
func (e googleError) hint() (time.Duration, signal) {
	if d, ok := delay(trim(e.delay), time.Second); ok {
		return d, signal{"retryDelay", e.delay}
	}
	return prosaic(e.message)
}

// perMinute returns the signal that a quota per minute was violated.
func (e googleError) perMinute() signal {
	for _, v := range e.violations {
		if id := textOf(at(v, "quotaId")); strings.Contains(id, "PerMinute") {
			return signal{"the minute of quotaId", id}
		}
	}
	if strings.Contains(e.quota, "PerMinute") {
		return signal{"the minute of quota_limit", e.quota}
	}
	return signal{}
}

// model returns the model of the first violation that names one.
func (e googleError) model() string {
	for _, v := range e.violations {
		if m := textOf(at(v, "quotaDimensions", "model")); m != "" {
			return m
		}
	}
	return ""
}

// limits returns the violated quotas: their value is known, nothing remains.
func (e googleError) limits() []Limit {
	var all []Limit
	for _, v := range e.violations {
		if id := textOf(at(v, "quotaId")); id != "" {
			unit := quotaUnit(id, textOf(at(v, "quotaMetric")))
			all = append(all, Limit{Dimension: unit + quotaWindow(id), Limit: count(textOf(at(v, "quotaValue"))), Remaining: 0, Reset: -1})
		}
	}
	return all
}

// quotaUnit returns what a quota counts, by its id or else by its metric.
func quotaUnit(id, metric string) string {
	for _, name := range [...]string{id, strings.ReplaceAll(metric, "_", "")} {
		name = strings.ToLower(name)
		switch {
		case strings.Contains(name, "inputtoken"):
			return "input_tokens"
		case strings.Contains(name, "outputtoken"):
			return "output_tokens"
		case strings.Contains(name, "token"):
			return "tokens"
		case strings.Contains(name, "request"):
			return "requests"
		}
	}
	return "requests"
}

func quotaWindow(id string) string {
	for _, w := range [...]struct{ word, suffix string }{
		{"PerSecond", "_per_second"}, {"PerMinute", "_per_minute"}, {"PerHour", "_per_hour"},
		{"PerDay", "_per_day"}, {"Daily", "_per_day"}, {"PerWeek", "_per_week"}, {"PerMonth", "_per_month"},
	} {
		if strings.Contains(id, w.word) {
			return w.suffix
		}
	}
	return ""
}
