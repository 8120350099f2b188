package line

import (
	"math/bits"
	"time"
)

const (
	classes = 8 // of priority, RFC 9218

	// turn is what one turn costs a client of weight 1. It can be divided by
	// all weights up to 16, so that shares are exact where people look, and is
	// small enough for 8e11 turns before a class that never empties overflows.
	turn = 16 * 720720
)

// lane holds the calls that need the same limits, by class.
type lane struct {
	id      uint64
	at      int   // index in Line.lanes
	busy    uint8 // bit p is set if class p has clients
	classes [classes]class
}

// class holds the calls of one priority in one lane. Clients take turns by
// stride scheduling (Waldspurger and Weihl, 1995): each has a pass, the least
// pass is next, and a turn moves it on by one stride, turn/weight. A client
// that comes starts one stride beyond the class's pass, which is the pass of
// the last turn in order. So passes stay between the class's pass and one
// stride more, which is all that fairness and its bound need:
//
//   - nobody gains from idling, and a client that always has one call waiting
//     gets its full share, no less and no more;
//   - nobody is overtaken without end: those who come after a turn stand behind
//     the pass of that turn, so the class's pass must rise. Had newcomers
//     started at the class's pass itself, a stream of them would hold it there.
//
// Equal passes go by the arrival of the first call.
type class struct {
	lane   *lane
	level  int                // the priority
	pass   int64              // 0 while empty
	byName map[string]*client // those with calls, and maybe Line.idle
	byPass heap               // those with calls, next turn first
	byAge  heap               // those with calls, oldest first call first
}

func newLane() *lane {
	la := new(lane)
	for p := range la.classes {
		la.classes[p] = class{lane: la, level: p, byPass: heap{by: byPass}, byAge: heap{by: byAge}}
	}
	return la
}

func (la *lane) class(p int) *class { return &la.classes[p] }

// head returns the next call of a lane, which must not be empty.
//
// A class competes with the others by its oldest call, since that has aged
// most. The winning class sends its fair candidate, the first call of the
// client whose turn it is, if that call by itself precedes all other classes;
// else it sends its oldest. Two simpler rules were given up:
//
//   - To compare fair candidates only: a client with short waits hides one that
//     starves, whose promotion is then never seen.
//   - To send always the fair candidate: fresh calls of low priority ride past
//     urgent ones on the age of a call that stays behind and lends it again.
//
// So ageing works between classes only: whatever is sent precedes every call of
// the other classes, and while a class has the lane to itself, turns are fair
// however long the line. A class that lives by promotion alone is served by age,
// where a client whose turn it is goes first as soon as its own call is due.
func (la *lane) head(at time.Duration) *Entry {
	var best, second *class
	for busy := la.busy; busy != 0; busy &= busy - 1 {
		c := &la.classes[bits.TrailingZeros8(busy)]
		switch {
		case best == nil:
			best = c
		case precedes(at, c.oldest(), best.oldest()):
			best, second = c, best
		case second == nil || precedes(at, c.oldest(), second.oldest()):
			second = c
		}
	}
	fair := best.byPass.list[0].first
	if second == nil || precedes(at, fair, second.oldest()) {
		return fair
	}
	return best.oldest()
}

// ahead counts the calls that will be taken before e, a call of client cl; cl
// is nil, or without calls, if e would be its first in the class.
func (la *lane) ahead(at time.Duration, e *Entry, cl *client) int {
	n := 0
	for busy := la.busy; busy != 0; busy &= busy - 1 {
		c := &la.classes[bits.TrailingZeros8(busy)]
		if c.level == e.class() {
			n += c.ahead(e, cl)
			continue
		}
		if !precedes(at, c.oldest(), e) {
			continue
		}
		for _, other := range c.byPass.list {
			n += other.count(func(x *Entry) bool { return precedes(at, x, e) })
		}
	}
	return n
}

// ahead counts the turns before that of e by turns alone.
func (c *class) ahead(e *Entry, cl *client) int {
	n, due := 0, c.pass+e.stride()
	if cl != nil && cl.root != nil {
		n = cl.count(func(x *Entry) bool { return x.before(e) })
		due = cl.pass + int64(n)*e.stride()
	}
	for _, other := range c.byPass.list {
		if other == cl || other.pass > due {
			continue
		}
		gap, stride := due-other.pass, other.first.stride()
		k := gap / stride // its turn k, counted from 0, is the last that may come first
		switch {
		case k >= int64(other.root.size):
			n += other.root.size
		case gap%stride != 0 || other.nth(int(k)).before(e):
			n += int(k) + 1
		default: // both at due, and e is the older one
			n += int(k)
		}
	}
	return n
}

func (c *class) oldest() *Entry { return c.byAge.list[0].first }

// add gives a client turns when it gets its first call, e.
func (c *class) add(cl *client, e *Entry) {
	cl.pass = c.pass + e.stride()
	c.byPass.push(cl)
	c.byAge.push(cl)
	c.lane.busy |= 1 << c.level
}

// fix puts a client in order whose pass or first call has changed.
func (c *class) fix(cl *client) {
	c.byPass.fix(cl)
	c.byAge.fix(cl)
}

// drop ends the turns of a client that has no more calls. A class without
// calls owes nobody anything: it starts over.
func (c *class) drop(cl *client) {
	c.byPass.remove(cl)
	c.byAge.remove(cl)
	if len(c.byPass.list) == 0 {
		c.lane.busy &^= 1 << c.level
		c.pass = 0
	}
}

// forget gives up the name of a client that has no calls, and the room for
// names if there were many.
func (c *class) forget(cl *client) {
	delete(c.byName, cl.name)
	if len(c.byName) == 0 && cap(c.byPass.list) > spares {
		c.byName, c.byPass.list, c.byAge.list = nil, nil, nil
	}
}

// precedes reports whether a goes before b when their classes differ: by
// effective class, then by arrival. Within one class it orders by arrival.
func precedes(at time.Duration, a, b *Entry) bool {
	if x, y := a.level(at), b.level(at); x != y {
		return x < y
	}
	return a.before(b)
}

// level returns the effective class of e: its priority, less one for each
// AgeStep it has waited.
func (e *Entry) level(at time.Duration) int {
	return max(e.class()-int(max(at-e.since, 0)/AgeStep), 0)
}
