package limit

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// counted is a weight as a history remembers it.
type counted struct {
	Span
	w int64
}

// history does random things to a meter, within its rules.
type history struct {
	*rand.Rand
	limit    Limit
	meter    Meter
	part     int64 // of the limit, that the meter has
	now      time.Time
	spread   time.Duration
	inFlight []counted // From is when it was granted
	counted  []counted
	took     bool // in the last step
}

func newHistory(t testing.TB, seed uint64, text string, spread time.Duration) *history {
	h := &history{Rand: rand.New(rand.NewPCG(seed, 0)), limit: mustParse(t, text), now: t0, spread: spread}
	h.part = h.limit.Capacity()
	h.meter = NewMeter(h.limit, t0, 2*spread)
	h.meter.SetSpread(spread)
	return h
}

func (h *history) weight() int64 { return 1 + h.Int64N(min(h.limit.Capacity(), 3)) }

func (h *history) step() {
	h.took = false
	switch h.IntN(4) {
	case 0:
		most := h.limit.Window / 3
		if h.IntN(3) > 0 { // as long as an attempt's share, more or less
			most = 4 * h.limit.Window / time.Duration(h.limit.N)
		}
		h.now = h.now.Add(time.Duration(h.Int64N(int64(most + 1))))
	case 1:
		w := h.weight()
		if at, known := h.meter.Ready(h.now, w, 0); known && at.After(h.now) {
			h.now = at
		} else if known {
			h.meter.Take(h.now, w)
			h.inFlight = append(h.inFlight, counted{Span{From: h.now}, w})
			h.took = true
		}
	case 2:
		if n := len(h.inFlight); n > 0 {
			i := h.IntN(n)
			c := h.inFlight[i]
			h.inFlight = slices.Delete(h.inFlight, i, i+1)
			h.meter.Take(h.now, -c.w)
			if h.IntN(4) == 0 { // never written
				return
			}
			c.To = h.now.Add(h.spread)
			h.meter.Count(h.now, c.Span, c.w)
			h.counted = append(h.counted, c)
		}
	case 3:
		if n := len(h.counted); n > 0 {
			if c := &h.counted[h.IntN(n)]; h.now.Before(c.To) {
				sooner := Span{c.From, h.now}
				h.meter.Move(h.now, c.Span, sooner, c.w)
				c.Span = sooner
			}
		}
	}
}

// resize gives the meter another part. One of a fixed window is no smaller than
// what is used: the rest would be owed by the windows that follow.
func (h *history) resize() {
	least := int64(1)
	if h.limit.Kind == Fixed {
		least = max(min(h.meter.Used(h.now), h.limit.N), 1)
	}
	h.part = least + h.Int64N(h.limit.Capacity()-least+1)
	h.meter.Resize(h.limit, h.part)
}

// clone returns a meter with the same past.
func clone(m Meter) Meter {
	switch m := m.(type) {
	case *sliding:
		c := *m
		return &c
	case *fixed:
		c := *m
		c.counts = slices.Clone(m.counts)
		return &c
	case *bucket:
		c, recent := *m, *m.recent
		c.recent = &recent
		return &c
	}
	panic("no such meter")
}

var histories = []struct {
	text   string
	spread time.Duration
}{
	{"7/1s", 0}, {"7/1s", 30 * ms}, {"3/10ms", 5 * ms}, {"40/1m", 250 * ms},
	{"7/1s fixed", 0}, {"7/1s fixed", 30 * ms}, {"3/10ms fixed", 5 * ms}, {"3/2ms fixed", 5 * ms},
	{"7/1s burst 3", 0}, {"7/1s burst 20", 30 * ms}, {"70/1s burst 5", 50 * ms}, {"40/1m burst 10", 250 * ms}, {"1000/1s burst 10", 30 * ms}, {"100/1s burst 1", 30 * ms}, {"100/1s burst 4", 50 * ms}, {"50/1s burst 10", 50 * ms},
}

// forHistories checks after every step: in half of the histories the meter has
// the whole limit, in the others parts of it that change.
func forHistories(t *testing.T, check func(t *testing.T, h *history)) {
	for _, test := range histories {
		t.Run(test.text+" "+test.spread.String(), func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(20) {
				h := newHistory(t, seed, test.text, test.spread)
				for range 300 {
					if seed%2 == 1 && h.IntN(20) == 0 {
						h.resize()
					}
					h.step()
					check(t, h)
				}
				if t.Failed() {
					t.Fatalf("seed %d", seed)
				}
			}
		})
	}
}

// TestReadyIsExact asks again just before the moment that Ready names, and at
// that moment.
func TestReadyIsExact(t *testing.T) {
	forHistories(t, func(t *testing.T, h *history) {
		w := min(h.weight(), h.part)
		at, known := h.meter.Ready(h.now, w, 0)
		if !known {
			if len(h.inFlight) == 0 {
				t.Errorf("%d: no moment known, and nothing in flight", w)
			}
			return
		}
		if got, known := clone(h.meter).Ready(at, w, 0); !known || got.After(at) {
			t.Errorf("%d: ready in %v, then in %v more", w, at.Sub(h.now), got.Sub(at))
		}
		// A microsecond: a bucket's level is a float.
		if before := at.Add(-time.Microsecond); before.After(h.now) {
			if got, known := clone(h.meter).Ready(before, w, 0); known && !got.After(before) {
				t.Errorf("%d: ready in %v, but it was before that", w, at.Sub(h.now))
			}
		}
	})
}

// TestForecastIsNeverLaterThanTheTruth takes as fast as allowed, with all that
// has to arrive answered at once.
func TestForecastIsNeverLaterThanTheTruth(t *testing.T) {
	forHistories(t, func(t *testing.T, h *history) {
		if h.IntN(8) > 0 { // it takes its time
			return
		}
		total := 1 + h.Int64N(2*min(h.limit.N, 100))
		forecast := h.meter.Forecast(h.now, total)
		m, now := clone(h.meter), h.now
		for _, c := range h.inFlight {
			m.Take(now, -c.w)
			m.Count(now, Span{c.From, now}, c.w)
		}
		for _, c := range h.counted {
			if now.Before(c.To) {
				m.Move(now, c.Span, Span{c.From, now}, c.w)
			}
		}
		heavy := h.IntN(2) == 0
		for left := total; left > 0; {
			w := int64(1)
			if heavy {
				w = min(left, h.part)
			}
			at, known := m.Ready(now, w, 0)
			if !known {
				t.Fatalf("no moment known, and nothing in flight")
			}
			now = at
			m.Count(now, Span{now, now}, w)
			left -= w
		}
		if forecast.After(now.Add(time.Microsecond)) {
			t.Errorf("%d: forecast in %v, taken in %v", total, forecast.Sub(h.now), now.Sub(h.now))
		}
	})
}

// TestPartBoundsWhatIsTaken lets what is used exceed a part only by what was
// taken before the part became so small.
func TestPartBoundsWhatIsTaken(t *testing.T) {
	forHistories(t, func(t *testing.T, h *history) {
		if used := h.meter.Used(h.now); h.took && used > h.part {
			t.Errorf("took, and %d are used of a part of %d", used, h.part)
		}
	})
}

// TestUsedIsWhatMayBeCounted compares windows with the list of all that was
// counted.
func TestUsedIsWhatMayBeCounted(t *testing.T) {
	forHistories(t, func(t *testing.T, h *history) {
		var least, most int64
		for _, c := range h.inFlight {
			least, most = least+c.w, most+c.w
		}
		w := h.limit.Window
		for _, c := range h.counted {
			switch h.limit.Kind {
			case Sliding:
				if h.now.Before(c.To.Add(w)) {
					least += c.w
				}
				if h.now.Before(c.To.Add(w + w/1000 + ms)) {
					most += c.w
				}
			case Fixed:
				if !c.To.Before(h.now.Truncate(w)) {
					least, most = least+c.w, most+c.w
				}
			case Bucket: // TestHistories of package ledger replays arrivals
				return
			}
		}
		if got := h.meter.Used(h.now); got < least || got > most {
			t.Errorf("used %d, want %d to %d", got, least, most)
		}
	})
}
