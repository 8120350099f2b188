package ledger

import "time"

// latency bounds the constant part of the way to the upstream by the fastest
// answer of late. It cancels out where windows slide, but not at the boundaries
// of an upstream's clock: an attempt that is written before one may arrive
// after it, every time.
type latency struct {
	fastest, before time.Duration // in this span and in the one before; 0: no answer
	ends            time.Time
}

// latencySpan is how long the fastest answer is remembered, at least.
const latencySpan = time.Minute

// heard is told how long an attempt took from written to answered.
func (l *latency) heard(now time.Time, took time.Duration) {
	if now.After(l.ends) {
		l.before, l.fastest, l.ends = l.fastest, 0, now.Add(latencySpan)
	}
	took = max(took, 1)
	if l.fastest == 0 || took < l.fastest {
		l.fastest = took
	}
}

// most returns what the constant part of the way can be at most. It is false
// while nothing is known.
func (l *latency) most() (time.Duration, bool) {
	switch {
	case l.before == 0 || l.fastest != 0 && l.fastest < l.before:
		return l.fastest, l.fastest != 0
	default:
		return l.before, true
	}
}
