package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/headgate/headgate"
	"github.com/headgate/headgate/internal/job"
	"github.com/headgate/headgate/internal/jobhttp"
	"github.com/headgate/headgate/internal/source"
	"github.com/headgate/headgate/internal/webhook"
)

// storePatience bounds each step of the store.
const storePatience = 10 * time.Second

var (
	errNoJobs    = errors.New("no jobs are kept here: set jobs in the configuration, or give serve --jobs")
	errBadFilter = errors.New("bad filter")
)

// problems says how errors are answered.
var problems = []struct {
	is     error
	status int
	name   string
}{
	{errBadFilter, http.StatusBadRequest, "bad-request"},
	{errBadBody, http.StatusBadRequest, "bad-request"},
	{errNoKey, http.StatusForbidden, "admin-key"},
	{errWrongKey, http.StatusForbidden, "admin-key"},
	{errKeyless, http.StatusForbidden, "no-admin-key"},
	{errListeners, http.StatusServiceUnavailable, "too-many-listeners"},
	{headgate.ErrUnknownUpstream, http.StatusNotFound, "unknown-upstream"},
	{errNoJobs, http.StatusNotFound, "no-jobs"},
	{errNoSource, http.StatusNotFound, "unknown-source"},
	{errLetters, http.StatusServiceUnavailable, "source-unavailable"},
	{source.ErrNoLetter, http.StatusNotFound, "unknown-letter"},
	{job.ErrNotFound, http.StatusNotFound, "unknown-job"},
	{job.ErrNoResponse, http.StatusNotFound, "no-response"},
	{job.ErrNotEnded, http.StatusConflict, "job-not-ended"},
	{job.ErrEnded, http.StatusConflict, "job-ended"},
	{job.ErrFull, http.StatusServiceUnavailable, "jobs-unavailable"},
}

// addJobs adds the paths of jobs. Without a store they say so.
func (a *Admin) addJobs(mux *http.ServeMux) {
	reads := func(do func(http.ResponseWriter, *http.Request) error) func(http.ResponseWriter, *http.Request) error {
		if a.options.Jobs == nil {
			return func(http.ResponseWriter, *http.Request) error { return errNoJobs }
		}
		return do
	}
	changes := func(do func(http.ResponseWriter, *http.Request) error) func(http.ResponseWriter, *http.Request) error {
		return reads(a.changing(func(w http.ResponseWriter, r *http.Request) (string, error) { return "", do(w, r) }))
	}
	endpoints(mux, map[string]func(http.ResponseWriter, *http.Request) error{
		"GET /api/v1/jobs":               reads(a.listJobs),
		"POST /api/v1/jobs/retry":        changes(a.retryJobs),
		"POST /api/v1/jobs/cancel":       changes(a.cancelJobs),
		"POST /api/v1/jobs/purge":        changes(a.purgeJobs),
		"GET /api/v1/jobs/{id}":          reads(a.readJob),
		"DELETE /api/v1/jobs/{id}":       changes(a.cancelJob),
		"GET /api/v1/jobs/{id}/response": reads(a.readResponse),
		"POST /api/v1/jobs/{id}/retry":   changes(a.retryJob),
		"POST /api/v1/jobs/{id}/cancel":  changes(a.cancelJob),
	})
}

// writeProblem answers with an error (RFC 9457).
func writeProblem(w http.ResponseWriter, err error) {
	status, name := http.StatusServiceUnavailable, "jobs-unavailable"
	for _, row := range problems {
		if errors.Is(err, row.is) {
			status, name = row.status, row.name
			break
		}
	}
	text, _ := json.Marshal(map[string]any{ // strings and a number: it cannot fail
		"type": "https://headgate.dev/problems/" + name, "title": http.StatusText(status), "status": status, "detail": err.Error(),
	})
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_, _ = w.Write(text) // it fails only if the reader has left
}

// counts returns how many calls there are in each state, of which none is left
// out.
func (a *Admin) counts(ctx context.Context) (map[job.State]int64, error) {
	ctx, cancel := context.WithTimeout(ctx, storePatience)
	defer cancel()
	found, err := a.options.Jobs.Counts(ctx)
	if err != nil {
		return nil, err
	}
	all := make(map[job.State]int64)
	for _, state := range job.States {
		all[state] = found[state]
	}
	return all, nil
}

func (a *Admin) listJobs(w http.ResponseWriter, r *http.Request) error {
	f, err := readFilter(r.URL.Query(), time.Now())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), storePatience)
	defer cancel()
	page, err := a.options.Jobs.List(ctx, f)
	if err != nil {
		return err
	}
	list := jobList{Jobs: make([]job.Job, len(page.Jobs)), Next: page.Next}
	for i, j := range page.Jobs {
		list.Jobs[i] = j.Shown()
	}
	jobhttp.WriteJSON(w, http.StatusOK, list)
	return nil
}

// jobList is a part of the list of jobs; next, if there is any, is the after of
// the part behind.
type jobList struct {
	Jobs []job.Job `json:"jobs"`
	Next string    `json:"next,omitempty"`
}

// readJob answers with a job as it stands, or as it stands when it has ended if
// the reader prefers to wait for that.
func (a *Admin) readJob(w http.ResponseWriter, r *http.Request) error {
	j, err := one(r, a.options.Jobs.Get)
	if err != nil {
		return err
	}
	prefer := jobhttp.ReadPrefer(r.Header["Prefer"])
	prefer.Async = false // of a call, not of this
	if prefer.Wait > 0 {
		takeTime(w)
		if j, err = a.watch.Wait(r.Context(), j, prefer.Wait); err != nil {
			return err
		}
		prefer.SetApplied(w.Header())
	}
	jobhttp.WriteJSON(w, http.StatusOK, j.Shown())
	return nil
}

// readResponse answers with the status and the body that are stored, and the
// fields that say what the body is. All others, such as cookies, were not meant
// for this site; and as nothing is known of what upstreams send, no script in it
// runs (see guard).
func (a *Admin) readResponse(w http.ResponseWriter, r *http.Request) error {
	stored, err := one(r, a.options.Jobs.Response)
	if err != nil {
		return err
	}
	h := w.Header()
	for _, name := range []string{"Content-Type", "Content-Encoding", "Content-Language", "Content-Disposition"} {
		h[name] = stored.Header[name] // nil: none, rather than net/http's guess
	}
	h.Set(jobhttp.JobField, r.PathValue("id"))
	if stored.Status < 200 || stored.Status > 999 {
		return fmt.Errorf("the upstream answered with status %d, which is none", stored.Status)
	}
	takeTime(w)
	if stored.Status == http.StatusNoContent || stored.Status == http.StatusNotModified {
		w.WriteHeader(stored.Status)
		return nil
	}
	h.Set("Content-Length", strconv.Itoa(len(stored.Body)))
	w.WriteHeader(stored.Status)
	_, _ = w.Write(stored.Body) // it fails only if the reader has left
	return nil
}

func (a *Admin) retryJob(w http.ResponseWriter, r *http.Request) error {
	return answerJob(w, r, a.options.Jobs.Retry)
}

func (a *Admin) cancelJob(w http.ResponseWriter, r *http.Request) error {
	return answerJob(w, r, a.cancel)
}

func (a *Admin) cancel(ctx context.Context, id string) (job.Job, error) {
	return a.options.Jobs.Cancel(ctx, id, "cancelled by an operator", webhook.Cancelled)
}

// answerJob does something to a job and answers with what it is then.
func answerJob(w http.ResponseWriter, r *http.Request, do func(context.Context, string) (job.Job, error)) error {
	j, err := one(r, do)
	if err != nil {
		return err
	}
	jobhttp.WriteJSON(w, http.StatusOK, j.Shown())
	return nil
}

// one asks the store about the job that a request names.
func one[T any](r *http.Request, how func(context.Context, string) (T, error)) (answer T, err error) {
	id := r.PathValue("id")
	if !job.IsID(id) {
		return answer, job.ErrNotFound
	}
	ctx, cancel := context.WithTimeout(r.Context(), storePatience)
	defer cancel()
	return how(ctx, id)
}

// takeTime lifts the server's bounds for an answer that may be long in coming.
// Not supported: there are none then.
func takeTime(w http.ResponseWriter) {
	c := http.NewResponseController(w)
	_ = c.SetReadDeadline(time.Time{})
	_ = c.SetWriteDeadline(time.Time{})
}
