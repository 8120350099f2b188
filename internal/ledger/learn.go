package ledger

import (
	"math"
	"time"
)

// learner finds out how much of a limit there really is: one that nobody told
// us, or one that somebody else uses too. It follows what the upstream accepts:
//
//	n   ╭╮                     a refusal: what was accepted, less 1 to 6 %
//	   ╱ │      ╭──────╮  ╭──  back up to where it was refused, slow near it,
//	  ╱  │   ╭──╯      │╭─╯    then beyond, slow at first (cubic)
//	 ╱   ╰───╯         ╰╯
//	slow start                 doubles every half second, or with each round
//	                           trip, until the first refusal
//
// The idea is that of CUBIC (RFC 9438): most of the time is spent near the
// limit, and little at finding out whether it has moved. Refused twice at the
// same place, it takes longer to come back there.
type learner struct {
	unknown bool    // there is no number to begin with, nor to end at
	known   float64 // otherwise: as configured, or as the upstream says
	window  time.Duration
	share   float64 // of what is in force, that this instance may use

	n       float64       // in force
	peak    float64       // what was accepted before the last refusal
	low     float64       // n after it
	back    time.Duration // how long it takes from low to peak
	climbed time.Duration // of it
	slow    bool          // in slow start
	grown   time.Time     // when it last grew
	struck  time.Time     // when it was last refused; zero: never
	cut     time.Time     // when it was last lowered
	shut    time.Time     // since when all was refused; zero: it is not
	price   time.Duration // for how long the last refusal holds everything back, as it was told
	settled int           // refusals in a row at the peak of the one before
	strikes int64         // times that n was lowered
	answers accepted
}

const (
	startRate = 50.0 // per second, of a limit that nobody told us
	giveWay   = 0.99 // of what was accepted
	giveMore  = 0.94 // of it, where more than that is on its way already
	giveBlind = 0.7  // of what was in force, where too little was accepted to tell
	within    = 0.1  // of a peak: about the same
	near      = 0.25 // of a peak: the same, with some noise
	beyond    = 0.2  // of a peak are added when it has been passed for as long as it took

	maxSpan     = 10 * time.Second
	minBack     = 2 * time.Second // or two windows; twice that of a limit that nobody told us,
	maxBack     = 5 * time.Minute // and no more
	slower      = 2               // refusals at about the same peak, each of which doubles it,
	slowerGuess = 3               // and of a limit that nobody told us
	dear        = 20              // times as long as it holds everything back, at least
)

// mostLearned is as far as a limit grows that nobody told us.
const mostLearned = 1 << 40

func newLearner(known int64, window time.Duration, unknown bool) learner {
	l := learner{unknown: unknown, known: float64(known), n: float64(known), window: window, share: 1}
	if unknown {
		l.n, l.slow = startRate*window.Seconds(), true
	}
	l.answers.span, l.answers.guess = time.Second, unknown
	if !unknown && window > 0 {
		l.answers.span = min(window, maxSpan)
	}
	return l
}

// inForce returns how much may be used.
func (l *learner) inForce() int64 { return max(int64(math.Round(l.n)), 1) }

// lowered reports whether that is less than is known.
func (l *learner) lowered() bool { return !l.unknown && l.n < l.known }

// know takes in another number, as configured or told. What was lowered stays
// so.
func (l *learner) know(n int64) {
	if l.unknown || !l.lowered() {
		l.n = float64(n)
	}
	l.unknown, l.slow, l.known = false, false, float64(n)
	l.n = min(l.n, l.known)
}

// accept counts an answer that was no refusal; see accepted.add.
func (l *learner) accept(now time.Time, w int64, steady bool) { l.answers.add(now, w, steady) }

// span is what is looked back at: a window, of long ones a part, and of a limit
// that nobody told us a second, until its window turns out to be longer.
func (l *learner) span() time.Duration { return l.answers.span }

// strike takes in a refusal although there was room. It is false if something
// else may be to blame, and is for the first time.
func (l *learner) strike(now time.Time, doubtful bool) bool {
	again := !l.struck.IsZero() && now.Sub(l.struck) <= l.base()
	l.struck, l.answers.steady = now, time.Time{}
	shut := !l.shut.IsZero()
	if !shut {
		l.shut = now
	}
	if doubtful && !again && !l.unknown && !l.lowered() {
		return false
	}
	if !l.slow && (now.Sub(l.cut) < l.span() || l.unknown && shut) {
		return true // what was lowered has not shown yet
	}
	found := l.estimate(now)
	give := giveWay
	if l.unknown && (l.slow || l.climbed < l.back) {
		give = giveMore
	}
	l.refusedAt(found)
	one := l.window.Seconds() / l.span().Seconds()
	l.low = max(min(found, l.peak)*give-one/2, found/2, 1)
	l.n, l.slow, l.climbed, l.grown, l.cut = l.low, false, 0, now, now
	l.strikes++
	return true
}

// refusedAt moves the peak to where it was refused, or half the way if that is
// near, and says how long it takes to come back there.
func (l *learner) refusedAt(found float64) {
	off, was := math.Abs(found-l.peak), l.peak
	l.settled++
	if l.slow || off > within*was {
		l.settled = 0
	}
	l.peak = found
	if !l.slow && off < near*was {
		l.peak = (found + was) / 2
	}
	most := slower
	if l.unknown {
		most = slowerGuess
	}
	l.back = l.base() << min(l.settled, most)
	if l.settled > 0 {
		l.back = max(l.back, dear*min(l.price, maxSpan))
	}
}

// reopen takes in that something is accepted again that was sent since the last
// refusal. It reports whether the number in force has changed: after a long
// time of nothing but refusals, what was accepted before was no rate.
func (l *learner) reopen(now time.Time) (changed bool) {
	shut := l.shut
	l.shut = time.Time{}
	if !l.unknown || shut.IsZero() {
		return false
	}
	least, most, long := l.answers.reopened(now, shut, l.struck)
	if !long {
		return false
	}
	l.peak = max(min(l.whole(most), l.n), 1)
	l.low = max(min(l.whole(least), l.peak*giveMore), 1)
	l.n = l.low
	l.slow, l.settled, l.back, l.climbed, l.grown, l.cut = false, 0, l.base(), 0, now, now
	return true
}

// shutFor returns for how long all has been refused.
func (l *learner) shutFor(now time.Time) time.Duration {
	if l.shut.IsZero() {
		return 0
	}
	return now.Sub(l.shut)
}

// estimate returns what the upstream accepts in a window, as a refusal shows it.
func (l *learner) estimate(now time.Time) float64 {
	rate, ok := l.answers.refused(now)
	if !ok {
		return max(l.n*giveBlind, 1)
	}
	return max(min(l.whole(rate), l.n), 1)
}

// whole returns what a rate of this instance, a second, makes of all instances
// in a window.
func (l *learner) whole(rate float64) float64 { return rate * l.window.Seconds() / l.share }

// adopt takes in what others have learned: from more refusals, or from as many
// if they have found more. It is false if that is no news.
func (l *learner) adopt(now time.Time, n float64, strikes int64) bool {
	if strikes < l.strikes || strikes == l.strikes && n <= float64(l.inForce()) || !l.unknown && strikes == 0 {
		return false
	}
	switch {
	case strikes > l.strikes:
		l.refusedAt(n / giveWay)
		l.peak = max(l.peak, n/giveWay)
		l.low, l.slow, l.climbed, l.struck, l.grown, l.cut = n, false, 0, now, now, now
	case !l.slow:
		l.climbed = l.climbTo(n)
	}
	l.strikes, l.n = strikes, n
	if !l.unknown {
		l.n = min(n, l.known)
	}
	return true
}

// base is how long it takes from low to peak at first.
func (l *learner) base() time.Duration {
	if l.unknown {
		return 2 * minBack
	}
	return min(max(2*min(l.window, maxBack), minBack), maxBack)
}

// grow lets time pass. A limit that nobody told us grows only while calls wait
// for it and are accepted: what nobody wants is not asked for. pressed is since
// when they wait; zero: none does.
func (l *learner) grow(now, pressed time.Time) (changed bool) {
	from := l.grown
	l.grown = now
	if !l.unknown && !l.lowered() {
		return false
	}
	if l.unknown {
		if pressed.IsZero() || l.answers.steady.IsZero() {
			return false
		}
		from = later(later(from, pressed), l.answers.steady)
	}
	passed := now.Sub(from)
	if passed <= 0 {
		return false
	}
	before := l.n
	if l.slow {
		l.n = max(l.n, min(l.n*math.Exp2(min(2*passed.Seconds(), 1)), 2*l.whole(l.answers.lately(now).rate(now))))
	} else {
		l.climbed += passed
		x := float64(l.climbed)/float64(l.back) - 1
		l.n = l.peak + l.steep(x)*x*x*x
	}
	if l.unknown {
		l.n = min(l.n, mostLearned)
	} else {
		l.n = min(l.n, l.known)
	}
	return l.n != before
}

// steep returns how steep the way is: x runs from -1 at low over 0 at the peak.
func (l *learner) steep(x float64) float64 {
	if x > 0 {
		return l.peak - l.low + beyond*l.peak
	}
	return l.peak - l.low
}

// climbTo returns how long it takes from low to n.
func (l *learner) climbTo(n float64) time.Duration {
	x := math.Cbrt((n - l.peak) / l.steep(n-l.peak))
	return time.Duration(float64(l.back) * (x + 1))
}
