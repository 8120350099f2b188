package limit

import (
	"math"
	"time"
)

// bucket is a token bucket as the upstream keeps it, drained when an attempt
// was written. What was drained over a span as long as the spread can reach
// the upstream all at once, refilled though the level was in between. So the
// level falls from no higher than depth = burst - rate × spread, which may be
// below 0: then attempts are kept that much further apart.
//
// For any attempts that may arrive between s and u, let t be when the first of
// them was drained, at s - spread or later, and g when the last was granted.
// The level at t was depth at most, and at g it covered what was in flight:
// together they weigh depth + rate × (g - t), that is burst + rate × (u - s),
// or less.
type bucket struct {
	burst    float64
	spread   time.Duration
	rate     float64 // refill per nanosecond
	depth    float64
	level    float64 // at last; below 0 is debt
	last     time.Time
	full     time.Time // when the level was last seen at depth or above
	inFlight int64
}

func newBucket(l Limit, now time.Time) *bucket {
	m := &bucket{level: float64(l.Burst), last: now}
	m.Resize(l)
	return m
}

func (m *bucket) Ready(now time.Time, w, keep int64) (time.Time, bool) {
	m.advance(now)
	need := float64(w + keep + m.inFlight)
	switch missing := need - m.level; {
	case missing <= 1e-9: // float noise of a refill asked for in two steps
		return m.last, true
	case need > m.burst:
		return time.Time{}, false
	default:
		return m.after(missing), true
	}
}

func (m *bucket) Forecast(now time.Time, w int64) time.Time {
	m.advance(now)
	if missing := float64(w+m.inFlight) - m.level; missing > 0 {
		return m.after(missing)
	}
	return m.last
}

func (m *bucket) Take(_ time.Time, w int64) { m.inFlight += w }

func (m *bucket) Count(now time.Time, s Span, w int64) {
	m.advance(now)
	switch {
	case w > 0:
		// What was written under a wider spread may arrive that much later.
		depth := min(m.depth, m.burst-m.rate*float64(s.To.Sub(now)))
		m.level = min(m.level, depth) - float64(w)
	case m.full.Before(s.From): // else time has given it back already
		m.level = max(m.level, min(m.level-float64(w), m.depth))
	}
}

// Move changes nothing: the bucket was drained when the attempt was written.
func (m *bucket) Move(time.Time, Span, Span, int64) {}

func (m *bucket) Resize(l Limit) {
	m.burst = float64(l.Burst)
	m.rate = float64(l.N) / float64(l.Window)
	m.level = min(m.level, m.burst)
	m.SetSpread(m.spread)
}

func (m *bucket) SetSpread(d time.Duration) {
	m.spread = d
	m.depth = m.burst - m.rate*float64(d)
}

func (m *bucket) Used(now time.Time) int64 {
	m.advance(now)
	return int64(math.Ceil(m.burst-m.level-1e-9)) + m.inFlight
}

// after returns when what is missing will have been refilled. A debt may take
// longer than a Duration holds.
func (m *bucket) after(missing float64) time.Time {
	return m.last.Add(time.Duration(min(math.Ceil(missing/m.rate), float64(maxWindow))))
}

func (m *bucket) advance(now time.Time) {
	if d := now.Sub(m.last); d > 0 {
		m.level = min(m.level+float64(d)*m.rate, m.burst)
		m.last = now
	}
	if m.level >= m.depth {
		m.full = m.last
	}
}
