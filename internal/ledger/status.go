package ledger

import "time"

// Status is how a rule stands in a book.
type Status struct {
	Rule       Rule
	Text       string // of the limit, as configured or told; "learned" if it is a guess
	Used       int64
	Spread     time.Duration
	InForce    int64 // what of the limit is there for all instances: less if somebody else uses it
	Confidence Confidence
	Share      *int64 // what may be taken, where others share the limit; else nil
}

// Confidence says how sure the number of a limit is.
type Confidence uint8

// The levels.
const (
	Low Confidence = iota
	Medium
	High
)

// String returns the level as people read it.
func (c Confidence) String() string {
	return [...]string{Low: "low", Medium: "medium", High: "high"}[c]
}

// Status returns how each rule stands.
func (b *Book) Status(now time.Time) []Status {
	s := make([]Status, len(b.tallies))
	for i, t := range b.tallies {
		s[i] = t.status(now)
	}
	return s
}

func (t *tally) status(now time.Time) Status {
	if t.learn.lowered() {
		t.grow(now, time.Time{})
	}
	s := Status{Rule: t.rule, Text: t.text, Used: t.meter.Used(now), Spread: t.spread.d, InForce: t.capacity(), Confidence: t.confidence(now)}
	if t.shared {
		share := t.target()
		s.Share = &share
	}
	return s
}

// confidence returns how sure the number is: of a guess, by how often and how
// long ago the upstream last refused more.
func (t *tally) confidence(now time.Time) Confidence {
	l := &t.learn
	switch {
	case t.rule.Source == Configured, t.told.heard && !t.told.bounded:
		return High
	case t.rule.Source == Told, l.slow, l.struck.IsZero(), now.Sub(l.struck) > remembered:
		return Low
	case l.settled < settles || now.Sub(l.struck) > remembered/6:
		return Medium
	}
	return High
}

// settles is how many refusals in a row at about the same place settle a guess.
const settles = 1

// news is what was last said of a limit that was learned.
type news struct {
	n  int64 // 0: nothing yet
	at time.Time
}

// quiet is for how long no more is said of a limit.
const quiet = time.Minute

// News returns the limits that have been taken over from answers, or that a
// guess has settled at, since they were last returned: each at most once a
// minute, and a guess only if it has moved.
func (b *Book) News(now time.Time) (all []Status) {
	for _, t := range b.tallies {
		if t.rule.Source == Configured || t.news.n != 0 && now.Sub(t.news.at) < quiet {
			continue
		}
		n, moved := t.rule.Limit.N, int64(0)
		if t.rule.Source == Guessed {
			if t.learn.slow || t.learn.settled < settles {
				continue
			}
			n = int64(t.learn.peak)
			moved = int64(within * float64(t.news.n))
		} else if !t.told.heard {
			continue
		}
		if d := n - t.news.n; max(d, -d) > moved {
			t.news = news{n, now}
			all = append(all, t.status(now))
		}
	}
	return all
}
