package mock

import (
	"math"
	"math/big"
	"time"

	"github.com/headgate/headgate/internal/limit"
)

// counter counts under one limit. All methods but advance speak of the moment
// of the latest advance, which never goes back.
type counter interface {
	// advance forgets what is past at now.
	advance(now time.Time)
	// fits says whether a request of weight w may be let in.
	fits(w int64) bool
	// wait is how long until w fits if nothing else arrives: 0 if it fits, if
	// it never will, or if time alone does not tell.
	wait(w int64) time.Duration
	// count takes w from the limit. Refused requests are counted only under
	// Rules.CountRefused.
	count(w int64, accepted bool)
	// room is what is left, and how long until there is more: 0 if nothing is
	// used, or if time alone does not tell.
	room() (left int64, reset time.Duration)
}

func newCounter(l limit.Limit, ownPhase bool) counter {
	switch l.Kind {
	case limit.Fixed:
		return &fixed{n: l.N, window: l.Window, ownPhase: ownPhase}
	case limit.Bucket:
		return newBucket(l)
	case limit.Concurrent:
		return &inFlight{n: l.N}
	default:
		return &sliding{n: l.N, window: l.Window}
	}
}

// arrival is one request as a window remembers it.
type arrival struct {
	at     time.Time
	weight int64
}

// sliding is an exact window: the list of all that arrived within it.
type sliding struct {
	n      int64
	window time.Duration
	now    time.Time
	kept   []arrival // oldest first
	used   int64     // their weight
}

func (s *sliding) advance(now time.Time) {
	s.now = now
	for len(s.kept) > 0 && now.Sub(s.kept[0].at) >= s.window {
		s.forgetOldest()
	}
}

func (s *sliding) forgetOldest() {
	s.used -= s.kept[0].weight
	s.kept = s.kept[1:]
}

func (s *sliding) fits(w int64) bool { return s.used+w <= s.n }

func (s *sliding) wait(w int64) time.Duration {
	used := s.used
	if used+w <= s.n {
		return 0
	}
	for _, a := range s.kept {
		if used -= a.weight; used+w <= s.n {
			return a.at.Add(s.window).Sub(s.now)
		}
	}
	return 0
}

func (s *sliding) count(w int64, _ bool) {
	s.kept = append(s.kept, arrival{s.now, w})
	s.used += w
	// What leaves before the window has room again is of no interest. This
	// bounds the list to N arrivals, however many refused ones are counted.
	for s.used-s.kept[0].weight >= s.n {
		s.forgetOldest()
	}
}

func (s *sliding) room() (int64, time.Duration) {
	if len(s.kept) == 0 {
		return s.n, 0
	}
	return max(0, s.n-s.used), s.kept[0].at.Add(s.window).Sub(s.now)
}

// fixed counts in one window after the other.
type fixed struct {
	n        int64
	window   time.Duration
	ownPhase bool
	now      time.Time
	start    time.Time // of the window that runs; its own phase: zero if none does
	used     int64     // in it
}

func (f *fixed) advance(now time.Time) {
	f.now = now
	switch {
	case !f.ownPhase:
		// By the wall clock alone: the monotonic readings of two moments in one
		// window need not put its start at the same nanosecond.
		start := time.Unix(0, now.UnixNano()-now.UnixNano()%int64(f.window))
		if !start.Equal(f.start) {
			f.start, f.used = start, 0
		}
	case !f.start.IsZero() && now.Sub(f.start) >= f.window:
		f.start, f.used = time.Time{}, 0
	}
}

func (f *fixed) fits(w int64) bool { return f.used+w <= f.n }

func (f *fixed) wait(w int64) time.Duration {
	if f.fits(w) || w > f.n {
		return 0
	}
	return f.start.Add(f.window).Sub(f.now)
}

func (f *fixed) count(w int64, _ bool) {
	if f.start.IsZero() {
		f.start = f.now
	}
	f.used = min(f.used+w, f.n)
}

func (f *fixed) room() (int64, time.Duration) {
	if f.start.IsZero() {
		return f.n, 0
	}
	return f.n - f.used, f.start.Add(f.window).Sub(f.now)
}

// bucket is refilled with n per window, up to its depth. The level is kept as
// weight × nanoseconds of the window, in which n per nanosecond come back: whole
// numbers, so that nothing is lost to rounding. They outgrow 64 bits.
type bucket struct {
	n, window *big.Int
	full      *big.Int // depth × window
	level     *big.Int
	now       time.Time
}

func newBucket(l limit.Limit) *bucket {
	b := &bucket{n: big.NewInt(l.N), window: big.NewInt(int64(l.Window))}
	b.full = b.scaled(l.Burst)
	b.level = b.scaled(l.Burst)
	return b
}

// scaled turns a weight into the unit of the level.
func (b *bucket) scaled(w int64) *big.Int {
	return new(big.Int).Mul(big.NewInt(w), b.window)
}

func (b *bucket) advance(now time.Time) {
	if !b.now.IsZero() {
		back := new(big.Int).Mul(big.NewInt(int64(now.Sub(b.now))), b.n)
		b.level.Add(b.level, back)
		if b.level.Cmp(b.full) > 0 {
			b.level.Set(b.full)
		}
	}
	b.now = now
}

func (b *bucket) fits(w int64) bool { return b.level.Cmp(b.scaled(w)) >= 0 }

func (b *bucket) wait(w int64) time.Duration {
	if b.scaled(w).Cmp(b.full) > 0 {
		return 0
	}
	return b.until(b.scaled(w))
}

func (b *bucket) count(w int64, _ bool) {
	b.level.Sub(b.level, b.scaled(w))
	if b.level.Sign() < 0 {
		b.level.SetInt64(0)
	}
}

func (b *bucket) room() (int64, time.Duration) {
	left := new(big.Int).Div(b.level, b.window).Int64()
	if b.level.Cmp(b.full) == 0 {
		return left, 0
	}
	return left, b.until(b.scaled(left + 1))
}

// until is how long the refill takes to reach level, in whole nanoseconds,
// rounded up; 0 if it is there.
func (b *bucket) until(level *big.Int) time.Duration {
	missing := new(big.Int).Sub(level, b.level)
	if missing.Sign() <= 0 {
		return 0
	}
	missing.Add(missing, b.n)
	missing.Sub(missing, big.NewInt(1))
	missing.Div(missing, b.n)
	if !missing.IsInt64() { // centuries
		return math.MaxInt64
	}
	return time.Duration(missing.Int64())
}

// inFlight counts the accepted requests that have not left.
type inFlight struct {
	n, used int64
}

func (f *inFlight) advance(time.Time)        {}
func (f *inFlight) fits(w int64) bool        { return f.used+w <= f.n }
func (f *inFlight) wait(int64) time.Duration { return 0 }

func (f *inFlight) count(w int64, accepted bool) {
	if accepted {
		f.used += w
	}
}

func (f *inFlight) room() (int64, time.Duration) { return f.n - f.used, 0 }
