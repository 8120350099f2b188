package ledger

import "time"

// accepted counts answers that were no refusals, to tell how many an upstream
// accepts in a second.
type accepted struct {
	span  time.Duration    // that is looked back at
	slots [slots + 1]int64 // of the last span, and the slot that has begun, by when they came
	slot  int64            // the latest
	guess bool             // nobody knows the window: a time before the first answer is none of it
	since time.Time        // of the first answer

	steady time.Time // of the first since the last refusal; zero: there was none
	before stretch   // the span before the last refusal
}

const (
	slots = 8 // in a span
	few   = 4 // answers tell nothing of a rate

	shutFor  = 4 // parts of a span without any: it is shorter than the window
	mostSpan = time.Minute
)

// stretch is how many were accepted in a time that has not ended.
type stretch struct {
	from time.Time
	n    float64
}

// rate returns how many they were a second.
func (s stretch) rate(now time.Time) float64 { return s.n / now.Sub(s.from).Seconds() }

// add counts an answer. steady is false if it was on its way when the upstream
// last refused something, or while attempts ramped up: that says nothing of
// whether what was lowered is accepted.
func (a *accepted) add(now time.Time, w int64, steady bool) {
	a.roll(now)
	if a.since.IsZero() {
		a.since = now
	}
	if a.steady.IsZero() && steady {
		a.steady = now
	}
	a.slots[a.slot%int64(len(a.slots))] += w
}

// refused is told of a refusal, and returns how many were accepted a second in
// the span before it. ok is false if they were few.
func (a *accepted) refused(now time.Time) (perSecond float64, ok bool) {
	a.before = a.lately(now)
	return a.before.rate(now), a.before.n >= few
}

// reopened is told that answers come again that are no refusals, after refusals
// alone from shut to last. If that was long, the span was shorter than the
// upstream's window: it is looked back further from then on. What was accepted
// in all that time is between least and most a second.
func (a *accepted) reopened(now, shut, last time.Time) (least, most float64, long bool) {
	if last.Sub(shut) < a.span/shutFor || a.before.n < few {
		return 0, 0, false
	}
	least, most = a.before.rate(now), a.before.rate(last)
	span := min(max(last.Sub(a.before.from), a.span), mostSpan)
	*a = accepted{guess: a.guess, span: span, since: now}
	return least, most, true
}

// lately returns what was accepted in the last span, and up to a slot before.
func (a *accepted) lately(now time.Time) stretch {
	a.roll(now)
	var sum int64
	for _, n := range a.slots {
		sum += n
	}
	slot := a.span / slots
	from := now.Add(-a.span - time.Duration(now.UnixNano()%int64(slot)))
	if a.guess && a.since.After(from) && now.Sub(a.since) > slot {
		from = a.since
	}
	return stretch{from: from, n: float64(sum)}
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
