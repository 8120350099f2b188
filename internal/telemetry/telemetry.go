// Package telemetry makes log lines and metrics of what the door tells: a line
// for each decision that an operator may question, a number for the rest.
//
// It watches and never decides. What is served, and where, is the business of
// packages admin and daemon.
package telemetry

import "github.com/headgate/headgate"

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

func both[E any](a, b func(E)) func(E) {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	return func(e E) { a(e); b(e) }
}
