package limit

import "time"

// buckets is the length of a sliding meter's ring: 16 KiB, and a resolution of
// at worst (W + spread)/2046, for any N.
const buckets = 2048

// sliding holds at most n in any window. A weight leaves the window one window
// after the latest moment at which it may have been counted.
//
//	 head                          releases, in buckets of width
//	  │0│3│0│1│…                   each is held until its end
//	──┴─┴─┴─┴─┴───▶ time since origin
type sliding struct {
	n        int64
	window   time.Duration
	origin   time.Time
	width    time.Duration
	ring     [buckets]int64 // weights by the bucket in which they leave
	head     int64          // first bucket whose end is still to come
	sum      int64          // of ring
	inFlight int64
}

func newSliding(l Limit, now time.Time, maxSpread time.Duration) *sliding {
	// Two buckets are spare: the one that now is in, and the rounding of To.
	width := (l.Window + maxSpread + buckets - 3) / (buckets - 2)
	return &sliding{n: l.N, window: l.Window, origin: now, width: max(width, 1)}
}

func (m *sliding) Ready(now time.Time, w, keep int64) (time.Time, bool) {
	m.advance(now)
	return m.free(now, w+keep)
}

func (m *sliding) Forecast(now time.Time, w int64) time.Time {
	m.advance(now)
	cycles := max(w-1, 0) / m.n // whole quotas that have to pass first
	at, known := m.free(now, w-cycles*m.n)
	// As if all in flight, and all that may still arrive, were answered now.
	if answered := now.Add(m.window); !known || answered.Before(at) {
		at = answered
	}
	return addTimes(at, cycles, m.window)
}

// free returns when w of the window is free.
func (m *sliding) free(now time.Time, w int64) (time.Time, bool) {
	missing := w + m.inFlight + m.sum - m.n
	if missing <= 0 {
		return now, true
	}
	if missing > m.sum {
		return time.Time{}, false
	}
	for i := m.head; i < m.head+buckets; i++ {
		if missing -= m.ring[i%buckets]; missing <= 0 {
			return m.origin.Add(time.Duration(i+1) * m.width), true
		}
	}
	return time.Time{}, false
}

func (m *sliding) Take(_ time.Time, w int64) { m.inFlight += w }

func (m *sliding) Count(now time.Time, s Span, w int64) {
	m.advance(now)
	if i := m.bucket(s); i >= m.head {
		m.ring[i%buckets] += w
		m.sum += w
	}
}

func (m *sliding) Move(now time.Time, from, to Span, w int64) {
	m.Count(now, from, -w)
	m.Count(now, to, w)
}

func (m *sliding) SetSpread(time.Duration) {} // the spans carry it

func (m *sliding) Resize(_ Limit, part int64) { m.n = part }

func (m *sliding) Refill(time.Time, float64) {}

func (m *sliding) Used(now time.Time) int64 {
	m.advance(now)
	return m.inFlight + m.sum
}

// bucket returns the bucket in which a weight counted within s leaves.
func (m *sliding) bucket(s Span) int64 {
	leaves := s.To.Sub(m.origin) + m.window
	i := int64((leaves + m.width - 1) / m.width)
	return min(i-1, m.head+buckets-1)
}

// advance lets go of the buckets that have ended.
func (m *sliding) advance(now time.Time) {
	head := int64(now.Sub(m.origin) / m.width)
	if head-m.head >= buckets {
		if m.sum != 0 {
			clear(m.ring[:])
			m.sum = 0
		}
		m.head = head
	}
	for ; m.head < head; m.head++ {
		b := &m.ring[m.head%buckets]
		m.sum -= *b
		*b = 0
	}
}
