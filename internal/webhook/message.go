package webhook

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"time"
	"unicode/utf8"

	"github.com/headgate/headgate/internal/job"
)

// priority is that of callbacks among each other.
const priority = 5

// message is the payload, in the form that the scheme recommends.
type message struct {
	Type      string    `json:"type"` // job.done, job.failed or job.cancelled
	Timestamp time.Time `json:"timestamp"`
	Data      data      `json:"data"`
}

type data struct {
	job.Job
	Response *response `json:"response,omitempty"`
}

// response is the upstream's answer. Body is JSON as it is, if it is JSON, and
// else a string of base64, and Encoding says so.
type response struct {
	Status   int             `json:"status"`
	Headers  http.Header     `json:"headers"`
	Body     json.RawMessage `json:"body,omitempty"`
	Encoding string          `json:"encoding,omitempty"`
}

// For returns the job that tells j.Callback that j has ended, with what; r is
// nil if there is no response. It is nil if nobody is to be told, or j.Callback
// is no URL.
func For(j job.Job, r *job.Response, now time.Time) *job.New {
	if j.Kind != job.Call || j.Callback == "" {
		return nil
	}
	u, err := url.Parse(j.Callback)
	if err != nil {
		return nil
	}
	return &job.New{
		Job: job.Job{
			ID:       job.NewID(now),
			Kind:     job.Callback,
			Client:   j.Client,
			Priority: priority,
			Parent:   j.ID,
			Queue:    job.CallbackQueue(u.Host),
		},
		Request: job.Request{
			Method: http.MethodPost,
			Path:   j.Callback,
			Header: http.Header{"Content-Type": {"application/json"}, "User-Agent": {"headgate"}},
			Body:   payload(j, r, now),
		},
	}
}

// Cancelled is For of a job that was cancelled now.
func Cancelled(j job.Job) *job.New { return For(j, nil, time.Now()) }

func payload(j job.Job, r *job.Response, now time.Time) []byte {
	m := message{Type: "job." + string(j.State), Timestamp: now.UTC(), Data: data{Job: j.Shown()}}
	if r != nil {
		m.Data.Response = &response{Status: r.Status, Headers: r.Header}
		switch {
		case len(r.Body) == 0:
		case json.Valid(r.Body) && utf8.Valid(r.Body):
			m.Data.Response.Body = r.Body
		default:
			m.Data.Response.Encoding = "base64"
			m.Data.Response.Body, _ = json.Marshal(base64.StdEncoding.EncodeToString(r.Body))
		}
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // it is no page
	_ = e.Encode(m)        // values of ours: it cannot fail
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
