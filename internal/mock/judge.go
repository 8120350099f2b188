// Package mock is a rate-limited upstream that counts arrivals by brute force,
// so that it can be the judge of a gate: what the judge refuses has broken a
// limit, whatever the gate believes.
//
// Judge is the counting, pure and without a clock. Server is the HTTP API
// around it: an echo, the chat endpoints of two well-known vendors, forced
// faults and event streams. Both share nothing with the arithmetic of package
// limit, only its syntax: a mistake there must not repeat itself here.
package mock

import (
	"math"
	"time"

	"github.com/headgate/headgate/internal/limit"
)

// Rules say what a Judge counts, and how.
type Rules struct {
	// Limits hold at once: a request must fit into all of them.
	Limits []limit.Limit

	// OwnPhase lets a fixed window start with the first request counted while
	// no window runs, as express-rate-limit does, instead of on a whole
	// multiple of the window since the Unix epoch.
	OwnPhase bool

	// CountRefused lets refused requests use quota too, of all limits, as
	// OpenAI says of itself. In a sliding or fixed window they count like
	// accepted ones; from a bucket they drain what is left, never below zero;
	// they are never in flight.
	CountRefused bool
}

// Judge decides which of the arriving requests the limits let in.
//
// An arrival at t is in a sliding window of length W from t until just before
// t+W, so at most N are accepted in any half-open span of W. A bucket starts
// full. Safe for use by one goroutine at a time.
type Judge struct {
	rules    Rules
	counters []counter // one for each limit, in their order
	now      time.Time // the latest moment asked about
}

// NewJudge returns a judge that has counted nothing yet. The limits must be
// ones that limit.Parse could have returned.
func NewJudge(r Rules) *Judge {
	j := &Judge{rules: r}
	for _, l := range r.Limits {
		j.counters = append(j.counters, newCounter(l, r.OwnPhase))
	}
	return j
}

// Arrive judges a request that arrives now. Limits on requests count it as 1,
// concurrency limits as one in flight until Leave, all others as weight (at
// least 1). A now that lies before the last one is taken for the last one.
//
// If ok is false the request was refused, and retryAfter is the shortest wait
// after which the same request would fit if no other came; 0 if that cannot be
// known (only a concurrency limit refused) or never happens (the weight is
// larger than a whole limit).
func (j *Judge) Arrive(now time.Time, weight int64) (ok bool, retryAfter time.Duration) {
	v := j.arrive(now, weight)
	return v.ok, v.wait
}

// Leave ends an accepted request: it is no longer in flight.
func (j *Judge) Leave() {
	for _, c := range j.counters {
		if f, ok := c.(*inFlight); ok {
			f.used--
		}
	}
}

// verdict is what the judge made of one arrival.
type verdict struct {
	ok    bool
	wait  time.Duration // see Arrive
	by    int           // index of the limit that refused and takes longest to fit; -1 if none did
	never bool          // the weight is larger than limit by as a whole
	rooms []room        // what each limit has left after this arrival
}

// room is what a limit has left.
type room struct {
	limit limit.Limit
	left  int64
	reset time.Duration // until it has more; on a refusal, until the request fits; 0 if not known
}

func (j *Judge) arrive(now time.Time, weight int64) verdict {
	if now.Before(j.now) {
		now = j.now
	}
	j.now = now

	v := verdict{ok: true, by: -1}
	for i, c := range j.counters {
		c.advance(now)
		w := weightFor(j.rules.Limits[i], weight)
		if c.fits(w) {
			continue
		}
		if v.ok {
			v.ok, v.by = false, i
		}
		if w > capacity(j.rules.Limits[i]) && !v.never {
			v.never, v.by = true, i
		}
	}
	if v.ok || j.rules.CountRefused {
		for i, c := range j.counters {
			c.count(weightFor(j.rules.Limits[i], weight), v.ok)
		}
	}
	for i, c := range j.counters {
		r := room{limit: j.rules.Limits[i]}
		r.left, r.reset = c.room()
		w := weightFor(r.limit, weight)
		if !v.ok && !v.never {
			if wait := c.wait(w); wait > 0 {
				r.reset = wait
				if wait > v.wait {
					v.wait, v.by = wait, i
				}
			}
		}
		v.rooms = append(v.rooms, r)
	}
	return v
}

// weightFor is what a request of the given weight counts under l. The upper
// bound is that of limit.Parse, and keeps sums of two from overflowing.
func weightFor(l limit.Limit, weight int64) int64 {
	if l.Dimension == limit.Requests || l.Dimension == "" || l.Kind == limit.Concurrent {
		return 1
	}
	return min(max(weight, 1), math.MaxInt64/4)
}

// capacity is the heaviest request that can ever fit into l.
func capacity(l limit.Limit) int64 {
	if l.Kind == limit.Bucket {
		return l.Burst
	}
	return l.N
}
