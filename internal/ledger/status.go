package ledger

import "time"

// Status is how a rule stands in a book.
type Status struct {
	Rule   Rule
	Used   int64
	Spread time.Duration
	Share  *int64 // what may be taken, where others share the limit; else nil
}

// Status returns how each rule stands.
func (b *Book) Status(now time.Time) []Status {
	s := make([]Status, len(b.tallies))
	for i, t := range b.tallies {
		s[i] = Status{Rule: t.rule, Used: t.meter.Used(now), Spread: t.spread.d}
		if t.shared {
			share := t.share.target
			s[i].Share = &share
		}
	}
	return s
}
