package limit

import "time"

// fixed holds at most n in each window aligned to the wall clock in Unix time.
// What may have been counted in several windows counts in each of them.
//
// Boundaries come from the wall clock alone, and the way to them is measured
// by the monotonic one: a wall clock that leaps moves the next boundary by
// half a window at most, and what was counted stays counted until then.
type fixed struct {
	n        int64
	window   time.Duration
	start    time.Time // of the current window
	end      time.Time
	counts   []int64 // of the current window and of those that follow, as far as a spread reaches
	inFlight int64
}

func newFixed(l Limit, now time.Time, maxSpread time.Duration) *fixed {
	start := now.Add(-time.Duration(now.UnixNano() % int64(l.Window)))
	reach := 1 + (maxSpread+l.Window-1)/l.Window // a latency of up to a window comes on top
	return &fixed{
		n: l.N, window: l.Window, start: start, end: start.Add(l.Window),
		counts: make([]int64, 1+reach),
	}
}

func (m *fixed) Ready(now time.Time, w, keep int64) (time.Time, bool) {
	m.roll(now)
	room := m.n - m.inFlight - w - keep
	if room < 0 {
		return time.Time{}, false
	}
	// All that counts in a later window counts in the current one too, so that
	// room here is room there.
	if m.counts[0] <= room {
		return now, true
	}
	begin, owed := m.end, max(m.counts[0]-m.n, 0)
	for _, count := range m.counts[1:] {
		if count+owed <= room {
			return begin, true
		}
		begin, owed = begin.Add(m.window), max(count+owed-m.n, 0)
	}
	return addTimes(begin, ceilDiv(max(owed-room, 0), m.n), m.window), true
}

func (m *fixed) Forecast(now time.Time, w int64) time.Time {
	m.roll(now)
	free := m.n - m.counts[0] - m.inFlight
	if w <= free {
		return now
	}
	return addTimes(m.end, (w-max(free, 0)-1)/m.n, m.window)
}

func (m *fixed) Take(_ time.Time, w int64) { m.inFlight += w }

func (m *fixed) Count(now time.Time, s Span, w int64) {
	m.roll(now)
	if s.To.Before(m.start) {
		return
	}
	last := 0
	if !s.To.Before(m.end) {
		last = min(1+int(s.To.Sub(m.end)/m.window), len(m.counts)-1)
	}
	for i := range m.counts[:last+1] {
		m.counts[i] = max(m.counts[i]+w, 0)
	}
}

func (m *fixed) Move(now time.Time, from, to Span, w int64) {
	m.Count(now, from, -w)
	m.Count(now, to, w)
}

func (m *fixed) SetSpread(time.Duration) {} // the spans carry it

func (m *fixed) Resize(_ Limit, part int64) { m.n = part }

func (m *fixed) Refill(time.Time, float64) {}

func (m *fixed) Used(now time.Time) int64 {
	m.roll(now)
	return m.counts[0] + m.inFlight
}

// roll begins the window that now is in. What is over n is owed: each later
// window pays n of it.
func (m *fixed) roll(now time.Time) {
	m.align(now)
	if now.Before(m.end) {
		return
	}
	passed := 1 + int64(now.Sub(m.end)/m.window)
	known := min(passed, int64(len(m.counts)))
	for range known {
		owed := max(m.counts[0]-m.n, 0)
		copy(m.counts, m.counts[1:])
		m.counts[len(m.counts)-1] = 0
		m.counts[0] += owed
	}
	if rest := passed - known; rest > m.counts[0]/m.n {
		m.counts[0] = 0
	} else {
		m.counts[0] -= rest * m.n
	}
	m.start = m.end.Add(time.Duration(passed-1) * m.window)
	m.end = m.start.Add(m.window)
}

// align moves the end to the nearest boundary of the wall clock, which may
// have been set or slewed against the monotonic one.
func (m *fixed) align(now time.Time) {
	ahead := m.end.Sub(now)
	shift := -time.Duration((now.UnixNano() + int64(ahead)) % int64(m.window))
	if -shift > m.window/2 {
		shift += m.window
	}
	// The two clocks are not read at quite the same instant.
	if shift.Abs() > min(m.window/1000, time.Millisecond) {
		m.end = now.Add(ahead + shift)
	}
}
