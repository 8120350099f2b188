package dialect

import (
	"net/http"
	"strings"
	"time"
)

// generic reads what the standards say and most servers do: the status,
// Retry-After and its relatives, the IETF RateLimit fields, X-RateLimit-*, and
// problem types of the IETF draft.
type generic struct {
	name string
}

func (g generic) Name() string { return g.name }

// recognises is false: nothing marks an answer as generic.
func (generic) recognises(string, http.Header) bool { return false }

func (generic) BodyMax(status int, h http.Header) int {
	if status >= 400 && isProblem(h) {
		return problemMax
	}
	return 0
}

func (g generic) Read(a Answer, now time.Time) Reading {
	r := Reading{Dialect: g.name, Scope: Credential, status: a.Status}
	succeeded := a.Status >= 100 && a.Status < 400
	if succeeded && !hasLimits(a.Header) {
		return r // the common answer; costs no allocation
	}
	base := serverTime(a.Header, now)
	if r.cached = isCached(a.Header); !r.cached {
		r.Limits = limits(a.Header, base)
	}
	if succeeded {
		return r
	}
	wait, byWait := askedWait(a.Header, base)
	r.Class, r.byClass = classify(a, byWait)
	if r.Class == Fatal {
		return r
	}
	if byWait == (signal{}) {
		wait, byWait = resetWait(r.Limits)
	}
	r.Wait, r.byWait, r.HasWait = wait, byWait, byWait != (signal{})
	r.Retryable, r.byRetry = retryable(a, r.Class)
	_, told := serverSays(a.Header)
	r.Told = told != (signal{})
	return r
}

// classify says what an answer of status 400 or above means, and which signal
// besides the status said so. asked is the signal that asks for a wait, if any.
func classify(a Answer, asked signal) (Class, signal) {
	if isProblem(a.Header) {
		if c, by := problemClass(a.Body); by != (signal{}) {
			return c, by
		}
	}
	switch a.Status {
	case http.StatusConflict: // a conflict may pass, but only the server knows
		if yes, by := serverSays(a.Header); yes {
			return Overloaded, by
		}
	case http.StatusRequestEntityTooLarge: // RFC 9110, section 15.5.14
		if asked != (signal{}) {
			return Overloaded, asked
		}
	}
	return statusClass(a.Status), signal{}
}

// statusClass says what a status means by itself. As RFC 9110, section 15,
// has it, an unknown 5xx is a 500, and what is no status at all is a 5xx.
func statusClass(status int) Class {
	switch status {
	case http.StatusTooManyRequests,
		420, // of old Twitter, and of some that followed
		509: // Bandwidth Limit Exceeded, of web hosters
		return Throttled
	case http.StatusRequestTimeout:
		return Overloaded
	case http.StatusNotImplemented,
		http.StatusHTTPVersionNotSupported,
		http.StatusVariantAlsoNegotiates,
		http.StatusLoopDetected,
		http.StatusNotExtended,
		http.StatusNetworkAuthenticationRequired:
		return Fatal
	}
	switch {
	case status >= 100 && status < 400:
		return OK
	case status >= 400 && status < 500:
		return Fatal
	}
	return Overloaded
}

// retryable says whether a call that was throttled or overloaded may be
// repeated, and by which signal if the server or the request decided it.
func retryable(a Answer, c Class) (bool, signal) {
	if yes, by := serverSays(a.Header); by != (signal{}) {
		return yes, by
	}
	if c == Throttled { // refused before any work was done
		return true, signal{}
	}
	switch a.Method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace,
		http.MethodPut, http.MethodDelete:
		return true, signal{}
	case http.MethodPost, http.MethodPatch:
		if a.HasKey {
			return true, signal{name: "the idempotency key"}
		}
	}
	return false, signal{name: "lack of an idempotency key with method", value: a.Method}
}

// serverSays reads the fields with which a server says outright whether to
// repeat the call. Of two that disagree, "no" counts. They are the fields that
// the SDKs of OpenAI, Anthropic and Stripe obey before all else.
func serverSays(h http.Header) (yes bool, by signal) {
	for _, field := range [...]string{"X-Should-Retry", "Stripe-Should-Retry"} {
		for _, v := range h[field] {
			switch v = strings.TrimSpace(v); {
			case strings.EqualFold(v, "false"):
				return false, signal{name: field, value: v}
			case strings.EqualFold(v, "true"):
				yes, by = true, signal{name: field, value: v}
			}
		}
	}
	return yes, by
}
