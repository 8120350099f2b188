package batch

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"unicode/utf8"

	"github.com/headgate/headgate/internal/job"
)

// Codes of a result's error. A call that failed has the outcome of package
// headgate as its code.
const (
	codeInvalidLine = "invalid_line" // never sent: the line cannot be made a call
	codeTooLong     = "too_long"     // the answer was longer than can be kept
)

// A result is what became of a line, as a line of output in the form of OpenAI's
// Batch API: https://platform.openai.com/docs/api-reference/batch/request-output.
type result struct {
	id       string        // custom_id
	response *job.Response // the last one; nil if there was none
	code     string        // of its error; "" if there is none
	message  string
}

func (r *result) failed() bool { return r.code != "" }

// The parts of a line of output up to custom_id, by which it is known again.
const (
	resultStart = `{"id":"batch_req_`
	resultID    = 16 // digits
	customID    = `","custom_id":`
	responseKey = `,"response":`
	noError     = `,"error":null}`
)

// line writes the result as a line with its end.
func (r *result) line() []byte {
	size := 256 + len(r.id)
	if r.response != nil {
		size += len(r.response.Body) + len(r.response.Body)/8
	}
	b := make([]byte, 0, size)
	b = fmt.Appendf(b, resultStart+"%016x"+customID, rand.Uint64())
	b = appendString(b, r.id)
	b = append(b, responseKey...)
	b = appendResponse(b, r.response)
	if r.code == "" {
		b = append(b, noError...)
	} else {
		b = append(b, `,"error":{"code":`...)
		b = appendString(b, r.code)
		b = append(b, `,"message":`...)
		b = appendString(b, r.message)
		b = append(b, "}}"...)
	}
	return append(b, '\n')
}

func appendResponse(b []byte, r *job.Response) []byte {
	if r == nil {
		return append(b, "null"...)
	}
	b = append(b, `{"status_code":`...)
	b = strconv.AppendInt(b, int64(r.Status), 10)
	b = append(b, `,"request_id":`...)
	b = appendString(b, requestID(r.Header))
	b = append(b, `,"body":`...)
	b = appendBody(b, r.Body)
	return append(b, '}')
}

// requestIDFields are where upstreams name an attempt.
var requestIDFields = []string{"X-Request-Id", "Request-Id", "X-Amzn-Requestid", "X-Github-Request-Id", "Apim-Request-Id", "Cf-Ray"}

func requestID(h http.Header) string {
	for _, field := range requestIDFields {
		if v := h[field]; len(v) > 0 && v[0] != "" {
			return v[0]
		}
	}
	return ""
}

// appendBody writes a body that is JSON as it is, but on one line, and any other
// as a string: what is not UTF-8 in it is lost.
func appendBody(b, body []byte) []byte {
	if utf8.Valid(body) {
		compact := bytes.NewBuffer(b)
		if json.Compact(compact, body) == nil {
			return compact.Bytes()
		}
	}
	return appendString(b, string(body))
}

func appendString(b []byte, s string) []byte {
	if !plain(s) {
		text, _ := jsonText(s) // a string is always written
		return append(b, text...)
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

// plain says whether s stands in JSON as it is.
func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= 0x7f {
			return false
		}
	}
	return true
}

// known is what a line of output tells of what has been done.
type known struct {
	id      string
	failed  bool
	invalid bool // the line of input could not be made a call
}

// readResult reads a line of output, without its end. It is false for anything
// else.
func readResult(text []byte) (known, bool) {
	if bytes.IndexByte(text, 0) >= 0 { // a page that never came to the disk
		return known{}, false
	}
	if k, ok := readOwn(text); ok {
		return k, true
	}
	var r struct {
		CustomID *string         `json:"custom_id"`
		Response json.RawMessage `json:"response"`
		Error    *struct {
			Code string `json:"code"`
		} `json:"error"`
	}
	if json.Unmarshal(text, &r) != nil || r.CustomID == nil || r.Response == nil && r.Error == nil {
		return known{}, false
	}
	return known{id: *r.CustomID, failed: r.Error != nil, invalid: r.Error != nil && r.Error.Code == codeInvalidLine}, true
}

// readOwn reads what line wrote, without looking at the body; false if it is not
// that, or the call failed.
func readOwn(text []byte) (known, bool) {
	rest, ok := bytes.CutPrefix(text, []byte(resultStart))
	if !ok || len(rest) < resultID || !bytes.HasSuffix(text, []byte(noError)) {
		return known{}, false
	}
	rest, ok = bytes.CutPrefix(rest[resultID:], []byte(customID+`"`))
	if !ok {
		return known{}, false
	}
	end := bytes.IndexByte(rest, '"')
	if end < 0 || bytes.IndexByte(rest[:end], '\\') >= 0 || !bytes.HasPrefix(rest[end+1:], []byte(responseKey)) {
		return known{}, false
	}
	return known{id: string(rest[:end])}, true
}
