package redistest

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

const (
	// pollEvery is how often a server is asked whether it is ready.
	pollEvery = 5 * time.Millisecond

	// pollFor bounds the wait. The longest known is a failover whose first
	// election was split: the second starts after twice failoverTimeout.
	pollFor = 30 * time.Second
)

// poll calls probe until it returns nil, and gives up with its last error
// after pollFor, or at once when it returns errExited. Servers are processes
// of their own, out of reach of virtual time: this is the only wait by the
// clock.
func poll(probe func() error) error {
	deadline := time.Now().Add(pollFor)
	for {
		err := probe()
		switch {
		case err == nil || errors.Is(err, errExited):
			return err
		case time.Now().After(deadline):
			return fmt.Errorf("not ready after %v: %w", pollFor, err)
		}
		time.Sleep(pollEvery)
	}
}

// await polls and fails the test if the wait was in vain.
func await(tb testing.TB, what string, probe func() error) {
	tb.Helper()
	if err := poll(probe); err != nil {
		tb.Fatalf("%s: %v", what, err)
	}
}
