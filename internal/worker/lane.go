package worker

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/headgate/headgate"
	"github.com/headgate/headgate/internal/job"
	"github.com/headgate/headgate/internal/pump"
)

// How many jobs a lane takes at once. A Take costs the store about as much for
// many as for one, but what is taken is held: what a lane took should be on its
// way after batchShort, and none be held for longer than batchLong.
const (
	batchMost  = 256
	batchShort = 20 * time.Millisecond
	batchLong  = 200 * time.Millisecond
)

// How long a queue is left alone that cannot be taken from, because the store
// fails or because the worker holds all that it may.
const (
	atFault   = time.Second
	whileFull = 50 * time.Millisecond
)

// lane works on one queue. It is the feed of its pump, and belongs to one
// goroutine but for what is guarded.
type lane struct {
	worker   *Worker
	queue    string
	upstream string
	began    time.Time
	woken    chan struct{} // there may be work; has room for one
	idle     bool          // guarded by lanes.mu

	size    int // of the next batch
	tookAt  time.Time
	drained bool // the last Take brought less than it asked for

	mu struct {
		sync.Mutex
		batch []*item // taken, not handed to the pump yet
	}
}

func newLane(w *Worker, queue, upstream string, now time.Time) *lane {
	return &lane{worker: w, queue: queue, upstream: upstream, began: now, woken: make(chan struct{}, 1), size: 1}
}

// wake says that there may be work.
func (l *lane) wake() {
	select {
	case l.woken <- struct{}{}:
	default:
	}
}

// run works until there is nothing to do, or others are to have the room.
func (l *lane) run() {
	w := l.worker
	defer w.lanes.close(l, false)
	first, err := l.next(w.taking)
	if err != nil {
		return
	}
	l.put(append([]*item{first}, l.unsent()...))
	// When taking ends, what is not in the pump yet goes back at once, though
	// the pump waits for calls that are on their way.
	gaveBack := make(chan struct{})
	stop := context.AfterFunc(w.taking, func() {
		defer close(gaveBack)
		l.giveBack(0)
	})
	pump.New(l.way(first.taken.Job), pump.Options{Caller: headgate.Caller{
		Name:   first.taken.Job.Client,
		Weight: w.options.Weight(first.taken.Job.Client),
	}}).Run(w.taking, w.working, l)
	if !stop() {
		<-gaveBack
	}
}

// way returns the way on which the lane's jobs are sent; all are of one kind.
func (l *lane) way(j job.Job) http.RoundTripper {
	switch {
	case j.Kind != job.Callback:
		return l.worker.options.Door.RoundTripper(j.Upstream)
	case l.worker.options.Callbacks == nil:
		return nil // its jobs do not come to be sent
	default:
		return l.worker.options.Callbacks.Transport()
	}
}

// Next is as in pump.Feed.
func (l *lane) Next(ctx context.Context) (pump.Item, error) {
	x, err := l.next(ctx)
	if err != nil {
		return nil, err // and not an item that is nil
	}
	return x, nil
}

func (l *lane) next(ctx context.Context) (*item, error) {
	lanes := &l.worker.lanes
	for {
		if s := lanes.asleep(l.queue); s.holds(time.Now()) && !l.hasBefore(s.priority) {
			l.giveBack(time.Until(s.until))
			lanes.close(l, false)
			return nil, io.EOF
		}
		if x := l.pop(); x != nil {
			return x, nil
		}
		if lanes.yields(l, false) {
			lanes.close(l, true)
			return nil, io.EOF
		}
		n, err := l.take(ctx)
		if err != nil {
			rest := atFault
			if errors.Is(err, errFull) {
				rest = whileFull
			}
			if ctx.Err() == nil {
				lanes.sleep(l.queue, sleep{time.Now().Add(rest), mostUrgent})
			}
			lanes.close(l, false)
			return nil, io.EOF
		}
		if n == 0 && !l.wait(ctx) {
			return nil, io.EOF
		}
	}
}

// wait waits for work. If there is none for long, or others are to have the
// room, it closes the lane and is false.
func (l *lane) wait(ctx context.Context) bool {
	lanes := &l.worker.lanes
	if lanes.yields(l, true) {
		lanes.close(l, false)
		return false
	}
	timer := time.NewTimer(linger)
	defer timer.Stop()
	select {
	case <-l.woken:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	lanes.close(l, false)
	return false
}

// take takes the next batch, and returns of how many.
func (l *lane) take(ctx context.Context) (int, error) {
	w := l.worker
	switch held := time.Since(l.tookAt); {
	case l.tookAt.IsZero():
	case held > batchLong:
		l.size = max(l.size/2, 1)
	case held < batchShort && !l.drained:
		l.size = min(2*l.size, batchMost)
	}
	n := w.held.room(l.size)
	if n == 0 {
		return 0, errFull
	}
	lease, err := w.leases.use(ctx)
	if err != nil {
		return 0, err
	}
	defer lease.uses.Add(-1)
	taken, err := w.options.Store.Take(w.storing, lease.name, l.queue, n)
	if err != nil {
		w.leases.retire(lease)
		return 0, err
	}
	batch := make([]*item, len(taken))
	for i := range taken {
		batch[i] = newItem(l, lease, &taken[i])
	}
	w.held.add(batch)
	l.put(batch)
	if ctx.Err() != nil {
		l.giveBack(0)
	}
	l.tookAt, l.drained = time.Now(), len(taken) < n
	return len(taken), nil
}

func (l *lane) put(batch []*item) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.batch = batch
}

// pop returns the next job, nil if none is left.
func (l *lane) pop() *item {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.mu.batch) == 0 {
		return nil
	}
	x := l.mu.batch[0]
	l.mu.batch = l.mu.batch[1:]
	return x
}

// hasBefore says whether the next job of the batch is more urgent than some are.
func (l *lane) hasBefore(priority int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.mu.batch) > 0 && l.mu.batch[0].Priority() < priority
}

// unsent returns what is left of the batch, for somebody else to care for.
func (l *lane) unsent() []*item {
	l.mu.Lock()
	defer l.mu.Unlock()
	batch := l.mu.batch
	l.mu.batch = nil
	return batch
}

// giveBack has what was not sent wait again, for a while.
func (l *lane) giveBack(delay time.Duration) {
	for _, x := range l.unsent() {
		l.worker.lanes.running.Go(func() { x.giveBack(delay) }) // together, so that the store can group them
	}
}
