// Package worker runs stored jobs: it takes them from their store, sends them
// through the door, and stores what became of them.
//
// Each queue that has work gets a lane, with a pump that sends as many of its
// jobs as there are permits (package pump). What waits stays in the store: a
// lane takes a few jobs ahead of need, so that a backlog costs neither memory
// nor goroutines, and gives back at once what turns out to have to wait for
// long. A queue whose upstream is paused or dead sleeps and holds up no other.
//
// What the worker has taken is its own by a lease that it keeps renewing. While
// that is in doubt nothing more is sent. Which end a job comes to is settle's to
// say; what has been called is stored until the store says yes.
package worker

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/headgate/headgate"
	"github.com/headgate/headgate/internal/job"
	"github.com/headgate/headgate/internal/webhook"
)

// Door is the way to the upstreams; *headgate.Gate is one.
type Door interface {
	RoundTripper(upstream string) http.RoundTripper
}

// Callbacks is the way to who wants to be told; *webhook.Policy is one.
type Callbacks interface {
	// Transport returns the way to one host.
	Transport() http.RoundTripper
	// Sign adds to h what shows that a message is ours.
	Sign(h http.Header, id string, at time.Time, body []byte) error
}

var (
	_ Door      = (*headgate.Gate)(nil)
	_ Callbacks = (*webhook.Policy)(nil)
)

// Options are settings of a Worker. Store, Door and Name are required.
type Options struct {
	Store job.Queues
	Door  Door

	// Name tells this worker from all others of the store, those of other
	// processes and of earlier ones included. It has no slash.
	Name string

	// Attempts returns retry.attempts of an upstream as now configured, URL
	// its URL, and Weight the weight of a client. nil: 5, "" and 1.
	Attempts func(upstream string) int
	URL      func(upstream string) string
	Weight   func(client string) int

	Callbacks Callbacks      // nil: callbacks fail
	Retention time.Duration  // of what has ended; 0: job.Retention
	Random    func() float64 // uniform in [0, 1); nil: that of math/rand/v2
	Events    Events
}

// Events are called as jobs pass, with no lock held. Nil fields are skipped.
type Events struct {
	JobEnded     func(JobEnded)
	StoreChanged func(StoreChanged)
}

// JobEnded says what became of a job that was taken.
type JobEnded struct {
	ID, Upstream, Client string
	Kind                 job.Kind
	State                job.State // Waiting: it is to be taken again, after Delay
	Delay                time.Duration
	Attempts             int // since it was taken
	Reason               string
	// Err says why that could not be stored: job.ErrFenced, if the job was not
	// this worker's any more.
	Err error
}

// StoreChanged says that the store does not answer, or does again.
type StoreChanged struct {
	Err error // nil: it does
}

// Worker runs the jobs of one store.
type Worker struct {
	options Options
	leases  *leases
	lanes   lanes
	held    held

	// Set by Run, before there are lanes.
	taking, working, storing context.Context
}

// New returns a worker that does nothing until Run.
func New(o Options) *Worker {
	if o.Attempts == nil {
		o.Attempts = func(string) int { return defaultAttempts }
	}
	if o.URL == nil {
		o.URL = func(string) string { return "" }
	}
	if o.Weight == nil {
		o.Weight = func(string) int { return 1 }
	}
	if p, ok := o.Callbacks.(*webhook.Policy); ok && p == nil {
		o.Callbacks = nil
	}
	if o.Random == nil {
		o.Random = rand.Float64
	}
	w := &Worker{options: o, leases: newLeases(o.Store, o.Name, o.Events.StoreChanged)}
	w.lanes.init(w)
	w.held.init()
	return w
}

// defaultAttempts is the default of config.Retry.
const defaultAttempts = 5

// lastWords is how long results may still be stored once calls have been cut
// off.
const lastWords = 2 * time.Second

// Run works until taking ends. It then takes nothing more, gives back what has
// no permit, and lets calls that are on their way go on until working ends,
// which cuts them off. It returns when the last result has been stored and what
// is left has been given back; the error says that this could not be done: the
// store will find out by itself. A Worker runs once.
func (w *Worker) Run(taking, working context.Context) error {
	taking, stopTaking := context.WithCancelCause(taking)
	defer context.AfterFunc(working, func() { stopTaking(context.Cause(working)) })()
	defer stopTaking(nil)
	storing, stopStoring := context.WithCancel(context.WithoutCancel(working))
	defer stopStoring()
	defer context.AfterFunc(working, func() { time.AfterFunc(lastWords, stopStoring) })()
	keeping, stopKeeping := context.WithCancel(storing)
	defer stopKeeping()

	w.taking, w.working, w.storing = taking, working, storing
	var background sync.WaitGroup
	background.Go(func() { w.leases.run(keeping) })
	background.Go(func() { w.sweep(taking) })
	w.lanes.run()
	stopKeeping()
	background.Wait()

	leaving, done := context.WithTimeout(context.WithoutCancel(working), lastWords)
	defer done()
	if err := w.leases.leave(leaving); err != nil {
		return fmt.Errorf("give back jobs: %w", err)
	}
	return nil
}

// Hear takes notices of the store: what may be taken, and what is not wanted any
// more. It does not block.
func (w *Worker) Hear(n job.Notice) {
	switch n.State {
	case job.Waiting:
		w.lanes.ripe(n.Queue, n.Upstream)
	case job.Cancelled:
		w.held.cancel(n.ID)
	}
}

// sweep takes from dead workers what they held.
func (w *Worker) sweep(ctx context.Context) {
	for {
		next, err := w.options.Store.Sweep(ctx)
		if err != nil {
			next = atFault
		}
		if !pass(ctx, next) {
			return
		}
	}
}

// pass waits; it is false if ctx ends first.
func pass(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
