package ledger

import "time"

// accepted counts answers that were no refusals, to tell how many an upstream
// accepts in a second.
type accepted struct {
	span  time.Duration    // that is looked back at
	slots [slots + 1]int64 // of the last span, and the slot that has begun, by when they came
	slot  int64            // the latest

	now, before stretch // since the last refusal, and before it
}

const (
	slots   = 8  // in a span
	longest = 10 // spans that a stretch counts in full
	few     = 4  // answers tell nothing of a rate
)

// stretch is a time in which calls waited all the while.
type stretch struct {
	from time.Time // of the first answer; zero: there was none
	n    float64
}

// rate returns how many they were a second.
func (s stretch) rate(now time.Time) float64 { return s.n / now.Sub(s.from).Seconds() }

// add counts an answer. steady is false if it was on its way when the upstream
// last refused something, or while attempts ramped up: that says nothing of how
// many are accepted in the long run.
func (a *accepted) add(now time.Time, w int64, steady bool) {
	a.roll(now)
	a.slots[a.slot%int64(len(a.slots))] += w
	if !steady {
		return
	}
	s := &a.now
	if s.from.IsZero() {
		s.from = now
	}
	s.n += float64(w)
	if lasted := now.Sub(s.from); lasted > longest*a.span {
		s.from, s.n = s.from.Add(lasted/2), s.n/2
	}
}

// restart begins a stretch with the next answer.
func (a *accepted) restart() { a.now = stretch{} }

// refused ends a stretch, and returns how many were accepted a second: in the
// last span, if that is asked for or the stretch was shorter, else in the
// stretch. If they were too few, the one before is a part of it. ok is false if
// they were few even so.
func (a *accepted) refused(now time.Time, lately bool) (perSecond float64, ok bool) {
	if a.now.n < few && a.before.n >= few {
		return stretch{a.before.from, a.before.n + a.now.n}.rate(now), true
	}
	if lately || now.Sub(a.now.from) < a.span {
		a.now = a.lately(now)
	}
	a.before, a.now = a.now, stretch{}
	if a.before.n < few {
		return 0, false
	}
	return a.before.rate(now), true
}

// lately returns what was accepted in the last span, and up to a slot before.
func (a *accepted) lately(now time.Time) stretch {
	a.roll(now)
	var sum int64
	for _, n := range a.slots {
		sum += n
	}
	begun := now.UnixNano() % int64(a.span/slots)
	return stretch{from: now.Add(-a.span - time.Duration(begun)), n: float64(sum)}
}

// roll empties the slots that have begun since.
func (a *accepted) roll(now time.Time) {
	slot := now.UnixNano() / int64(a.span/slots)
	if slot-a.slot > slots || slot < a.slot {
		a.slots, a.slot = [slots + 1]int64{}, slot // long ago, or the clock was set
	}
	for a.slot < slot {
		a.slot++
		a.slots[a.slot%int64(len(a.slots))] = 0
	}
}
