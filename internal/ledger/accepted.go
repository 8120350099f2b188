package ledger

import "time"

// accepted counts answers that were no refusals, to tell how many an upstream
// accepts in a second.
type accepted struct {
	span  time.Duration    // that is looked back at
	slots [slots + 1]int64 // of the last span, and the slot that has begun, by when they came
	slot  int64            // the latest

	now    stretch // since the last refusal
	before stretch // the span before the last refusal after which any were accepted
}

const (
	slots = 8 // in a span
	few   = 4 // answers tell nothing of a rate
)

// stretch is how many were accepted in a time that has not ended.
type stretch struct {
	from time.Time // of the first; zero: there was none
	n    float64
}

// rate returns how many they were a second.
func (s stretch) rate(now time.Time) float64 { return s.n / now.Sub(s.from).Seconds() }

// add counts an answer. steady is false if it was on its way when the upstream
// last refused something, or while attempts ramped up: that says nothing of
// whether what was lowered is accepted.
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
}

// restart begins a stretch with the next answer.
func (a *accepted) restart() { a.now = stretch{} }

// refused is told of a refusal, and returns how many were accepted a second: in
// the last span. If that was shortly before, and hardly any were accepted since,
// it goes on: then it is in all the time since a span before it, so that what
// was accepted early in a long window does not pass for a rate. ok is false if
// they were few.
func (a *accepted) refused(now time.Time, goesOn bool) (perSecond float64, ok bool) {
	if goesOn && a.now.n < few && a.before.n >= few {
		return stretch{a.before.from, a.before.n + a.now.n}.rate(now), true
	}
	a.before, a.now = a.lately(now), stretch{}
	return a.before.rate(now), a.before.n >= few
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
