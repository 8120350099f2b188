package ledger

import (
	"math"
	"time"

	"github.com/headgate/headgate/internal/limit"
)

// share is what this instance has of a limit that others use too.
type share struct {
	hold   int64 // so much may count at the upstream
	target int64 // of it, so much may be taken: the rest goes back as it falls free
	most   int64 // what it could come to hold
	of     int64 // what there was for all instances when this was told
}

// resize puts the part in force.
func (t *tally) resize() {
	n := t.capacity()
	if t.shared {
		n = t.target()
		t.learn.share = min(float64(max(t.share.target, 1))/float64(max(t.share.of, 1)), 1)
	}
	t.limit = partOf(t.rule.Limit, n)
	t.resizeMeter()
	quota := float64(t.limit.N)
	if t.learned() {
		quota = max(t.learn.n*t.learn.share, 1)
	}
	t.pace.set(quota, t.learned())
}

func (t *tally) resizeMeter() { t.meter.Resize(t.rule.Limit, t.held()) }

// capacity returns what of the limit is there for all instances: less than it
// says if somebody else uses it too, and of one that nobody told us what was
// learned.
func (t *tally) capacity() int64 {
	switch {
	case !t.learns():
		return t.rule.Limit.Capacity()
	case t.learn.unknown:
		return t.learn.inForce()
	}
	return min(t.learn.inForce(), t.rule.Limit.Capacity())
}

// target returns what of the part may be taken: it may have been told before
// the limit was lowered.
func (t *tally) target() int64 { return min(t.share.target, t.capacity()) }

// held returns the part that the meter has: 1 at least, of which nothing may be
// taken, but where tokens would come with it. The pace holds attempts to what
// was lowered.
func (t *tally) held() int64 {
	switch {
	case !t.metered():
		return mostLearned
	case t.shared:
	case t.learn.lowered():
		n := t.learn.n * float64(t.rule.Limit.Window+t.spread.d) / float64(t.rule.Limit.Window)
		return max(min(int64(math.Ceil(n))+1, int64(t.learn.known)), 1)
	default:
		return t.capacity()
	}
	if t.rule.Limit.Kind == limit.Bucket {
		return min(t.share.hold, t.capacity())
	}
	return max(min(t.share.hold, t.capacity()), 1)
}

// metered reports whether the meter holds attempts to the part. Of a guess the
// pace does alone, which needs no time to give back: only who has no part takes
// nothing.
func (t *tally) metered() bool { return !t.learn.unknown || t.shared && t.share.target == 0 }

// partOf returns a limit that gives out n of what l does.
func partOf(l limit.Limit, n int64) limit.Limit {
	n = max(n, 1)
	if l.Kind == limit.Bucket {
		l.N, l.Burst = max(int64(float64(l.N)*float64(n)/float64(l.Burst)), 1), n
	} else {
		l.N = n
	}
	return l
}

// forecast returns a moment before which an attempt of weight w cannot start
// that has ahead others like it in front of it.
func (t *tally) forecast(now time.Time, w int64, ahead int, pressed time.Time) time.Time {
	l, pace := t.limit, t.pace
	n := t.capacity()
	switch {
	case t.learn.unknown || t.shared && l.Kind == limit.Bucket:
		return now // it grows, or parts and their tokens come and go
	case t.shared:
		// As if all were there that can be had: who needs more gets it once.
		n = max(t.share.most, t.share.hold, min(w, t.rule.Limit.Capacity()), 1)
	case t.learn.lowered():
		n = t.rule.Limit.Capacity() // it comes back
	}
	if t.shared || t.learn.lowered() {
		pace.set(float64(n), false)
		t.meter.Used(now) // windows that have ended are paid for by the part that is held
		t.meter.Resize(t.rule.Limit, n)
		defer t.resizeMeter()
	}
	at := t.meter.Forecast(now, w+int64(ahead))
	return later(at, t.paced(now, pressed, pace.earliest(now, ahead)))
}

// Parts are the limits of which an instance's parts are told together: those of
// one credential, or those that all credentials share.
type Parts []*tally

// Parts returns those of the book's credential alone.
func (b *Book) Parts() Parts {
	var own Parts
	for _, t := range b.tallies {
		if t.rule.Scope != PerUpstream {
			own = append(own, t)
		}
	}
	return own
}

// Parts returns those of the limits that all books share.
func (l *Ledger) Parts() Parts {
	var common Parts
	for _, t := range l.shared {
		if t != nil {
			common = append(common, t)
		}
	}
	return common
}

// Rule returns the rule of part i.
func (p Parts) Rule(i int) Rule { return p[i].rule }

// Text returns what people call part i's limit; see Status.
func (p Parts) Text(i int) string { return p[i].text }

// Linger returns for how long after its last attempt part i may count.
func (p Parts) Linger(i int) time.Duration {
	t := p[i]
	switch l := &t.rule.Limit; l.Kind {
	case limit.Concurrent:
		return 0
	case limit.Bucket:
		return t.spread.burst() // tokens are lost with their part
	case limit.Fixed:
		return 2*l.Window + t.spread.burst() // the way to the upstream may take a window
	default:
		return l.Window + t.spread.burst()
	}
}

// Capacity returns what of part i's limit is there for all instances, as this
// one has learned.
func (p Parts) Capacity(i int) int64 { return p[i].capacity() }

// Known returns what of part i's limit all instances may hold together, as was
// configured or told.
func (p Parts) Known(i int) int64 {
	switch t := p[i]; {
	case !t.learns():
		return t.rule.Limit.Capacity()
	case t.learn.unknown:
		return mostLearned
	default:
		return int64(t.learn.known)
	}
}

// Lesson returns what was learned of part i's limit, for all instances, and from
// how many refusals; 0 if nothing was.
func (p Parts) Lesson(i int) (n, refusals int64) {
	t := p[i]
	if !t.learns() || !t.learn.unknown && t.learn.strikes == 0 {
		return 0, 0
	}
	return t.capacity(), t.learn.strikes
}

// Adopt takes in what all instances have learned of part i's limit.
func (p Parts) Adopt(now time.Time, i int, n, refusals int64) {
	if t := p[i]; n > 0 && t.learns() && t.learn.adopt(now, float64(n), refusals) {
		t.resize()
	}
}

// Used returns what of part i counts at the upstream, or may come to: the rest
// may at once be another instance's, and so may all of a guess that is more than
// the part.
func (p Parts) Used(now time.Time, i int) int64 {
	used := p[i].meter.Used(now)
	if p[i].learn.unknown {
		used = min(used, p[i].target())
	}
	return used
}

// Uses adds to each class what its attempts take of part i.
func (p Parts) Uses(now time.Time, i int, classes *[Classes]int64) {
	p[i].uses.share(now, p[i].rule.Limit.Window, p[i].meter.Used(now), classes)
}

// Short reports whether part i has no room for a weight.
func (p Parts) Short(now time.Time, i int, w int64) bool {
	return p[i].meter.Used(now)+w > p[i].target()
}

// Weight returns what an attempt takes of part i.
func (p Parts) Weight(i int, ask *Ask) int64 { return ask.weight(p[i]) }

// Set puts part i in force.
func (p Parts) Set(i int, hold, target, most int64) {
	t := p[i]
	next := share{hold, min(target, hold), most, t.share.of}
	if next != t.share {
		next.of = t.capacity()
		t.share = next
		t.resize()
	}
}

// Refill adds tokens to part i, which came with it.
func (p Parts) Refill(now time.Time, i int, tokens float64) { p[i].meter.Refill(now, tokens) }

// Frees returns when some of part i falls free; zero if that is not known.
func (p Parts) Frees(now time.Time, i int) time.Time {
	t := p[i]
	at, known := t.meter.Ready(now, 1, t.held()-t.meter.Used(now))
	if !known {
		return time.Time{}
	}
	return at
}

// Classes is how many classes of priority there are.
const Classes = 8

// uses is what was granted by class, in this half of a window and the one
// before.
type uses struct {
	ends        time.Time
	now, before [Classes]int64
}

func (u *uses) roll(now time.Time, window time.Duration) {
	half := max(window/2, time.Second/2)
	if now.Before(u.ends) {
		return
	}
	u.before = u.now
	if now.Sub(u.ends) > half {
		u.before = [Classes]int64{}
	}
	u.now = [Classes]int64{}
	u.ends = now.Add(half)
}

func (u *uses) add(now time.Time, window time.Duration, class int, w int64) {
	u.roll(now, window)
	u.now[min(max(class, 0), Classes-1)] += w
}

// share adds what is used to the classes, in proportion to what was granted.
func (u *uses) share(now time.Time, window time.Duration, used int64, classes *[Classes]int64) {
	u.roll(now, window)
	var all, last int64
	for c := range classes {
		if n := u.now[c] + u.before[c]; n > 0 {
			all += n
			last = int64(c)
		}
	}
	if all == 0 {
		classes[Classes-1] += used
		return
	}
	left := used
	for c := range classes {
		n := int64(float64(used) * float64(u.now[c]+u.before[c]) / float64(all))
		classes[c] += n
		left -= n
	}
	classes[last] += left
}
