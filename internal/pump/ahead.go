package pump

import (
	"context"
	"sync"
	"time"
)

// How long items ahead of their permits should wait, and how many there may be.
// A store answers within a few milliseconds, and the line should not run dry in
// the meantime; what waits for long ages towards the urgent.
const (
	shortWait  = 50 * time.Millisecond
	longWait   = time.Second
	aheadFirst = 8
	aheadMost  = 256
)

// ahead bounds the items that have been taken and have no permit yet.
type ahead struct {
	most    int           // items in all
	changed chan struct{} // told when another may enter; has room for one

	mu struct {
		sync.Mutex
		target  int // of items without a permit
		without int
		items   int
	}
}

func newAhead(most int) *ahead {
	a := &ahead{most: most, changed: make(chan struct{}, 1)}
	a.mu.target = aheadFirst
	return a
}

// enter waits until another item may be taken. One goroutine at a time may.
func (a *ahead) enter(ctx context.Context) error {
	for {
		a.mu.Lock()
		if err := ctx.Err(); err != nil {
			a.mu.Unlock()
			return context.Cause(ctx)
		}
		if a.mu.without < a.mu.target && a.mu.items < a.most {
			a.mu.without++
			a.mu.items++
			a.mu.Unlock()
			return nil
		}
		a.mu.Unlock()
		select {
		case <-a.changed:
		case <-ctx.Done():
		}
	}
}

// admitted notes that an item got its permit after a wait in line.
func (a *ahead) admitted(waited time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	full := a.mu.without >= a.mu.target
	switch {
	case waited > longWait:
		a.mu.target = max(a.mu.target/2, 1)
	case waited < shortWait && full:
		a.mu.target = min(a.mu.target+1, aheadMost)
	}
	a.mu.without--
	a.wake()
}

// leave notes that an item is gone, and whether it never had a permit.
func (a *ahead) leave(without bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.mu.items--
	if without {
		a.mu.without--
	}
	a.wake()
}

func (a *ahead) wake() {
	select {
	case a.changed <- struct{}{}:
	default:
	}
}
