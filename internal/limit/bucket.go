package limit

import (
	"math"
	"time"
)

// bucket is a token bucket as the upstream keeps it. An attempt that was written
// at a moment may reach it up to the spread later, so what leaves over a span of
// time can arrive in a shorter one. Two rules are safe, and what either of them
// allows may start:
//
//   - low, the level of a bucket that falls from no higher than
//     depth = burst - rate × spread, covers all that is in flight. This is the
//     better rule while the burst is large.
//   - No more than burst may arrive in any time = burst / rate, as a sliding
//     meter counts. With rate × spread above burst it lets through burst per
//     (burst/rate + spread), and more if answers come sooner.
//
// For all attempts that may arrive between s and u, let g be when the last of
// them was granted, at u or before. They weigh burst + rate × (u - s) or less:
//
// By the first rule, let t be when the first of them was drained, at s - spread
// or later. low was at most depth at t, and at g it covered the rest: together
// they weigh at most depth + rate × (g - t), which is no more.
//
// By the second, those that may arrive after g - burst/rate weigh at most
// burst. The others, if any, all arrive between s and g - burst/rate, so that
// they weigh at most burst + rate × (g - burst/rate - s) = rate × (g - s), by
// the same reasoning, whichever rule the last of them was granted by.
//
// Neither knows debts of settled attempts that time takes long to pay. level
// does: it falls as the upstream's own would if all arrived when written, and
// the second rule is held to it too, which costs nothing where there is no debt.
//
// A bucket of which others have parts goes by the second rule alone: no more
// than all parts together arrive in any burst/rate, wherever they move. Parts
// that move between one rule here and the other one there have let through more.
type bucket struct {
	limit     Limit
	spread    time.Duration
	maxSpread time.Duration
	part      int64   // of the burst that is ours
	partial   bool    // it has been less than the whole: the second rule alone
	burst     float64 // of the part
	rate      float64 // refill per nanosecond, of the part
	slowest   float64 // rate that was in force since last: when it changed is not known
	level     float64 // at last; below 0 is debt
	low       float64 // at last
	last      time.Time
	inFlight  int64
	recent    *sliding // burst per burst/rate
}

func newBucket(l Limit, now time.Time, maxSpread time.Duration) *bucket {
	m := &bucket{maxSpread: maxSpread, level: float64(l.Burst), low: float64(l.Burst), last: now}
	m.set(l, l.Burst)
	m.slowest = m.rate
	m.recent = m.newRecent()
	return m
}

func (m *bucket) set(l Limit, part int64) {
	m.limit, m.part = l, part
	m.partial = m.partial || part < l.Burst
	m.burst = float64(part)
	m.rate = float64(l.N) / float64(l.Window) * (m.burst / float64(l.Burst))
}

// newRecent returns an unused meter for burst per burst/rate. A bucket that
// takes longer than that to fill is held to a year.
func (m *bucket) newRecent() *sliding {
	fill := math.Ceil(float64(m.limit.Burst) * float64(m.limit.Window) / float64(m.limit.N))
	window := time.Duration(max(min(fill, float64(maxWindow)), 1))
	return newSliding(Limit{N: m.part, Window: window}, m.last, m.maxSpread)
}

func (m *bucket) Ready(now time.Time, w, keep int64) (time.Time, bool) {
	m.advance(now)
	need := w + keep + m.inFlight
	if need > m.part {
		return time.Time{}, false
	}
	at := m.refilled(m.low, need)
	if !m.partial && !at.After(m.last) {
		return at, true
	}
	free, known := m.recent.free(m.last, w+keep)
	if level := m.refilled(m.level, need); level.After(free) {
		free = level
	}
	if m.partial || known && free.Before(at) {
		return free, known
	}
	return at, true
}

func (m *bucket) Forecast(now time.Time, w int64) time.Time {
	m.advance(now)
	return m.refilled(m.level, w+m.inFlight)
}

func (m *bucket) Take(now time.Time, w int64) {
	m.inFlight += w
	m.recent.Take(now, w)
}

func (m *bucket) Count(now time.Time, s Span, w int64) {
	m.advance(now)
	m.recent.Count(m.last, s, w)
	switch {
	case w > 0:
		// What was written under a wider spread may arrive that much later.
		spread := max(m.spread, s.To.Sub(m.last))
		m.low = min(m.low, m.burst-m.rate*float64(spread)) - float64(w)
		m.level -= float64(w)
	case m.last.Before(s.To.Add(m.recent.window)): // else time has given it back already
		// Not to low: had it never been drained, low might have been full by
		// now, and no higher than it is.
		m.level = min(m.level-float64(w), m.burst)
	}
}

// Move tells the second rule alone: the bucket was drained when the attempt was
// written.
func (m *bucket) Move(now time.Time, from, to Span, w int64) {
	m.advance(now)
	m.recent.Move(m.last, from, to, w)
}

func (m *bucket) Resize(l Limit, part int64) {
	if l == m.limit && part == m.part {
		return
	}
	rate, same := m.rate, l == m.limit
	m.set(l, part)
	m.slowest = min(m.slowest, m.rate)
	m.level = min(m.level, m.burst)
	// What was drained within the last spread can arrive compressed with what
	// the new rate refills.
	m.low = min(m.low, m.burst) - max(m.rate-rate, 0)*float64(m.maxSpread)
	if same {
		m.recent.n = part
		return
	}
	// Attempts leave the new window when all of them would have arrived late.
	old := m.recent
	m.recent = m.newRecent()
	m.recent.inFlight = old.inFlight
	m.recent.Count(m.last, Span{m.last, m.last.Add(m.maxSpread)}, old.sum)
}

func (m *bucket) Refill(now time.Time, tokens float64) {
	m.advance(now)
	m.level = min(m.level+tokens, m.burst)
	m.low = min(m.low+tokens, m.burst)
}

func (m *bucket) SetSpread(d time.Duration) { m.spread = d }

func (m *bucket) Used(now time.Time) int64 {
	m.advance(now)
	used := max(m.burst-m.level, float64(m.recent.sum))
	if !m.partial {
		used = min(used, m.burst-m.low)
	}
	return int64(math.Ceil(used-1e-9)) + m.inFlight
}

// refilled returns when a level covers need. A debt may take longer than a
// Duration holds.
func (m *bucket) refilled(level float64, need int64) time.Time {
	missing := float64(need) - level
	if missing <= 1e-9 { // float noise of a refill asked for in two steps
		return m.last
	}
	return m.last.Add(time.Duration(min(math.Ceil(missing/m.rate), float64(maxWindow))))
}

func (m *bucket) advance(now time.Time) {
	if d := now.Sub(m.last); d > 0 {
		m.level = min(m.level+float64(d)*m.slowest, m.burst)
		m.low = min(m.low+float64(d)*m.slowest, m.burst)
		m.last = now
	}
	m.slowest = m.rate
	m.recent.advance(m.last)
}
