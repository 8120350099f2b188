package jobhttp

import (
	"context"
	"errors"
	"reflect"
	"sync"
	"time"

	"github.com/headgate/headgate/internal/job"
)

// askAgain is after how long the store is asked although nothing was heard: a
// notice may have been lost.
const askAgain = 2 * time.Second

// Watch lets requests wait for what happens to jobs. One that waits costs a map
// entry and a timer. Safe for use by many goroutines.
type Watch struct {
	records job.Records
	stop    func()
	stopped chan struct{}

	mu struct {
		sync.Mutex
		waiters map[string]map[*waiter]struct{} // by the job's ID
	}
}

// waiter is one that waits for a job.
type waiter struct {
	told  chan struct{} // has room for one
	steps bool          // wants to hear of each, not only of the end
}

// NewWatch returns a watch of the jobs in a store.
func NewWatch(records job.Records) *Watch {
	w := &Watch{records: records, stopped: make(chan struct{})}
	w.stop = sync.OnceFunc(func() { close(w.stopped) })
	w.mu.waiters = make(map[string]map[*waiter]struct{})
	return w
}

// Hear wakes those that wait for the job that n tells of. It does not block.
func (w *Watch) Hear(n job.Notice) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for x := range w.mu.waiters[n.ID] {
		if !x.steps && !n.State.Ended() {
			continue
		}
		select {
		case x.told <- struct{}{}:
		default:
		}
	}
}

// Stop ends all waits, those to come too. It may be called again.
func (w *Watch) Stop() { w.stop() }

// Waiting returns how many wait now.
func (w *Watch) Waiting() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, waiters := range w.mu.waiters {
		n += len(waiters)
	}
	return n
}

// Wait returns j as it stands when it has ended, and at the latest after atMost
// or when w stops. The error is the cause of ctx, or job.ErrNotFound if j has
// been deleted meanwhile. A store that is away is waited for.
func (w *Watch) Wait(ctx context.Context, j job.Job, atMost time.Duration) (job.Job, error) {
	if j.State.Ended() || atMost <= 0 {
		return j, nil
	}
	limit := time.NewTimer(atMost)
	defer limit.Stop()
	last := j
	err := w.each(ctx, j.ID, false, limit.C, func(now job.Job) error {
		last = now
		return nil
	})
	return last, err
}

// Follow tells of j as it stands, and again at least every two seconds: changed
// says whether it stands differently then. It returns when j has ended, when w
// stops, with the error of tell, or as Wait does.
func (w *Watch) Follow(ctx context.Context, j job.Job, tell func(j job.Job, changed bool) error) error {
	if err := tell(j, true); err != nil || j.State.Ended() {
		return err
	}
	last := j
	return w.each(ctx, j.ID, true, nil, func(now job.Job) error {
		changed := !reflect.DeepEqual(now, last)
		last = now
		return tell(now, changed)
	})
}

// each gets a job now, when something was heard of it and every askAgain, until
// it has ended, limit comes or w stops.
func (w *Watch) each(ctx context.Context, id string, steps bool, limit <-chan time.Time, do func(job.Job) error) error {
	x := w.enter(id, steps)
	defer w.leave(id, x)
	again := time.NewTicker(askAgain)
	defer again.Stop()
	for {
		j, err := w.get(ctx, id)
		switch {
		case errors.Is(err, job.ErrNotFound):
			return err
		case err == nil:
			if err := do(j); err != nil || j.State.Ended() {
				return err
			}
		}
		select {
		case <-x.told:
		case <-again.C:
		case <-limit:
			return nil
		case <-w.stopped:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// get asks the store, but no longer than until it is to be asked again.
func (w *Watch) get(ctx context.Context, id string) (job.Job, error) {
	ctx, cancel := context.WithTimeout(ctx, askAgain)
	defer cancel()
	return w.records.Get(ctx, id)
}

func (w *Watch) enter(id string, steps bool) *waiter {
	x := &waiter{told: make(chan struct{}, 1), steps: steps}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.mu.waiters[id] == nil {
		w.mu.waiters[id] = make(map[*waiter]struct{}, 1)
	}
	w.mu.waiters[id][x] = struct{}{}
	return x
}

func (w *Watch) leave(id string, x *waiter) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.mu.waiters[id], x)
	if len(w.mu.waiters[id]) == 0 {
		delete(w.mu.waiters, id)
	}
}
