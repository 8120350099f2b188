package mock

import (
	"fmt"
	"net/http"

	"github.com/headgate/headgate/internal/limit"
)

// fault is what an error body says. Its status decides the rest.
type fault struct {
	openAIType string // "type" of OpenAI's shape
	openAICode string // "code" there; "" for null
	limit      string // the limit that refused, as written; "" if none did
	message    string
}

// refusal words a 429. It says nothing about when to come back: that is left
// to the form in Config.RetryAfter.
func refusal(dialect string, v verdict, weight int64) fault {
	l := v.rooms[v.by].limit
	f := fault{openAIType: l.Dimension, openAICode: "rate_limit_exceeded", limit: l.String()}
	switch {
	case dialect == Anthropic:
		f.message = fmt.Sprintf("This request would exceed your organization's rate limit of %v.", l)
	case v.never:
		f.message = fmt.Sprintf("Request too large on %s: Limit %d, Requested %d. The request must be reduced in order to run successfully.",
			per(l), capacity(l), weightFor(l, weight))
	default:
		f.message = fmt.Sprintf("Rate limit reached on %s: Limit %d, Used %d, Requested %d.",
			per(l), capacity(l), capacity(l)-v.rooms[v.by].left, weightFor(l, weight))
	}
	return f
}

// per words what a limit counts, as OpenAI does: "tokens per 1m".
func per(l limit.Limit) string {
	if l.Kind == limit.Concurrent {
		return "requests in flight"
	}
	return fmt.Sprintf("%s per %v", l.Dimension, l.Window)
}

// failure words any other status.
func failure(status int) fault {
	f := fault{message: fmt.Sprintf("The mock upstream answers with status %d.", status)}
	switch {
	case status == http.StatusTooManyRequests:
		f.openAIType, f.openAICode = limit.Requests, "rate_limit_exceeded"
	case status >= 500:
		f.openAIType = "server_error"
	default:
		f.openAIType = "invalid_request_error"
	}
	return f
}

// writeFault answers the n-th arrival with an error in the shape of dialect.
func writeFault(w http.ResponseWriter, dialect string, status int, f fault, n int64) {
	switch dialect {
	case OpenAI:
		var code any
		if f.openAICode != "" {
			code = f.openAICode
		}
		writeJSON(w, status, obj{"error": obj{"message": f.message, "type": f.openAIType, "param": nil, "code": code}})
	case Anthropic:
		writeJSON(w, status, obj{
			"type":       "error",
			"error":      obj{"type": anthropicType(status), "message": f.message},
			"request_id": id(n),
		})
	default:
		body := obj{"ok": false, "status": status, "error": f.message, "n": n}
		if f.limit != "" {
			body["limit"] = f.limit
		}
		writeJSON(w, status, body)
	}
}

// anthropicType names an error as Anthropic's API does
// (docs.anthropic.com, "Errors").
func anthropicType(status int) string {
	switch status {
	case 401:
		return "authentication_error"
	case 402:
		return "billing_error"
	case 403:
		return "permission_error"
	case 404:
		return "not_found_error"
	case 413:
		return "request_too_large"
	case 429:
		return "rate_limit_error"
	case 504:
		return "timeout_error"
	case 529:
		return "overloaded_error"
	}
	if status >= 500 {
		return "api_error"
	}
	return "invalid_request_error"
}

// id names the n-th arrival.
func id(n int64) string { return fmt.Sprintf("req_mock_%d", n) }

// requestID sends that name in the field where the vendor's SDK looks for it.
func requestID(h http.Header, dialect string, n int64) {
	if dialect == Anthropic {
		h.Set("Request-Id", id(n))
	} else {
		h.Set("X-Request-Id", id(n))
	}
}
