// Package jobhttp is what HTTP needs to tell of stored jobs: the preferences
// that ask for one or for its end, waiting for that end, and a job as JSON.
//
// Paths, who may see what, and errors are the business of its callers, the
// gateway and the admin plane.
package jobhttp

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/headgate/headgate/internal/job"
)

// JobField names the field that marks a stored response and says of which job it
// is. Its status alone could also be that of a problem.
const JobField = "Headgate-Job"

// Encode returns what users read of a job, in one line without its end.
func Encode(j job.Job) []byte { return encode(j.Shown()) }

// WriteJSON answers with v as JSON, which nobody is to cache.
func WriteJSON(w http.ResponseWriter, status int, v any) {
	text := append(encode(v), '\n')
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	_, _ = w.Write(text) // it fails only if the reader has left
}

// encode is for values of ours, of which none can fail.
func encode(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte{'\n'})
}
