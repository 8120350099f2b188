package ledger

import (
	"slices"
	"strings"
	"time"

	"github.com/headgate/headgate/internal/limit"
)

// Fact is what an answer tells of a limit.
type Fact struct {
	Dimension string        // with a name behind a colon, if the upstream names the limit
	N         int64         // -1 unknown
	Remaining int64         // -1 unknown
	Reset     time.Duration // until more, or all, of it is back; -1 unknown
	Window    time.Duration // 0 unknown
}

// told is what answers told of a tally's limit.
type told struct {
	name    string    // the whole dimension, as the upstream names it; "": any is meant
	heard   bool      // the number is the upstream's own
	bounded bool      // its window is not: it was concluded from resets
	since   time.Time // when it was first heard of
}

// guess is the limit of a book that nobody has told us one.
var guess = Rule{
	Limit:  limit.Limit{Dimension: limit.Requests, N: int64(startRate * 10), Window: 10 * time.Second},
	Source: Guessed,
}

// Bounds of what is believed of answers.
const (
	mostTold   = 8       // limits of a book
	mostN      = 1 << 40 // in a window
	minWindow  = time.Second
	guessedFor = time.Minute // who tells of longer windows alone may have shorter ones too
	withoutEnd = time.Minute // what has no reset counts for so long, or a window
)

// learns gives a book without configured limits what it had learned of them: to
// begin with, a guess.
func (b *Book) learns(now time.Time, old []*tally) {
	if !b.ledger.opts.Learn {
		return
	}
	for _, t := range old {
		if t != nil && t.rule.Source != Configured && t.shared == b.ledger.opts.Shared && len(b.tallies) < mostTold {
			b.tallies = append(b.tallies, t)
		}
	}
	if len(b.tallies) == 0 {
		b.tallies = append(b.tallies, newTally(guess, b.ledger.opts.Shared, now))
	}
}

// Tell takes in what an answer told of limits. Of those that we know, no more
// is left than the upstream says: somebody else may use them. Those that we
// don't are taken over if none were configured. It reports whether the book has
// other limits now.
func (b *Book) Tell(now time.Time, facts []Fact) (changed bool) {
	for _, f := range facts {
		unit, _, _ := strings.Cut(f.Dimension, ":")
		unit, _, _ = strings.Cut(unit, "_per_") // the fact's window says that too
		if unit != limit.Requests && unit != limit.Tokens || f.N > mostN {
			continue
		}
		t := b.find(unit, &f)
		if t == nil {
			if t = b.take(now, unit, &f); t == nil {
				continue
			}
			changed = true
		}
		t.tell(now, &f)
	}
	return changed
}

// find returns the tally of the limit that a fact is about.
func (b *Book) find(unit string, f *Fact) *tally {
	for _, t := range b.tallies {
		if t.rule.Limit.Dimension != unit || t.rule.Scope != PerCredential || t.rule.Source == Guessed {
			continue
		}
		if t.told.name != "" && t.told.name != f.Dimension {
			continue
		}
		if f.Window == t.rule.Limit.Window || f.Window <= 0 && t.told.bounded && f.Reset <= t.rule.Limit.Window {
			return t
		}
	}
	return nil
}

// take makes a limit that an answer told one of the book's.
func (b *Book) take(now time.Time, unit string, f *Fact) *tally {
	window, bounded := f.Window, false
	if window <= 0 {
		window, bounded = windowAround(f.Reset), true
	}
	if !b.ledger.opts.Learn || f.N <= 0 || window < minWindow || window > farthest {
		return nil
	}
	t := newTally(Rule{
		Limit:  limit.Limit{Dimension: unit, N: f.N, Window: window},
		Source: Told,
	}, b.ledger.opts.Shared, now)
	t.told = told{name: f.Dimension, heard: true, bounded: bounded, since: now}
	kept := slices.DeleteFunc(slices.Clone(b.tallies), func(old *tally) bool {
		switch {
		case old.rule.Source == Guessed: // no need to guess any more
			return unit == limit.Requests && window <= guessedFor
		default: // its window is longer than was thought
			return bounded && old.told.bounded && old.told.name == t.told.name
		}
	})
	if len(kept) >= mostTold {
		return nil
	}
	b.tallies = append(kept, t)
	b.permits.countUnder(now, t, b)
	return t
}

// windowAround returns the shortest usual window that a reset fits in; 0 for
// none.
func windowAround(reset time.Duration) time.Duration {
	for _, w := range [...]time.Duration{time.Second, 10 * time.Second, time.Minute, 15 * time.Minute, time.Hour, 24 * time.Hour} {
		if reset > 0 && reset <= w {
			return w
		}
	}
	return 0
}

// countUnder has what is in flight count under a limit that is heard of.
func (ps *permits) countUnder(now time.Time, t *tally, b *Book) {
	for i := range ps.slots {
		p := &ps.slots[i]
		if !p.inUse || p.state == answered {
			continue
		}
		t.meter.Take(now, p.times)
		p.holds = append(p.holds, hold{tally: t, weight: p.times})
		if h := &p.holds[len(p.holds)-1]; p.state == written {
			if span, known := b.arrival(now, p, h); known && !b.ledger.opts.Strict {
				h.count(now, span)
			} else {
				h.span = span
			}
		}
	}
}

// tell takes in a fact about the tally's limit.
func (t *tally) tell(now time.Time, f *Fact) {
	if !t.learns() {
		return
	}
	if f.N > 0 {
		t.correct(f.N)
	}
	if f.Remaining < 0 || f.Remaining > max(f.N, t.rule.Limit.N) {
		return
	}
	may := t.held()
	if t.shared {
		may = t.target() // the others' parts are no business of ours
	}
	unseen := may - t.meter.Used(now) - f.Remaining
	if unseen <= 0 {
		return
	}
	at := now
	if window := t.rule.Limit.Window; t.rule.Limit.Kind == limit.Sliding {
		back := min(window, withoutEnd)
		if f.Reset >= 0 {
			back = min(window, f.Reset)
		}
		at = now.Add(back - window) // so that it is free a window later
	}
	t.meter.Count(now, limit.Span{From: at, To: at}, unseen)
}

// correct takes in the upstream's own number: of limits that were configured,
// only one that is lower.
func (t *tally) correct(n int64) {
	if t.rule.Source == Told {
		t.told.heard = true
		if n != t.rule.Limit.N {
			t.rule.Limit.N = n
			t.text = t.rule.Limit.String()
		}
	}
	if n = min(n, t.rule.Limit.N); n != int64(t.learn.known) {
		t.learn.know(n)
		t.resize()
	}
}
