package stores

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/headgate/headgate/internal/job"
)

// lazy is a store in a file that is there already, or is made by the first job:
// who never stores one finds no file that nobody asked for.
type lazy struct {
	open   func() (job.Store, error)
	opened chan struct{} // closed once there is a store

	mu struct {
		sync.Mutex
		store  job.Store
		closed bool
	}
}

// newLazy returns the store that open opens, at once if the file at path is
// there. The error is why that could not be opened; the store can be used all the
// same, and tries again with each job.
func newLazy(path string, open func() (job.Store, error)) (*lazy, error) {
	l := &lazy{open: open, opened: make(chan struct{})}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return l, nil
	}
	_, err := l.need()
	return l, err
}

// need returns the store, which it opens if it must.
func (l *lazy) need() (job.Store, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.store != nil || l.mu.closed {
		return l.mu.store, nil
	}
	s, err := l.open()
	if err != nil {
		return nil, err
	}
	l.mu.store = s
	close(l.opened)
	return s, nil
}

// have returns the store, nil if there is none yet.
func (l *lazy) have() job.Store {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.store
}

func (l *lazy) Put(ctx context.Context, n job.New) (job.Job, bool, error) {
	s, err := l.need()
	if err != nil {
		return job.Job{}, false, errors.Join(job.ErrUnavailable, err)
	}
	if s == nil {
		return job.Job{}, false, job.ErrUnavailable
	}
	return s.Put(ctx, n)
}

func (l *lazy) Get(ctx context.Context, id string) (job.Job, error) {
	if s := l.have(); s != nil {
		return s.Get(ctx, id)
	}
	return job.Job{}, job.ErrNotFound
}

func (l *lazy) Response(ctx context.Context, id string) (job.Response, error) {
	if s := l.have(); s != nil {
		return s.Response(ctx, id)
	}
	return job.Response{}, job.ErrNotFound
}

func (l *lazy) List(ctx context.Context, f job.Filter) (job.Page, error) {
	if s := l.have(); s != nil {
		return s.List(ctx, f)
	}
	return job.Page{}, nil
}

func (l *lazy) Counts(ctx context.Context) (map[job.State]int64, error) {
	if s := l.have(); s != nil {
		return s.Counts(ctx)
	}
	counts := make(map[job.State]int64)
	for _, state := range job.States {
		counts[state] = 0
	}
	return counts, nil
}

func (l *lazy) Cancel(ctx context.Context, id, reason string, then func(job.Job) *job.New) (job.Job, error) {
	if s := l.have(); s != nil {
		return s.Cancel(ctx, id, reason, then)
	}
	return job.Job{}, job.ErrNotFound
}

func (l *lazy) Retry(ctx context.Context, id string) (job.Job, error) {
	if s := l.have(); s != nil {
		return s.Retry(ctx, id)
	}
	return job.Job{}, job.ErrNotFound
}

func (l *lazy) Purge(ctx context.Context, f job.Filter) (int, error) {
	if s := l.have(); s != nil {
		return s.Purge(ctx, f)
	}
	return 0, nil
}

func (l *lazy) Queues(ctx context.Context) ([]job.QueueStatus, error) {
	if s := l.have(); s != nil {
		return s.Queues(ctx)
	}
	return nil, nil
}

func (l *lazy) Take(ctx context.Context, worker, queue string, n int) ([]job.Taken, error) {
	if s := l.have(); s != nil {
		return s.Take(ctx, worker, queue, n)
	}
	return nil, nil
}

func (l *lazy) Start(ctx context.Context, r job.Ref) error {
	if s := l.have(); s != nil {
		return s.Start(ctx, r)
	}
	return job.ErrFenced
}

func (l *lazy) End(ctx context.Context, e job.End) error {
	if s := l.have(); s != nil {
		return s.End(ctx, e)
	}
	return job.ErrFenced
}

func (l *lazy) Keep(ctx context.Context, worker string) error {
	if s := l.have(); s != nil {
		return s.Keep(ctx, worker)
	}
	return nil
}

func (l *lazy) Leave(ctx context.Context, worker string) error {
	if s := l.have(); s != nil {
		return s.Leave(ctx, worker)
	}
	return nil
}

func (l *lazy) Sweep(ctx context.Context) (time.Duration, error) {
	if s := l.have(); s != nil {
		return s.Sweep(ctx)
	}
	return time.Second, nil
}

func (l *lazy) Run(ctx context.Context, hear func(job.Notice)) error {
	select {
	case <-l.opened:
		return l.have().Run(ctx, hear)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (l *lazy) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.closed = true
	if l.mu.store == nil {
		return nil
	}
	return l.mu.store.Close()
}
