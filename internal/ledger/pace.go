package ledger

import (
	"time"

	"github.com/headgate/headgate/internal/limit"
)

// pace keeps attempts apart, so that a window's quota does not leave in one
// burst: lower p99, kinder to the upstream, and safe with those that enforce a
// minute's quota by the second.
//
// Each weight that passes takes a gap. What turns out to weigh less gives its
// gap back: at once if nothing has passed since, else as credit, which makes
// later gaps shorter bit by bit. Were it all given back at once, as many
// attempts would leave in a burst as answers happen to come together.
type pace struct {
	next   time.Time     // earliest moment of the next attempt
	until  time.Time     // attempts are kept apart until then, pressure or not
	last   time.Time     // when a weight last passed
	credit time.Duration // a window at most
	exact  bool          // nothing else bounds the quota
}

// passed takes the gap of a weight that starts now. Time that went by unused is
// lost, first of the credit.
func (p *pace) passed(now time.Time, w int64, l *limit.Limit) {
	from := later(p.next, now.Add(-p.slack(l)))
	p.credit = max(p.credit-from.Sub(p.next), 0)
	gap := p.gapOf(w, l)
	// A steady share of gaps that is given back settles at a credit that takes
	// the same share off: half at a tenth of the window, 10 of 11 at a window.
	share := float64(p.credit) / float64(p.credit+l.Window/10)
	short := min(time.Duration(float64(gap)*share), p.credit)
	p.credit -= short
	p.next = from.Add(gap - short)
	p.last = now
}

// unpassed gives back the gap of a weight, or of a part of it, that passed at
// a moment.
func (p *pace) unpassed(now, at time.Time, w int64, l *limit.Limit) {
	gap := p.gapOf(w, l)
	if !at.Before(p.last) {
		back := min(gap, max(p.next.Sub(now.Add(-p.slack(l))), 0))
		p.next = p.next.Add(-back)
		gap -= back
	}
	p.credit = min(p.credit+gap, l.Window)
}

// scale shortens the gap that is running, because more may pass since.
func (p *pace) scale(by float64) {
	if gap := p.next.Sub(p.last); by < 1 && gap > 0 {
		p.next = p.last.Add(time.Duration(float64(gap) * by))
	}
}

// earliest returns a moment before which an attempt cannot pass that has ahead
// others in front of it, each of a weight of 1 or more.
func (p *pace) earliest(now time.Time, ahead int, l *limit.Limit) time.Time {
	gaps := min(float64(ahead)*float64(p.gapOf(1, l)), float64(farthest))
	return later(p.next, now.Add(-p.slack(l))).Add(time.Duration(gaps) - p.credit)
}

// farthest is as far as a forecast looks: lines may be longer than a Duration
// holds.
const farthest = 366 * 24 * time.Hour

// gapOf fills 95 % of the window with a quota: what the meter gives back late
// never has to be made up. Of a quota that nobody told us there is no meter to
// be late: its pace is all there is.
func (p *pace) gapOf(w int64, l *limit.Limit) time.Duration {
	fill := 0.95
	if p.exact {
		fill = 1
	}
	return time.Duration(float64(l.Window) * fill * float64(min(w, l.N)) / float64(l.N))
}

// slack is what is made good of timers that fire late.
func (p *pace) slack(l *limit.Limit) time.Duration {
	if p.exact {
		return min(l.Window/50, 10*time.Millisecond)
	}
	return l.Window / 50
}
