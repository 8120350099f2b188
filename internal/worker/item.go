package worker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/headgate/headgate/internal/job"
	"github.com/headgate/headgate/internal/pump"
)

// maxWait is how long a job may stand in line. What would have to wait for
// longer waits in the store, where it costs nothing.
const maxWait = "30s"

// startAfter is how long after its permit the store is told that a job runs. It
// is told on the side, so that no permit waits for it; and a call that is over
// by then ends without having been marked, which saves the store a write. A
// worker that dies within these moments leaves the job as one that did not run:
// it is run again as any other, but the loss is not counted.
const startAfter = 2 * time.Millisecond

var errNoCallbacks = errors.New("callbacks are not configured: callbacks.secret is missing")

// item is a job that the worker holds.
type item struct {
	worker *Worker
	lane   *lane
	lease  *lease
	taken  *job.Taken

	starting *time.Timer
	started  chan struct{} // closed when the store has been told, if it was to be

	// Guarded by held.mu.
	cutOff context.CancelCauseFunc
	gone   error // why the job is not the worker's any more
}

func newItem(l *lane, x *lease, t *job.Taken) *item {
	x.uses.Add(1)
	return &item{worker: l.worker, lane: l, lease: x, taken: t}
}

// Priority is as in pump.Steered.
func (x *item) Priority() int { return x.taken.Job.Priority }

// CutOff is as in pump.Steered.
func (x *item) CutOff(cancel context.CancelCauseFunc) { x.worker.held.steer(x, cancel) }

// Request is as in pump.Item.
func (x *item) Request() (*http.Request, error) {
	j, r := &x.taken.Job, &x.taken.Request
	if j.Losses >= job.MostLosses {
		return nil, fmt.Errorf("lost %d times with the worker that ran it", j.Losses)
	}
	callback := j.Kind == job.Callback
	if callback && x.worker.options.Callbacks == nil {
		return nil, errNoCallbacks
	}
	header := header(j, r.Header)
	if j.Location != "" {
		for _, field := range ofBody {
			delete(header, field)
		}
		return request(http.MethodGet, j.Location, header, nil, url.ParseRequestURI)
	}
	if !callback {
		return request(r.Method, r.Path, header, r.Body, url.ParseRequestURI)
	}
	if err := x.worker.options.Callbacks.Sign(header, j.ID, time.Now(), r.Body); err != nil {
		return nil, err
	}
	return request(r.Method, r.Path, header, r.Body, url.Parse)
}

// ofBody are fields that a request without its body does not have.
var ofBody = [...]string{"Content-Type", "Content-Encoding", "Content-Language", "Content-Length", "Idempotency-Key"}

// header returns the fields to be sent, for the door and for the upstream. What
// a client wrote of its patience or its urgency was about a call that it waits
// for.
func header(j *job.Job, stored http.Header) http.Header {
	h := make(http.Header, len(stored)+1)
	maps.Copy(h, stored)
	h["Headgate-Max-Wait"] = []string{maxWait}
	delete(h, "X-Stainless-Timeout")
	if _, has := h["Priority"]; has {
		h["Priority"] = []string{"u=" + strconv.Itoa(j.Priority)}
	}
	return h
}

func request(method, target string, h http.Header, body []byte, parse func(string) (*url.URL, error)) (*http.Request, error) {
	u, err := parse(target)
	if err != nil {
		return nil, fmt.Errorf("the job's path cannot be sent: %w", err)
	}
	req := &http.Request{Method: method, URL: u, Header: h, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}
	if len(body) > 0 {
		req.ContentLength = int64(len(body))
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
		req.Body, _ = req.GetBody()
	}
	return req, nil
}

// Started is as in pump.Item.
func (x *item) Started() error {
	if err := x.worker.held.whyGone(x); err != nil {
		return err
	}
	if !x.worker.leases.inForce(x.lease) {
		return errLease
	}
	x.started = make(chan struct{})
	x.starting = time.AfterFunc(startAfter, x.start)
	return nil
}

func (x *item) start() {
	defer close(x.started)
	err := x.worker.options.Store.Start(x.worker.storing, x.taken.Ref)
	if errors.Is(err, job.ErrFenced) {
		x.worker.held.lose(x, err)
	}
}

// startOver waits until the store is not being told any more that the job runs.
func (x *item) startOver() {
	if x.starting != nil && !x.starting.Stop() {
		<-x.started
	}
}

// Ended is as in pump.Item.
func (x *item) Ended(r pump.Result) {
	x.startOver()
	w := x.worker
	gone := w.held.whyGone(x)
	f := w.settle(&x.taken.Job, r, time.Now())
	if f.rest > 0 {
		w.lanes.sleep(x.lane.queue, sleep{time.Now().Add(f.rest), x.Priority()})
	}
	switch {
	case errors.Is(gone, errCancelled): // the store has its end already
		x.done(job.End{State: job.Cancelled, Attempts: f.Attempts}, nil)
	case gone != nil:
		x.done(f.End, gone)
	default:
		x.end(f.End)
	}
}

// giveBack has the job wait again, as it was but for a delay.
func (x *item) giveBack(delay time.Duration) {
	x.end(job.End{State: job.Waiting, Delay: delay, Reason: x.taken.Job.Reason})
}

// Waits between tries to store what became of a job.
const (
	storeAgain     = 20 * time.Millisecond
	storeAgainMost = time.Second

	// storeMost is how often an end is tried that the store does not take for a
	// reason of its own: then the job fails without an answer.
	storeMost = 10
)

// end stores what became of the job. While the store is away it tries again,
// until the worker has to stop: what has been called must not be forgotten.
func (x *item) end(e job.End) {
	e.Ref = x.taken.Ref
	w := x.worker
	var err error
	pause := storeAgain
	for n := 1; ; n++ {
		err = w.options.Store.End(w.storing, e)
		if err == nil || errors.Is(err, job.ErrFenced) || errors.Is(err, job.ErrNotFound) {
			break
		}
		if n == storeMost && !errors.Is(err, job.ErrUnavailable) && !errors.Is(err, job.ErrFull) {
			e.State, e.Response, e.Then = job.Failed, nil, nil
			e.Reason = "what became of it could not be stored: " + err.Error()
		}
		if !pass(w.storing, pause/2+time.Duration(w.options.Random()*float64(pause/2))) {
			break
		}
		pause = min(2*pause, storeAgainMost)
	}
	if err == nil && e.State == job.Waiting && e.Delay > 0 {
		w.lanes.lookBy(time.Now().Add(e.Delay))
	}
	x.done(e, err)
}

// done lets go of the job and tells of it.
func (x *item) done(e job.End, err error) {
	w := x.worker
	w.held.remove(x)
	x.lease.uses.Add(-1)
	if w.options.Events.JobEnded == nil {
		return
	}
	j := &x.taken.Job
	w.options.Events.JobEnded(JobEnded{
		ID: j.ID, Upstream: j.Upstream, Client: j.Client, Kind: j.Kind, State: e.State, Delay: e.Delay,
		Attempts: len(e.Attempts), Reason: e.Reason, Err: err,
	})
}
