package retry

// Kind is why a call would have another attempt.
type Kind uint8

// The kinds.
const (
	Throttled  Kind = iota // told "too many": refused before any work
	Overloaded             // told "not now", or broken off: the work may have been done
	Unsent                 // nothing of the request reached the upstream, as when dialling failed
)

// Methods says which requests may be repeated.
type Methods uint8

// The choices. What was refused before any work, or not sent, repeats with
// every method unless Never; they differ for what may have been done.
const (
	Safe       Methods = iota // idempotent methods, and requests with an Idempotency-Key
	Any                       // every method
	Idempotent                // as Safe, for files that say it in so many words
	Never                     // no retries at all, whatever the kind
)

// Allows says whether a request may be sent again. method is the request's, in
// capitals; "" is GET, as in http.Request. hasKey: it carries an
// Idempotency-Key. What an upstream says of a single answer (x-should-retry)
// goes before this and is the caller's to heed.
func (m Methods) Allows(kind Kind, method string, hasKey bool) bool {
	switch {
	case m == Never:
		return false
	case kind == Throttled, kind == Unsent, m == Any:
		return true
	default:
		return hasKey || idempotent(method)
	}
}

// idempotent follows RFC 9110, section 9.2.2.
func idempotent(method string) bool {
	switch method {
	case "", "GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE":
		return true
	default:
		return false
	}
}
