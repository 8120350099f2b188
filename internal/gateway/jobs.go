package gateway

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/headgate/headgate/internal/job"
	"github.com/headgate/headgate/internal/jobhttp"
	"github.com/headgate/headgate/internal/webhook"
)

const (
	jobsPath = "/jobs/" // and an ID

	// eventPause is how long a stream of events may be silent: those in between
	// close connections that seem dead, most after a minute.
	eventPause = 15 * time.Second
)

var (
	errNoSuchPart = errors.New("a job has no such path")
	errJobFailed  = errors.New("the job ended without an answer")
)

// cutJob splits the path of a job: /jobs/{id} or /jobs/{id}/{part}.
func cutJob(path string) (id, part string, ok bool) {
	if path, ok = strings.CutPrefix(path, jobsPath); !ok {
		return "", "", false
	}
	id, part, _ = strings.Cut(path, "/")
	return id, part, job.IsID(id)
}

// serveJob answers a request about a job.
func (c *call) serveJob(t *table, id, part string) {
	if err := c.doJob(t, id, part); err != nil {
		c.fail(err)
	}
}

func (c *call) doJob(t *table, id, part string) (err error) {
	if err := checkTarget(c.in); err != nil {
		return err
	}
	if c.client, err = t.identify(c.in.Header); err != nil {
		return err
	}
	do, err := c.jobStep(part)
	if err != nil {
		return err
	}
	j, err := ask(c.in.Context(), c.gateway.opts.Jobs.Get, id)
	if err != nil {
		return err
	}
	if c.client != nil && j.Client != c.client.caller.Name {
		return job.ErrNotFound // nobody learns of the jobs of others
	}
	return do(j)
}

// jobStep returns what a method does to a part of a job.
func (c *call) jobStep(part string) (do func(job.Job) error, err error) {
	allow := ""
	reads := c.in.Method == http.MethodGet || c.in.Method == http.MethodHead
	switch part {
	case "":
		switch {
		case c.in.Method == http.MethodGet && acceptsEvents(c.in.Header["Accept"]):
			return c.followJob, nil
		case reads:
			return c.readJob, nil
		case c.in.Method == http.MethodDelete:
			return c.cancelJob, nil
		}
		allow = "GET, HEAD, DELETE"
	case "response":
		if reads {
			return c.readResponse, nil
		}
		allow = "GET, HEAD"
	case "retry":
		if c.in.Method == http.MethodPost {
			return c.retryJob, nil
		}
		allow = "POST"
	default:
		return nil, fmt.Errorf("%w: %q", errNoSuchPart, part)
	}
	return nil, &methodError{c.in.Method, allow}
}

// readJob answers with a job as it stands, or as it stands when it has ended if
// the caller prefers to wait for that.
func (c *call) readJob(j job.Job) error {
	prefer := jobhttp.ReadPrefer(c.in.Header["Prefer"])
	prefer.Async = false // of a call, not of this
	j, err := c.gateway.watch.Wait(c.in.Context(), j, prefer.Wait)
	if err != nil {
		return storeFault(err)
	}
	prefer.SetApplied(c.w.Header())
	c.tellJob(http.StatusOK, j)
	return nil
}

// followJob answers with an event for each state of a job, until it has ended. A
// browser that comes back after the last one is told that there is no more.
func (c *call) followJob(j job.Job) error {
	h := c.w.Header()
	h.Set("Cache-Control", "no-store")
	if j.State.Ended() && c.in.Header.Get("Last-Event-ID") == string(j.State) {
		c.w.WriteHeader(http.StatusNoContent)
		return nil
	}
	h.Set("Content-Type", "text/event-stream")
	c.w.WriteHeader(http.StatusOK)
	var last time.Time
	err := c.gateway.watch.Follow(c.in.Context(), j, func(j job.Job, changed bool) error {
		now := time.Now()
		switch {
		case changed:
			_, _ = fmt.Fprintf(c.w, "id: %s\nevent: state\ndata: %s\n\n", j.State, jobhttp.Encode(j)) // flush repeats an error
		case now.Sub(last) >= eventPause:
			_, _ = io.WriteString(c.w, ": waiting\n\n")
		default:
			return nil
		}
		last = now
		return flush(c.w)
	})
	if err != nil && !errors.Is(err, job.ErrNotFound) {
		panic(http.ErrAbortHandler) // the caller has gone, or is to
	}
	return nil
}

// readResponse answers as the upstream did.
func (c *call) readResponse(j job.Job) error {
	r, err := ask(c.in.Context(), c.gateway.opts.Jobs.Response, j.ID)
	if errors.Is(err, job.ErrNoResponse) {
		return fmt.Errorf("%w: it is %s", err, standing(j))
	}
	if err != nil {
		return err
	}
	c.replay(j, r)
	return nil
}

// tellResult answers a call that waited for its job with what became of it.
func (c *call) tellResult(j job.Job) {
	r, err := ask(c.in.Context(), c.gateway.opts.Jobs.Response, j.ID)
	switch {
	case errors.Is(err, job.ErrNoResponse):
		h := c.w.Header()
		h.Set("Location", jobsPath+j.ID)
		c.fail(fmt.Errorf("%w: it is %s", errJobFailed, standing(j)))
	case err != nil:
		c.fail(err)
	default:
		c.replay(j, r)
	}
}

// cancelJob ends a job.
func (c *call) cancelJob(j job.Job) error {
	j, err := ask(c.in.Context(), func(ctx context.Context, id string) (job.Job, error) {
		return c.gateway.opts.Jobs.Cancel(ctx, id, "cancelled by its client", webhook.Cancelled)
	}, j.ID)
	if err != nil {
		return err
	}
	c.tellJob(http.StatusOK, j)
	return nil
}

// retryJob has a job run again.
func (c *call) retryJob(j job.Job) error {
	j, err := ask(c.in.Context(), c.gateway.opts.Jobs.Retry, j.ID)
	if err != nil {
		return err
	}
	c.w.Header().Set("Location", jobsPath+j.ID)
	c.tellJob(http.StatusAccepted, j)
	return nil
}

// ask asks the store about one job.
func ask[T any](ctx context.Context, how func(context.Context, string) (T, error), id string) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, storePatience)
	defer cancel()
	answer, err := how(ctx, id)
	return answer, storeFault(err)
}

// tellJob answers with a job as JSON. What is read is marked by its content, so
// that who asks again need not read it again.
func (c *call) tellJob(status int, j job.Job) {
	h := c.w.Header()
	if !j.State.Ended() {
		h.Set("Retry-After", strconv.FormatInt(comeBack(j, time.Now()), 10))
	}
	if status != http.StatusOK || c.in.Method == http.MethodDelete {
		jobhttp.WriteJSON(c.w, status, j.Shown())
		return
	}
	text := append(jobhttp.Encode(j), '\n')
	sum := sha256.Sum256(text)
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("ETag", `"`+base64.RawURLEncoding.EncodeToString(sum[:12])+`"`)
	http.ServeContent(c.w, c.in, "", time.Time{}, bytes.NewReader(text))
}

// comeBack returns after how many seconds to ask again for a job that has not
// ended.
func comeBack(j job.Job, now time.Time) int64 {
	if j.NotBefore == nil {
		return 1
	}
	return wholeSeconds(j.NotBefore.Sub(now))
}

// replay answers with a stored response.
func (c *call) replay(j job.Job, r job.Response) {
	if r.Status < 200 || r.Status > 999 {
		c.fail(fmt.Errorf("the upstream answered with status %d, which is none", r.Status))
		return
	}
	fields := r.Header.Clone()
	removeHopByHop(fields)
	delete(fields, "Content-Length")
	h := c.w.Header()
	applied := h["Preference-Applied"] // by us; the upstream may have applied others
	maps.Copy(h, fields)
	if applied = append(applied, fields["Preference-Applied"]...); len(applied) > 0 {
		h["Preference-Applied"] = applied
	}
	h.Set(jobhttp.JobField, j.ID)
	if _, ok := h["Content-Type"]; !ok {
		h["Content-Type"] = nil // none, rather than net/http's guess
	}
	c.addQuota(h)
	if r.Status == http.StatusNoContent || r.Status == http.StatusNotModified {
		c.w.WriteHeader(r.Status)
		return
	}
	h.Set("Content-Length", strconv.Itoa(len(r.Body)))
	c.w.WriteHeader(r.Status)
	c.w.Write(r.Body) // a caller who has gone meanwhile
}

// standing says how a job stands, and why.
func standing(j job.Job) string {
	if j.Reason == "" {
		return string(j.State)
	}
	return string(j.State) + ": " + j.Reason
}

// acceptsEvents reports whether Accept names server-sent events.
func acceptsEvents(values []string) bool {
	for _, line := range values {
		for member := range strings.SplitSeq(line, ",") {
			if kind, _, err := mime.ParseMediaType(member); err == nil && kind == "text/event-stream" {
				return true
			}
		}
	}
	return false
}
