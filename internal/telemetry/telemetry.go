// Package telemetry makes log lines and metrics of what the door and the worker
// tell: a line for each decision that an operator may question, a number for the
// rest. Where the environment asks for traces, it has them delivered.
//
// It watches and never decides. What is served, and where, is the business of
// packages admin and daemon.
package telemetry

import (
	"github.com/headgate/headgate"
	"github.com/headgate/headgate/internal/worker"
)

// Tee returns events that are told to each of all, in their order. What none
// of them asks for stays nil, so that the door skips it.
func Tee(all ...headgate.Events) headgate.Events {
	var t headgate.Events
	for _, e := range all {
		t.CallEnded = both(t.CallEnded, e.CallEnded)
		t.AttemptEnded = both(t.AttemptEnded, e.AttemptEnded)
		t.Waited = both(t.Waited, e.Waited)
		t.Retried = both(t.Retried, e.Retried)
		t.Paused = both(t.Paused, e.Paused)
		t.BreakerChanged = both(t.BreakerChanged, e.BreakerChanged)
		t.LimitLearned = both(t.LimitLearned, e.LimitLearned)
		t.StoreChanged = both(t.StoreChanged, e.StoreChanged)
		t.Synced = both(t.Synced, e.Synced)
	}
	return t
}

// TeeJobs is Tee for the events of jobs.
func TeeJobs(all ...worker.Events) worker.Events {
	var t worker.Events
	for _, e := range all {
		t.JobEnded = both(t.JobEnded, e.JobEnded)
		t.StoreChanged = both(t.StoreChanged, e.StoreChanged)
	}
	return t
}

func both[E any](a, b func(E)) func(E) {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	return func(e E) { a(e); b(e) }
}
