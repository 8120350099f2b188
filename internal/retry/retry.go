// Package retry decides whether a call may have another attempt, and how long
// it waits for it: which requests may be repeated (Methods), the backoff with
// its jitter (Policy), and the share of attempts that may be retries (Budget).
//
// What an answer means is read elsewhere and comes in as plain values. There is
// no clock and no source of chance here: moments and rnd are arguments. rnd
// returns numbers uniform in [0, 1), multiples of 2^-53 as those of rand.Float64
// in math/rand/v2.
package retry

import (
	"fmt"
	"math"
	"time"
)

// Policy says how often a call is tried and how long it waits in between. The
// zero value tries once and never waits.
type Policy struct {
	Attempts int           // in all, the first included; 0 or less: 1
	Base     time.Duration // backoff after the first attempt; 0 or less: none
	Cap      time.Duration // longest backoff; 0 or less: none
	Jitter   Jitter
	Methods  Methods
}

// Backoff returns the wait of our own before attempt n+1, n being the attempts
// made, from 1; n below 1 counts as 1. It is Base, doubled with each attempt,
// held to Cap and only then jittered, so that callers at the Cap stay apart.
// Decorrelated goes by prev alone, what the call waited before attempt n, 0
// for the first; less than Base counts as Base. The result is in [0, Cap] for
// any n and prev.
func (p Policy) Backoff(n int, prev time.Duration, rnd func() float64) time.Duration {
	top := max(p.Cap, 0)
	base := min(max(p.Base, 0), top)
	wait := double(base, max(n, 1)-1, top)
	switch p.Jitter {
	case Equal:
		return between(wait/2, wait, rnd)
	case Decorrelated:
		return between(base, min(top, triple(max(prev, base))), rnd)
	case None:
		return wait
	default:
		return between(0, wait, rnd)
	}
}

// How much later than asked for a call may come back, so that those who were
// told the same moment do not come together. Jitter around the moment would
// fire early and be refused again.
const (
	extraShare = 10          // a tenth of the wait
	extraMost  = time.Second // and no more than this
)

// Wait returns the wait before attempt n+1, joining the backoff with the wait
// that the upstream asked for, floor, if hasFloor. A floor gets a jitter, which
// only adds: up to a tenth, at most 1 s. The first time the upstream is
// believed; when it refuses again after its own wait, the backoff that one
// attempt less would have is waited if it is longer. A floor of 0 is none:
// some upstreams say "at once" and go on refusing. The floor is not held to
// Cap: whoever cannot wait that long gives up rather than come early. The other
// arguments are those of Backoff.
func (p Policy) Wait(n int, prev, floor time.Duration, hasFloor bool, rnd func() float64) time.Duration {
	if !hasFloor || floor <= 0 {
		return p.Backoff(n, prev, rnd)
	}
	var wait time.Duration
	if n > 1 {
		wait = p.Backoff(n-1, prev, rnd)
	}
	extra := between(0, min(floor/extraShare, extraMost), rnd)
	if floor > math.MaxInt64-extra {
		return math.MaxInt64
	}
	return max(wait, floor+extra)
}

// Jitter is the random part of a backoff.
type Jitter uint8

// The jitters, for a backoff of d, as in "Exponential Backoff And Jitter" (AWS
// Architecture Blog, 2015). There Decorrelated meets Cap after the draw, and
// callers that have backed off that far bunch at it; here it does before.
const (
	Full         Jitter = iota // uniform in [0, d]
	Equal                      // uniform in [d/2, d]
	Decorrelated               // uniform in [Base, min(Cap, 3 × the previous wait)], whatever d is
	None                       // d
)

var jitters = [...]string{Full: "full", Equal: "equal", Decorrelated: "decorrelated", None: "none"}

// ParseJitter reads "full", "equal", "decorrelated" or "none".
func ParseJitter(s string) (Jitter, error) {
	for j, name := range jitters {
		if s == name {
			return Jitter(j), nil
		}
	}
	return Full, fmt.Errorf("unknown jitter %q: want full, equal, decorrelated or none", s)
}

// String returns the word that ParseJitter reads.
func (j Jitter) String() string {
	if int(j) < len(jitters) {
		return jitters[j]
	}
	return fmt.Sprintf("Jitter(%d)", uint8(j))
}

// between returns a wait uniform in [low, high]. As rnd stays below 1 by 2^-53
// or more, the product cannot be rounded to more than the span.
func between(low, high time.Duration, rnd func() float64) time.Duration {
	return low + time.Duration(rnd()*float64(high-low))
}

// double returns d × 2^times, and top if that is more or does not fit. d is in
// [0, top], times is not negative.
func double(d time.Duration, times int, top time.Duration) time.Duration {
	if d > top>>times {
		return top
	}
	return d << times
}

// triple returns d × 3, or the longest duration if that does not fit.
func triple(d time.Duration) time.Duration {
	if d > math.MaxInt64/3 {
		return math.MaxInt64
	}
	return d * 3
}
