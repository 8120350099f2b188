package ledger

import "time"

// Bounds of the arrival spread. A spread starts at 3 % of the window.
const (
	minSpread      = 5 * time.Millisecond
	maxStartSpread = 250 * time.Millisecond
	widest         = 4 // times what it started at
)

// remembered is for how long the past of a throttled book is held against it.
const remembered = time.Hour

// spread learns the arrival spread of one limit: how much later than the
// fastest one an attempt may be counted. It starts on the safe side, doubles
// when an attempt was throttled although there was room, and shrinks slowly
// while a pressed upstream refuses nothing.
type spread struct {
	start, d time.Duration
	window   time.Duration
	shrinks  time.Duration // by so many thousandths a window

	ends    time.Time // of the window that is being watched
	pressed bool      // the quota was used up in it

	floor      time.Duration // not below: it was throttled there
	floorUntil time.Time
}

// newSpread returns the spread of a limit of n in a window. A window in which
// thousands were counted, and none refused, tells more than one of fifty.
func newSpread(n int64, window time.Duration) spread {
	start := min(max(window*3/100, minSpread), maxStartSpread)
	return spread{start: start, d: start, window: window, shrinks: time.Duration(min(max(n/1000, 1), 5))}
}

func (s *spread) max() time.Duration { return widest * s.start }

// burst returns the spread of attempts that leave in a burst.
func (s *spread) burst() time.Duration { return s.max() }

// quiet is told at each grant whether the quota is nearly used up. A window
// that was, and in which nothing was throttled, takes a thousandth off, or up
// to five where thousands are counted: half in 140 to 700 windows, because a
// throttled answer costs more than what it gains.
func (s *spread) quiet(now time.Time, pressed bool) (changed bool) {
	if now.After(s.ends) {
		if s.pressed {
			least := minSpread
			if now.Before(s.floorUntil) {
				least = s.floor
			}
			s.d = max(s.d-s.d*s.shrinks/1000, min(least, s.d))
			changed = true
		}
		s.ends, s.pressed = now.Add(s.window), false
	}
	s.pressed = s.pressed || pressed
	return changed
}

// widen doubles the spread, and remembers where it was too narrow.
func (s *spread) widen(now time.Time) {
	s.floor = min(s.d*5/4, s.max())
	s.floorUntil = now.Add(remembered)
	s.d = min(2*s.d, s.max())
	s.ends, s.pressed = now.Add(s.window), false
}
