package mock

import (
	"slices"
	"time"

	"github.com/headgate/headgate/internal/limit"
)

// maxSeconds bounds the series of Stats: the last hour in which there were
// arrivals.
const maxSeconds = 3600

// Stats is what a Server has counted since it was made.
type Stats struct {
	Arrivals int64        `json:"arrivals"` // accepted and refused
	Accepted int64        `json:"accepted"`
	Refused  int64        `json:"refused"`
	Errors   int64        `json:"errors"`    // accepted, then answered with Config.ErrorStatus
	InFlight int64        `json:"in_flight"` // accepted and not yet answered in full
	First    time.Time    `json:"first,omitzero"`
	Last     time.Time    `json:"last,omitzero"`
	Limits   []LimitStats `json:"limits"`
	Seconds  []Second     `json:"seconds"` // those with arrivals, oldest first, at most the last 3600
}

// LimitStats is what was accepted under one limit. Weights are in the limit's
// dimension.
type LimitStats struct {
	Limit string `json:"limit"` // as written

	// Refused is how many requests this limit refused. Where several did, it
	// counts for the one that takes longest to have room.
	Refused int64 `json:"refused"`

	// Max is the largest weight accepted in any half-open span as long as the
	// window, wherever it begins; so it may reach 2 N for a fixed window and
	// N + Burst for a bucket. For concurrency it is the most in flight.
	Max int64 `json:"max"`

	// Usage is what was accepted as a share of N per window, over the whole
	// windows from the first arrival to the last; before one has passed, over
	// one. What a fixed window or a bucket allows beyond N lifts it above 1
	// at first. For concurrency it is the mean in flight as a share of N.
	Usage float64 `json:"usage"`
}

// Second is one second of the wall clock.
type Second struct {
	Unix     int64 `json:"unix"` // seconds since 1970
	Accepted int64 `json:"accepted"`
	Refused  int64 `json:"refused"`
}

// tally keeps Stats up to date, in memory bounded by the limits.
type tally struct {
	stats   Stats
	watches []watch
}

func newTally(limits []limit.Limit) *tally {
	t := &tally{stats: Stats{Limits: make([]LimitStats, len(limits)), Seconds: []Second{}}}
	for i, l := range limits {
		t.stats.Limits[i].Limit = l.String()
		if l.Kind == limit.Concurrent {
			t.watches = append(t.watches, &flightWatch{n: l.N})
		} else {
			t.watches = append(t.watches, &windowWatch{limit: l})
		}
	}
	return t
}

// arrived records a request that the judge has seen.
func (t *tally) arrived(now time.Time, weight int64, v verdict) {
	s := &t.stats
	if s.Arrivals == 0 {
		s.First = now
	}
	s.Arrivals++
	s.Last = now
	if n := len(s.Seconds); n == 0 || s.Seconds[n-1].Unix != now.Unix() {
		s.Seconds = append(s.Seconds, Second{Unix: now.Unix()})
		s.Seconds = s.Seconds[max(0, len(s.Seconds)-maxSeconds):]
	}
	second := &s.Seconds[len(s.Seconds)-1]
	if !v.ok {
		s.Refused++
		second.Refused++
		s.Limits[v.by].Refused++
		for _, w := range t.watches {
			w.passed(now)
		}
		return
	}
	s.Accepted++
	s.InFlight++
	second.Accepted++
	for _, w := range t.watches {
		w.passed(now)
		w.accepted(now, weight)
	}
}

// left records the end of an accepted request.
func (t *tally) left(now time.Time) {
	t.stats.InFlight--
	for _, w := range t.watches {
		w.left(now)
	}
}

// snapshot returns a copy that shares nothing with the tally.
func (t *tally) snapshot() Stats {
	s := t.stats
	s.Seconds = slices.Clone(s.Seconds)
	s.Limits = slices.Clone(s.Limits)
	for i, w := range t.watches {
		s.Limits[i].Max, s.Limits[i].Usage = w.result()
	}
	return s
}

// watch observes what is accepted under one limit.
type watch interface {
	passed(now time.Time) // something arrived, whatever became of it
	accepted(now time.Time, weight int64)
	left(now time.Time)
	result() (most int64, usage float64)
}

// windowWatch keeps the accepted arrivals of the last window, whatever the kind
// of the limit. The fullest span ends with an arrival, so it is enough to look
// at each arrival.
type windowWatch struct {
	limit limit.Limit

	recent []arrival // within one window of the latest, oldest first
	sum    int64     // their weight
	most   int64     // the largest sum so far

	first   time.Time
	total   int64 // weight accepted
	windows int64 // whole windows from the first arrival to the latest
	inWhole int64 // weight accepted in these
}

func (w *windowWatch) passed(now time.Time) {
	if w.first.IsZero() {
		w.first = now
	}
	// All that came before belongs to the windows that have now passed: had it
	// come later, it would have been the one to close them.
	if n := int64(now.Sub(w.first) / w.limit.Window); n > w.windows {
		w.windows, w.inWhole = n, w.total
	}
}

func (w *windowWatch) accepted(now time.Time, weight int64) {
	weight = weightFor(w.limit, weight)
	w.total += weight
	w.recent = append(w.recent, arrival{now, weight})
	w.sum += weight
	for now.Sub(w.recent[0].at) >= w.limit.Window {
		w.sum -= w.recent[0].weight
		w.recent = w.recent[1:]
	}
	w.most = max(w.most, w.sum)
}

func (w *windowWatch) left(time.Time) {}

func (w *windowWatch) result() (int64, float64) {
	if w.windows == 0 {
		return w.most, float64(w.total) / float64(w.limit.N)
	}
	return w.most, float64(w.inWhole) / float64(w.limit.N) / float64(w.windows)
}

// flightWatch observes how many requests are in flight.
type flightWatch struct {
	n           int64
	inFlight    int64
	most        int64
	first, last time.Time
	busy        float64 // seconds × requests in flight
}

func (w *flightWatch) passed(now time.Time) {
	if w.first.IsZero() {
		w.first, w.last = now, now
	}
	w.busy += float64(w.inFlight) * now.Sub(w.last).Seconds()
	w.last = now
}

func (w *flightWatch) accepted(_ time.Time, _ int64) {
	w.inFlight++
	w.most = max(w.most, w.inFlight)
}

func (w *flightWatch) left(now time.Time) {
	w.passed(now)
	w.inFlight--
}

func (w *flightWatch) result() (int64, float64) {
	span := w.last.Sub(w.first).Seconds()
	if span == 0 {
		return w.most, 0
	}
	return w.most, w.busy / span / float64(w.n)
}
