package daemon

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/headgate/headgate"
	"github.com/headgate/headgate/config"
	"github.com/headgate/headgate/internal/job"
	"github.com/headgate/headgate/internal/stores"
	"github.com/headgate/headgate/internal/webhook"
	"github.com/headgate/headgate/internal/worker"
)

// jobs are what a daemon needs to keep calls and to run them later.
type jobs struct {
	store   job.Store
	worker  *worker.Worker
	running sync.WaitGroup

	stopTaking, stopWorking, stopHearing context.CancelCauseFunc
	worked                               chan struct{} // closed once the worker has ended
}

// openJobs opens the store of jobs and what runs them; nil if none are kept. What
// the store knows of the last process the gate is told. events are told of the
// jobs that are run.
func (d *daemon) openJobs(ctx context.Context, events worker.Events) (*jobs, error) {
	store, err := stores.Jobs(d.loaded)
	if store == nil {
		return nil, err
	}
	if err != nil { // of a file that nobody named
		d.log.Warn("jobs are not kept until their file can be opened", "error", err)
	}
	replay(ctx, d.gate, store, d.config)
	j := &jobs{store: store, worked: make(chan struct{})}
	o := worker.Options{
		Store:     store,
		Door:      d.gate,
		Name:      instanceName(),
		Attempts:  func(upstream string) int { return d.upstream(upstream).Retry.Attempts },
		URL:       func(upstream string) string { return d.upstream(upstream).URL },
		Weight:    d.weight,
		Retention: time.Duration(d.config.Retention),
		Events:    events,
	}
	if p := callbackPolicy(d.config); p != nil {
		o.Callbacks = p
	}
	j.worker = worker.New(o)
	return j, nil
}

// callbackPolicy returns how callbacks are sent; nil if there are none.
func callbackPolicy(cfg config.Config) *webhook.Policy {
	if cfg.Callbacks.Secret.IsZero() {
		return nil
	}
	return &webhook.Policy{Secret: cfg.Callbacks.Secret, Allow: cfg.Callbacks.Allowed()}
}

// instanceName tells this process from all others that there are or were.
func instanceName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%s-%d-%s", strings.ReplaceAll(host, "/", "-"), os.Getpid(), strings.ToLower(rand.Text()[:6]))
}

// weight returns that of a client's calls.
func (d *daemon) weight(client string) int {
	for _, c := range d.inForce.Load().Clients {
		if c.Name == client {
			return c.Weight
		}
	}
	return 1
}

// start runs the jobs. hear is told of all that happens to them.
func (j *jobs) start(hear func(job.Notice), failed func(error)) {
	taking, stopTaking := context.WithCancelCause(context.Background())
	working, stopWorking := context.WithCancelCause(context.Background())
	hearing, stopHearing := context.WithCancelCause(context.Background())
	j.stopTaking, j.stopWorking, j.stopHearing = stopTaking, stopWorking, stopHearing
	j.running.Go(func() { _ = j.store.Run(hearing, hear) }) // the cause of hearing
	j.running.Go(func() {
		defer close(j.worked)
		if err := j.worker.Run(taking, working); err != nil {
			failed(err)
		}
	})
}

// stop lets no more jobs begin, and waits for those that run until ctx ends.
func (j *jobs) stop(ctx context.Context) {
	if j.stopTaking == nil {
		return // it has not been started
	}
	j.stopTaking(headgate.ErrClosed)
	select {
	case <-j.worked:
	case <-ctx.Done():
		j.stopWorking(headgate.ErrClosed)
		<-j.worked
	}
	j.stopHearing(headgate.ErrClosed)
	j.running.Wait()
}

func (j *jobs) close() error { return j.store.Close() }
