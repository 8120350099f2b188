package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/headgate/headgate"
	"github.com/headgate/headgate/internal/job"
	"github.com/headgate/headgate/internal/jobhttp"
)

const (
	// laterPriority is that of calls that are to be answered later and say none:
	// those whose callers wait go first.
	laterPriority = 5

	// mostKey is how long an Idempotency-Key may be that is stored, in bytes.
	mostKey = 255

	// storePatience bounds each step of the store.
	storePatience = 10 * time.Second
)

// later is what a call asks for that is to be answered later.
type later struct {
	prefer   jobhttp.Prefer
	callback string // URL; "": none
	key      string // of idempotency; "": none
}

// readLater reads whether the call is to be answered later, and refuses what
// cannot be. A gateway without jobs passes Prefer on: it is a preference, and
// the upstream may honour it (RFC 7240, section 2).
func (c *call) readLater() error {
	h, opts := c.in.Header, c.gateway.opts
	prefer, callback := h["Prefer"], h["Headgate-Callback"]
	switch {
	case len(prefer) == 0 && len(callback) == 0:
		return nil
	case opts.Jobs == nil && len(callback) > 0:
		return badRequest("Headgate-Callback: no jobs are kept here; set jobs in the configuration")
	case opts.Jobs == nil:
		return nil
	}
	l := &later{prefer: jobhttp.ReadPrefer(prefer)}
	switch {
	case !l.prefer.Async && len(callback) > 0:
		return badRequest("Headgate-Callback: only a job has one; send Prefer: respond-async too")
	case !l.prefer.Async:
		return nil
	case upgradeType(h) != "":
		return badRequest("an upgrade cannot be answered later: leave out Prefer: respond-async")
	case c.in.ContentLength > c.route.mostLater():
		return tooLarge(c.route.mostLater())
	}
	if len(callback) > 0 {
		if err := c.checkCallback(callback); err != nil {
			return err
		}
		l.callback = callback[0]
	}
	if keys := h["Idempotency-Key"]; len(keys) > 0 {
		if len(keys) > 1 || keys[0] == "" || len(keys[0]) > mostKey {
			return badRequest("Idempotency-Key: want one, of 1 to %d bytes", mostKey)
		}
		l.key = keys[0]
	}
	c.later = l
	return nil
}

func (c *call) checkCallback(urls []string) error {
	switch callbacks := c.gateway.opts.Callbacks; {
	case callbacks == nil:
		return badRequest("Headgate-Callback: callbacks cannot be signed here; set callbacks.secret in the configuration")
	case len(urls) > 1:
		return badRequest("Headgate-Callback: want one URL")
	default:
		if err := callbacks.CheckURL(urls[0]); err != nil {
			return badRequest("Headgate-Callback: %v", err)
		}
	}
	return nil
}

// mostLater is how many bytes a body may have that is stored: what is kept for a
// retry, for a job may need one.
func (r *route) mostLater() int64 {
	if r.maxBody > 0 {
		return min(r.maxBody, r.kept)
	}
	return r.kept
}

// enqueue stores the call and answers it with its job, or with its response if
// the caller waits for that and it comes in time. From the store on, the job
// does not depend on its caller.
func (c *call) enqueue() {
	body, err := c.wholeBody()
	if err != nil {
		closeAfterReply(c.w)
		c.fail(err)
		return
	}
	ctx := c.in.Context()
	j, err := c.put(c.newJob(body))
	if err == nil {
		j, err = c.gateway.watch.Wait(ctx, j, c.later.prefer.Wait)
	}
	if err != nil {
		c.fail(err)
		return
	}
	c.later.prefer.SetApplied(c.w.Header())
	if j.State.Ended() && c.later.prefer.Wait > 0 {
		c.tellResult(j)
		return
	}
	h := c.w.Header()
	h.Set("Location", jobsPath+j.ID)
	c.addQuota(h)
	c.tellJob(http.StatusAccepted, j)
}

// wholeBody reads the body to its end.
func (c *call) wholeBody() ([]byte, error) {
	n, most := c.in.ContentLength, c.route.mostLater()
	if n == 0 || c.in.Body == nil || c.in.Body == http.NoBody {
		return nil, nil
	}
	var body []byte
	var err error
	if n > 0 {
		body, err = readShort(c.in.Body, n)
	} else {
		body, err = io.ReadAll(io.LimitReader(c.in.Body, most+1))
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", errBodyBroken, err)
	case int64(len(body)) > most:
		return nil, tooLarge(most)
	}
	return body, nil
}

// newJob makes the job of the call.
func (c *call) newJob(body []byte) job.New {
	j := job.Job{ID: job.NewID(time.Now()), Kind: job.Call, Upstream: c.route.upstream, Callback: c.later.callback}
	credential := ""
	if c.route.passes {
		credential = headgate.PassedCredential(c.in.Header)
	}
	if c.client != nil {
		j.Client = c.client.caller.Name
	}
	j.Queue = job.Queue(j.Upstream, j.Client, credential)
	j.Priority = c.laterPriority()
	target := c.targetURL()
	r := job.Request{Method: c.in.Method, Path: target.RequestURI(), Header: c.laterHeader(j.Priority), Body: body}
	if c.later.key != "" {
		j.Key, j.Fingerprint = c.later.key, job.Fingerprint(j.Upstream, r)
		if credential != "" { // callers told apart by nothing else have keys of their own too
			j.Key = job.Queue("", "", credential) + "/" + j.Key
		}
	}
	return job.New{Job: j, Request: r}
}

// laterPriority is that of the job: a caller who says nothing can wait, and one
// who does may have what its client may have.
func (c *call) laterPriority() int {
	priority, _ := readPriority(c.in.Header["Priority"])
	if priority < 0 {
		priority = laterPriority
	}
	if c.client != nil {
		priority = max(priority, c.client.caller.Priority)
	}
	return priority
}

// laterHeader returns the fields that are stored: those that would be sent now,
// but for what bounded the caller's own wait or speaks of the connection.
func (c *call) laterHeader(priority int) http.Header {
	h := c.in.Header
	removeHopByHop(h)
	for name := range h {
		if strings.HasPrefix(name, "Headgate-") && name != "Headgate-Cost" {
			delete(h, name)
		}
	}
	for _, name := range []string{"Expect", "Content-Length", "X-Stainless-Timeout", "Prefer"} {
		delete(h, name)
	}
	if rest := c.later.prefer.Rest; len(rest) > 0 {
		h["Prefer"] = []string{strings.Join(rest, ", ")}
	}
	if _, ok := h["User-Agent"]; !ok {
		h["User-Agent"] = []string{""} // none, rather than net/http's
	}
	if c.client != nil && len(h["Priority"]) > 0 {
		_, incremental := readPriority(h["Priority"])
		h["Priority"] = []string{writePriority(priority, incremental)}
	}
	return h
}

// put stores a job, or returns the one that its key stands for.
func (c *call) put(n job.New) (job.Job, error) {
	ctx, cancel := context.WithTimeout(c.in.Context(), storePatience)
	defer cancel()
	j, _, err := c.gateway.opts.Jobs.Put(ctx, n)
	return j, storeFault(err)
}

// storeFault has every error of the store be of one of its kinds.
func storeFault(err error) error {
	if err == nil {
		return nil
	}
	for _, kind := range []error{
		job.ErrNotFound, job.ErrOtherCall, job.ErrEnded, job.ErrNotEnded, job.ErrNoResponse, job.ErrFull, job.ErrUnavailable,
	} {
		if errors.Is(err, kind) {
			return err
		}
	}
	return fmt.Errorf("%w: %w", job.ErrUnavailable, err)
}
