package limit

import "time"

// concurrent holds at most n in flight, from grant to last byte.
type concurrent struct{ n, inFlight int64 }

func (m *concurrent) Ready(now time.Time, w, keep int64) (time.Time, bool) {
	return now, m.inFlight+w+keep <= m.n
}

func (m *concurrent) Forecast(now time.Time, _ int64) time.Time { return now }
func (m *concurrent) Take(_ time.Time, w int64)                 { m.inFlight += w }
func (m *concurrent) Count(time.Time, Span, int64)              {}
func (m *concurrent) Move(time.Time, Span, Span, int64)         {}
func (m *concurrent) SetSpread(time.Duration)                   {}
func (m *concurrent) Resize(_ Limit, part int64)                { m.n = part }
func (m *concurrent) Refill(time.Time, float64)                 {}
func (m *concurrent) Used(time.Time) int64                      { return m.inFlight }
