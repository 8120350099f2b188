package worker

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/headgate/headgate/internal/job"
)

// keepEvery is how often leases are renewed. Two times may fail before one
// lapses.
const keepEvery = time.Second

// errLease is why a job is not sent: it may be another's by now.
var errLease = errors.New("the worker's lease has lapsed")

// lease is a name under which jobs are taken, and the time for which the store
// leaves them to us.
//
// A Take that fails may have been done all the same: the store then holds jobs
// for us that we do not know of, and as long as the name is kept nobody gets
// them. So the name is retired: it is kept as long as we know of jobs under it,
// and then left, which gives back all others.
type lease struct {
	name  string
	until atomic.Int64 // since leases.epoch; 0: the store has not heard of it yet
	uses  atomic.Int64 // jobs that we hold under it, and Takes under way
}

// leases renews what the worker holds. One goroutine asks the store.
type leases struct {
	store   job.Queues
	worker  string
	changed func(StoreChanged) // may be nil
	epoch   time.Time          // moments are counted from it by the monotonic clock
	renew   chan struct{}      // asks for a round at once; has room for one
	away    bool               // the store; of the goroutine that keeps

	mu struct {
		sync.Mutex
		made    int
		current *lease
		granted chan struct{} // closed when current has come into force
		retired []*lease
	}
}

func newLeases(store job.Queues, worker string, changed func(StoreChanged)) *leases {
	l := &leases{store: store, worker: worker, changed: changed, epoch: time.Now(), renew: make(chan struct{}, 1)}
	l.nextLocked()
	return l
}

// nextLocked begins a lease under a new name.
func (l *leases) nextLocked() {
	l.mu.made++
	l.mu.current = &lease{name: l.worker + "/" + strconv.Itoa(l.mu.made)}
	l.mu.granted = make(chan struct{})
}

// inForce says whether what was taken under a lease is ours for certain.
func (l *leases) inForce(x *lease) bool {
	return int64(time.Since(l.epoch)) < x.until.Load()
}

// use waits for a lease that is in force. It is the caller's until let go.
func (l *leases) use(ctx context.Context) (*lease, error) {
	for {
		l.mu.Lock()
		x, granted := l.mu.current, l.mu.granted
		x.uses.Add(1)
		l.mu.Unlock()
		if l.inForce(x) {
			return x, nil
		}
		x.uses.Add(-1)
		if x.until.Load() != 0 {
			l.retire(x)
			continue
		}
		select {
		case <-granted:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// retire takes nothing more under a lease, and has a new one begin.
func (l *leases) retire(x *lease) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.current != x {
		return
	}
	l.mu.retired = append(l.mu.retired, x)
	l.nextLocked()
	select {
	case l.renew <- struct{}{}:
	default:
	}
}

// run keeps the leases until ctx ends.
func (l *leases) run(ctx context.Context) {
	timer := time.NewTimer(keepEvery)
	defer timer.Stop()
	for {
		l.round(ctx)
		timer.Reset(keepEvery)
		select {
		case <-timer.C:
		case <-l.renew:
		case <-ctx.Done():
			return
		}
	}
}

// round renews all leases once, and leaves those that nobody needs.
func (l *leases) round(ctx context.Context) {
	l.mu.Lock()
	x, granted := l.mu.current, l.mu.granted
	retired := append([]*lease(nil), l.mu.retired...)
	l.mu.Unlock()
	if x.until.Load() != 0 && !l.inForce(x) {
		l.retire(x)
		return // and come again for the next one
	}
	began := time.Since(l.epoch)
	ctx, cancel := context.WithTimeout(ctx, job.LeaseFor) // what hangs for longer has failed
	defer cancel()
	err := l.store.Keep(ctx, x.name)
	if err == nil {
		if first := x.until.Swap(int64(began+job.LeaseFor)) == 0; first {
			close(granted)
		}
	}
	l.tell(err)
	for _, x := range retired {
		if x.uses.Load() > 0 {
			began := time.Since(l.epoch)
			// One that had lapsed is not in force any more, though it be kept:
			// what was not sent under it may have been given to another.
			if lapsed := !l.inForce(x); l.store.Keep(ctx, x.name) == nil && !lapsed {
				x.until.Store(int64(began + job.LeaseFor))
			}
		} else if l.store.Leave(ctx, x.name) == nil {
			l.forget(x)
		}
	}
}

func (l *leases) forget(x *lease) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, r := range l.mu.retired {
		if r == x {
			l.mu.retired = append(l.mu.retired[:i], l.mu.retired[i+1:]...)
			return
		}
	}
}

// tell says when the store goes and comes.
func (l *leases) tell(err error) {
	away := err != nil
	if away == l.away || errors.Is(err, context.Canceled) {
		return
	}
	l.away = away
	if l.changed != nil {
		l.changed(StoreChanged{Err: err})
	}
}

// leave gives back what is left under all names.
func (l *leases) leave(ctx context.Context) error {
	l.mu.Lock()
	all := append([]*lease{l.mu.current}, l.mu.retired...)
	l.mu.Unlock()
	var errs []error
	for _, x := range all {
		if x.until.Load() != 0 {
			errs = append(errs, l.store.Leave(ctx, x.name))
		}
	}
	return errors.Join(errs...)
}
