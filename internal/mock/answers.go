package mock

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// maxEvents bounds /_mock/sse.
const maxEvents = 1_000_000

// obj is a JSON object; its members are written in alphabetical order.
type obj = map[string]any

// answer is how a request will be answered if it is let in.
type answer struct {
	dialect string // the shape of its errors
	weight  int64  // under limits that count something else than requests
	write   func(s *Server, w http.ResponseWriter, r *http.Request, n int64)
}

// plan chooses the answer before the request is counted, because its weight
// hangs on it. What cannot be understood is counted too, and answered with 400.
//
//	POST /v1/chat/completions      as OpenAI
//	POST /v1/messages              as Anthropic
//	     /_mock/status/CODE        that status; ?retry_after=D adds a wait, as
//	                               HintSeconds if the server's form tells limits
//	     /_mock/slow?d=D           an echo, D later
//	     /_mock/sse?n=N&every=D    N events, D apart
//	     anything else             an echo
func plan(r *http.Request, body []byte, dialect string) answer {
	path := r.URL.Path
	switch {
	case r.Method == http.MethodPost && path == "/v1/chat/completions":
		return planChatCompletion(body)
	case r.Method == http.MethodPost && path == "/v1/messages":
		return planMessage(body)
	case strings.HasPrefix(path, "/_mock/status/"):
		return planStatus(strings.TrimPrefix(path, "/_mock/status/"), r.URL.Query(), dialect)
	case path == "/_mock/slow":
		return planSlow(r.URL.Query(), dialect)
	case path == "/_mock/sse":
		return planEvents(r.URL.Query(), dialect)
	default:
		return answer{dialect, 1, echo}
	}
}

func echo(_ *Server, w http.ResponseWriter, r *http.Request, n int64) {
	writeJSON(w, http.StatusOK, struct {
		OK   bool   `json:"ok"`
		Path string `json:"path"`
		N    int64  `json:"n"`
	}{true, r.URL.Path, n})
}

func planStatus(code string, query url.Values, dialect string) answer {
	status, err := strconv.Atoi(code)
	if err != nil || status < 200 || status > 599 {
		return badRequest(dialect, fmt.Sprintf("status %q is not between 200 and 599", code))
	}
	again, err := duration(query, "retry_after", 0)
	if err != nil {
		return badRequest(dialect, err.Error())
	}
	return answer{dialect, 1, func(s *Server, w http.ResponseWriter, r *http.Request, n int64) {
		form := s.config.RetryAfter
		if tellsLimits(form) {
			form = HintSeconds
		}
		waitField(w.Header(), form, time.Now(), again)
		switch {
		case status == http.StatusNoContent || status == http.StatusNotModified:
			w.WriteHeader(status)
		case status < 400:
			writeJSON(w, status, obj{"ok": true, "path": r.URL.Path, "n": n})
		default:
			writeFault(w, dialect, status, failure(status), n)
		}
	}}
}

func planSlow(query url.Values, dialect string) answer {
	d, err := duration(query, "d", time.Second)
	if err != nil {
		return badRequest(dialect, err.Error())
	}
	return answer{dialect, 1, func(s *Server, w http.ResponseWriter, r *http.Request, n int64) {
		if wait(r.Context(), d) == nil {
			echo(s, w, r, n)
		}
	}}
}

func planEvents(query url.Values, dialect string) answer {
	every, err := duration(query, "every", 100*time.Millisecond)
	if err != nil {
		return badRequest(dialect, err.Error())
	}
	events := 10
	if text := query.Get("n"); text != "" {
		events, err = strconv.Atoi(text)
		if err != nil || events < 0 || events > maxEvents {
			return badRequest(dialect, fmt.Sprintf("n=%q is not between 0 and %d", text, maxEvents))
		}
	}
	return answer{dialect, 1, func(_ *Server, w http.ResponseWriter, r *http.Request, _ int64) {
		stream(w, r, every, events, func(i int) string {
			return fmt.Sprintf("id: %d\ndata: {\"n\":%d,\"at\":%q}\n\n", i+1, i+1, time.Now().UTC().Format(time.RFC3339Nano))
		})
	}}
}

// duration reads a query parameter; without it, it is fallback.
func duration(query url.Values, name string, fallback time.Duration) (time.Duration, error) {
	text := query.Get(name)
	if text == "" {
		return fallback, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("%s=%q is not a duration like 2s", name, text)
	}
	return d, nil
}

// badRequest is the answer to a request that makes no sense.
func badRequest(dialect, why string) answer {
	return answer{dialect, 1, func(_ *Server, w http.ResponseWriter, _ *http.Request, n int64) {
		writeFault(w, dialect, http.StatusBadRequest, fault{openAIType: "invalid_request_error", message: why}, n)
	}}
}

// stream sends n server-sent events, the first at once and the others every so
// much later, each flushed. The last one leaves with the end of the answer, so
// that who has seen it is no longer in flight.
func stream(w http.ResponseWriter, r *http.Request, every time.Duration, n int, event func(i int) string) {
	w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	w.Header().Set("Cache-Control", "no-cache")
	w.WriteHeader(http.StatusOK)
	flush := http.NewResponseController(w).Flush
	for i := range n {
		if i > 0 && (flush() != nil || wait(r.Context(), every) != nil) {
			return
		}
		if _, err := w.Write([]byte(event(i))); err != nil {
			return
		}
	}
}
