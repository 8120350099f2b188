package dialect

import (
	"net/http"
	"strings"
)

// This file says what answers mean by the standards and by what most servers do.

// classify says what an answer means, and which signal besides the status said
// so. asked is the signal that asks for a wait, if any.
func classify(a *answer, asked signal) (Class, signal) {
	if succeeded(a.Status) {
		return OK, signal{}
	}
	if isProblem(a.Header) {
		if c, by := problemClass(a); by != (signal{}) {
			return c, by
		}
	}
	if by := unpaid(a); by != (signal{}) {
		return Fatal, by
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
// repeated, and by which signal if the server or the request decided it. repeats
// is true if repeating changes no state, whatever the method.
func retryable(a Answer, c Class, repeats bool) (bool, signal) {
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
		if repeats {
			return true, signal{}
		}
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

// unpaid finds the codes that say that a bill is due, as OpenAI writes them and
// those who speak like it do. They come with whatever status, 429 among them, and
// waiting cannot help.
func unpaid(a *answer) signal {
	for _, path := range [...][]string{{"error", "code"}, {"error", "type"}, {"code"}, {"type"}, {"error"}} {
		if code := a.text(path...); oneOf(code, spentCodes...) {
			return signal{name: strings.Join(path, "."), value: code}
		}
	}
	return signal{}
}
