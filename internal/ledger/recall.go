package ledger

import "time"

// Learned is a limit that nobody told, as a book has found it out.
type Learned struct {
	PerSecond float64   // that the upstream accepts
	At        time.Time // when it last refused more
}

// forgotten is how old may be what is recalled. Within the hour it holds as it
// is; after that its half is a place to begin at.
const forgotten = 30 * 24 * time.Hour

// Learned returns what the book has found out. It is false while the upstream
// has refused nothing, and where limits are known.
func (b *Book) Learned() (Learned, bool) {
	for _, t := range b.tallies {
		if l := &t.learn; t.rule.Source == Guessed && !l.struck.IsZero() && !l.slow {
			return Learned{PerSecond: l.peak / l.window.Seconds(), At: l.struck}, true
		}
	}
	return Learned{}, false
}

// Recall has a guess begin with what was found out before, be it by another
// process. It is false if that is too old, or the book knows better.
func (b *Book) Recall(now time.Time, what Learned) bool {
	age := max(now.Sub(what.At), 0)
	if age > forgotten || !(what.PerSecond > 0) || what.PerSecond > mostN {
		return false
	}
	for _, t := range b.tallies {
		if t.rule.Source == Guessed && t.learn.struck.IsZero() && t.meter.Used(now) == 0 {
			t.learn.recall(now, what.PerSecond*t.learn.window.Seconds(), age)
			t.resize()
			return true
		}
	}
	return false
}

// recall begins with n, which was last refused so long ago.
func (l *learner) recall(now time.Time, n float64, age time.Duration) {
	l.struck, l.peak = now.Add(-age), max(n, 1)
	if age > remembered {
		l.n = max(n/2, 1) // in slow start
		return
	}
	l.slow, l.back = false, l.base()
	l.low = max(n*giveMore, 1)
	l.n = l.low
}
