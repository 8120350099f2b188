package ledger

import "time"

// pace keeps attempts apart, so that a window's quota does not leave in one
// burst: lower p99, kinder to the upstream, and safe with those that enforce a
// minute's quota by the second.
//
// Each weight that passes takes a gap. What turns out to weigh less gives its
// gap back: at once if nothing has passed since, else as credit, which makes
// later gaps shorter bit by bit. Were it all given back at once, as many
// attempts would leave in a burst as answers happen to come together.
type pace struct {
	quota  float64 // that passes in a window
	window time.Duration
	exact  bool // nothing else bounds the quota

	next   time.Time     // earliest moment of the next attempt
	until  time.Time     // attempts are kept apart until then, pressure or not
	last   time.Time     // when a weight last passed
	credit time.Duration // a window at most
}

// Space keeps attempts apart, pressure or not, for a window of each limit from a
// moment on.
func (b *Book) Space(from time.Time) {
	for _, t := range b.tallies {
		t.pace.until = later(t.pace.until, from.Add(t.rule.Limit.Window))
	}
}

// passed takes the gap of a weight that starts now. Time that went by unused is
// lost, first of the credit.
func (p *pace) passed(now time.Time, w int64) {
	from := later(p.next, now.Add(-p.slack()))
	p.credit = max(p.credit-from.Sub(p.next), 0)
	gap := p.gapOf(w)
	// A steady share of gaps that is given back settles at a credit that takes
	// the same share off: half at a tenth of the window, 10 of 11 at a window.
	share := float64(p.credit) / float64(p.credit+p.window/10)
	short := min(time.Duration(float64(gap)*share), p.credit)
	p.credit -= short
	p.next = from.Add(gap - short)
	p.last = now
}

// unpassed gives back the gap of a weight, or of a part of it, that passed at
// a moment.
func (p *pace) unpassed(now, at time.Time, w int64) {
	gap := p.gapOf(w)
	if !at.Before(p.last) {
		back := min(gap, max(p.next.Sub(now.Add(-p.slack())), 0))
		p.next = p.next.Add(-back)
		gap -= back
	}
	p.credit = min(p.credit+gap, p.window)
}

// set has another quota pass from now on. The gap that is running is shortened
// if that is more.
func (p *pace) set(quota float64, exact bool) {
	if gap := p.next.Sub(p.last); quota > p.quota && gap > 0 {
		p.next = p.last.Add(time.Duration(float64(gap) * p.quota / quota))
	}
	p.quota, p.exact = quota, exact
}

// hold lets nothing pass for the time of so many gaps.
func (p *pace) hold(now time.Time, gaps float64) {
	p.holdUntil(now.Add(time.Duration(gaps * float64(p.gapOf(1)))))
	p.credit = 0
}

// holdUntil lets nothing pass until a moment.
func (p *pace) holdUntil(t time.Time) { p.next = later(p.next, t) }

// earliest returns a moment before which an attempt cannot pass that has ahead
// others in front of it, each of a weight of 1 or more.
func (p *pace) earliest(now time.Time, ahead int) time.Time {
	gaps := min(float64(ahead)*float64(p.gapOf(1)), float64(farthest))
	return later(p.next, now.Add(-p.slack())).Add(time.Duration(gaps) - p.credit)
}

// farthest is as far as a forecast looks: lines may be longer than a Duration
// holds.
const farthest = 366 * 24 * time.Hour

// gapOf fills 95 % of the window with a quota: what the meter gives back late
// never has to be made up. Of a quota that was learned there is no meter to be
// late: its pace is all there is.
func (p *pace) gapOf(w int64) time.Duration {
	fill := 0.95
	if p.exact {
		fill = 1
	}
	return time.Duration(float64(p.window) * fill * min(float64(w), p.quota) / p.quota)
}

// slack is what is made good of timers that fire late.
func (p *pace) slack() time.Duration {
	if p.exact {
		return min(p.window/25, 40*time.Millisecond)
	}
	return p.window / 50
}
