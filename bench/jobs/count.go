//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// storeAll has callers store n jobs between them.
func storeAll(ctx context.Context, one system, callers, n int, body []byte) error {
	var next atomic.Int64
	errs := make([]error, callers)
	var running sync.WaitGroup
	for i := range callers {
		running.Go(func() {
			for next.Add(1) <= int64(n) && errs[i] == nil {
				errs[i] = one.put(ctx, body)
			}
		})
	}
	running.Wait()
	return errors.Join(errs...)
}

// counter counts what has ended.
type counter struct {
	n       atomic.Int64
	changed chan struct{} // has room for one
}

func newCounter() *counter { return &counter{changed: make(chan struct{}, 1)} }

func (c *counter) add() {
	c.n.Add(1)
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

// await returns when n have ended. It gives up when none has for 10 s.
func (c *counter) await(ctx context.Context, n int) error {
	const patience = 10 * time.Second
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for c.n.Load() < int64(n) {
		select {
		case <-c.changed:
			timer.Reset(patience)
		case <-timer.C:
			return fmt.Errorf("%d of %d jobs have ended, and none for %v", c.n.Load(), n, patience)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}
