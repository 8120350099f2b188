// Package line holds the waiting line of an upstream: where calls wait for a
// permit, and who is next.
//
// The order is strict by priority class (RFC 9218: 0 most urgent, 7 least),
// and a call counts as one class more urgent for each AgeStep it has waited, so
// that no class starves. Inside a class clients take turns by their weights,
// and the calls of one client go first come first served. Calls that need the
// same limits form a lane; lanes don't block each other.
//
// A line is bounded: it says no at its door, not later. It grants nothing,
// knows no deadlines and never looks at a clock: its owner asks for the heads,
// takes those that get a permit, and sweeps out those that have waited too long.
//
// Values are safe for use by one goroutine at a time.
package line

import (
	"errors"
	"iter"
	"slices"
	"time"
)

// AgeStep is how long a call waits until it counts as one class more urgent.
const AgeStep = 10 * time.Second

// What an emptied line keeps for reuse. If it once held more, it gives that back.
const (
	spares     = 1024 // clients, and the length of lists
	spareLanes = 16   // each with the lists and names of its classes
)

// ErrFull is returned by Join if the line is at one of its bounds.
var ErrFull = errors.New("waiting line is full")

// Entry is one waiting call. Embed it in what waits. It is in one line at a
// time; while it is, its fields may be read but neither changed nor copied.
// Once it has left it may be used again, for its retry or for another call.
type Entry struct {
	Client   string    // whose call; "" is a client like any other
	Weight   int       // of the client: its share against others of the same priority; < 1 means 1
	Priority int       // 0 most urgent … 7 least (RFC 9218); beyond these, the nearest
	Lane     uint64    // calls of one lane need the same limits; lanes don't block each other
	Bytes    int64     // memory it holds, counted against the bound; < 0 means 0
	Arrived  time.Time // of the call, not of the attempt: a retry keeps its place; zero: set by Join or Rejoin
	Value    any       // the owner's

	line  *Line         // the line it is in; nil if in none
	owner *client       // its client there
	at    int           // index in line.entries
	since time.Duration // Arrived, counted from line.start
	seq   uint64        // join order; kept by a retry, so that it wins its ties again

	up, left, right *Entry // the client's tree, see client
	size            int    // of the subtree
	heat            uint64 // never more than the parent's
}

// Bounds of a line. What is 0 or negative bounds nothing.
type Bounds struct {
	MaxLength int   // calls
	MaxBytes  int64 // sum of Entry.Bytes
}

// Line is a waiting line. Make it with New.
type Line struct {
	bounds  Bounds
	start   time.Time // of the first join: moments are kept as distances from it
	seq     uint64    // of the last join
	bytes   int64
	entries []*Entry // all, in no order
	lanes   []*lane  // in no order
	byID    map[uint64]*lane
	idle    *client // the last to run out of calls; its name and lane are kept until the next does

	spareLanes   []*lane
	spareClients []*client
	heads        []*Entry // Heads' own, between its calls
	all          []*Entry // All's own, between its runs
}

// New returns an empty line.
func New(b Bounds) *Line {
	return &Line{bounds: b, byID: make(map[uint64]*lane)}
}

// SetBounds changes the bounds for those who join from now on. Nobody who
// already waits is thrown out.
func (l *Line) SetBounds(b Bounds) { l.bounds = b }

// Len returns the number of calls in the line, retries included.
func (l *Line) Len() int { return len(l.entries) }

// Bytes returns the memory held by the calls in the line, retries included.
func (l *Line) Bytes() int64 { return l.bytes }

// Join puts a new call into the line, or returns ErrFull if the line would then
// be longer or hold more bytes than its bounds allow. It panics if e is in a
// line already.
func (l *Line) Join(now time.Time, e *Entry) error {
	if b := l.bounds; b.MaxLength > 0 && len(l.entries) >= b.MaxLength ||
		b.MaxBytes > 0 && e.bytes() > b.MaxBytes-l.bytes {
		return ErrFull
	}
	e.seq = 0
	l.enter(now, e)
	return nil
}

// Rejoin puts a call that was taken, and must be tried again, back to where its
// arrival belongs. It is never refused, since it was admitted once; but it
// counts, so others may be refused because of it. It panics if e is in a line
// already.
func (l *Line) Rejoin(now time.Time, e *Entry) { l.enter(now, e) }

func (l *Line) enter(now time.Time, e *Entry) {
	if e.line != nil {
		panic("line: an entry joins that is in a line already")
	}
	if l.start.IsZero() {
		l.start = now
	}
	l.seq++
	if e.seq == 0 {
		e.seq = l.seq
	}
	if e.Arrived.IsZero() {
		e.Arrived = now
	}
	e.line, e.since = l, e.Arrived.Sub(l.start)
	e.at = len(l.entries)
	l.entries = append(l.entries, e)
	l.bytes += e.bytes()

	la := l.byID[e.Lane]
	if la == nil {
		la = l.openLane(e.Lane)
	}
	c := la.class(e.class())
	cl := c.byName[e.Client]
	switch {
	case cl == nil:
		cl = l.openClient(c, e.Client)
	case cl == l.idle:
		l.idle = nil
	}
	cl.insert(e)
}

// Leave takes e out of the line at no charge to its client: it gave up, or its
// time has passed. It reports whether e was in this line. It costs O(log n).
func (l *Line) Leave(e *Entry) bool {
	if e.line != l {
		return false
	}
	l.remove(e)
	return true
}

// Take takes e out of the line because it has been granted its permits, and
// charges its client one turn. Any entry may be taken, but only the taking of
// heads keeps the line's promises. It panics if e is not in this line. The
// charge does not depend on the moment.
func (l *Line) Take(_ time.Time, e *Entry) {
	if e.line != l {
		panic("line: an entry is taken that is not in the line")
	}
	e.owner.charge(e)
	l.remove(e)
}

func (l *Line) remove(e *Entry) {
	cl := e.owner
	cl.remove(e)
	if cl.root == nil {
		l.rest(cl)
	}

	last := len(l.entries) - 1
	l.entries[e.at] = l.entries[last]
	l.entries[e.at].at = e.at
	l.entries[last] = nil
	l.entries = l.entries[:last]
	if last == 0 && cap(l.entries) > spares {
		l.entries, l.all = nil, nil
	}
	l.bytes -= e.bytes()
	e.line, e.owner = nil, nil
}

// Heads yields the next call of each lane, most deserving first: by effective
// class, then by arrival. It stops when yield returns false. Each lane has one
// head per run, chosen before the first yield: after a Take ask again. Yield
// may change the line; a head that has left meanwhile is skipped.
func (l *Line) Heads(now time.Time, yield func(e *Entry) bool) {
	if len(l.entries) == 0 {
		return
	}
	at := now.Sub(l.start)
	heads := l.heads[:0]
	l.heads = nil // a run inside yield makes its own
	for _, la := range l.lanes {
		if la.busy != 0 {
			heads = append(heads, la.head(at))
		}
	}
	if len(heads) > 1 {
		slices.SortFunc(heads, func(a, b *Entry) int {
			if precedes(at, a, b) {
				return -1
			}
			return 1
		})
	}
	for _, e := range heads {
		if e.line == l && !yield(e) {
			break
		}
	}
	clear(heads)
	if cap(heads) <= spares {
		l.heads = heads
	}
}

// Ahead returns about how many calls of e's lane will be taken before e, which
// is in the line or about to join. It is exact while one class waits in the
// lane and nobody joins or leaves. It does not foresee calls yet to come, nor
// how ageing will change the order between classes. It costs O(log n) per
// client in the lane.
func (l *Line) Ahead(now time.Time, e *Entry) int {
	if e.line == l {
		return e.owner.class.lane.ahead(now.Sub(l.start), e, e.owner)
	}
	la := l.byID[e.Lane]
	if la == nil {
		return 0
	}
	probe := Entry{Weight: e.Weight, Priority: e.Priority, seq: e.seq}
	if probe.seq == 0 {
		probe.seq = l.seq + 1
	}
	if e.Arrived.IsZero() {
		probe.since = now.Sub(l.start)
	} else {
		probe.since = e.Arrived.Sub(l.start)
	}
	return la.ahead(now.Sub(l.start), &probe, la.class(e.class()).byName[e.Client])
}

// All yields every call that is in the line when the run starts, in no order.
// The line may be changed meanwhile; a call that has left is skipped.
func (l *Line) All() iter.Seq[*Entry] {
	return func(yield func(*Entry) bool) {
		all := append(l.all[:0], l.entries...)
		l.all = nil // a run inside yield makes its own
		for _, e := range all {
			if e.line == l && !yield(e) {
				break
			}
		}
		clear(all)
		if len(l.entries) > 0 || cap(all) <= spares {
			l.all = all
		}
	}
}

func (l *Line) openLane(id uint64) *lane {
	var la *lane
	if n := len(l.spareLanes); n > 0 {
		la = l.spareLanes[n-1]
		l.spareLanes = l.spareLanes[:n-1]
	} else {
		la = newLane()
	}
	la.id, la.at = id, len(l.lanes)
	l.lanes = append(l.lanes, la)
	l.byID[id] = la
	return la
}

func (l *Line) closeLane(la *lane) {
	last := len(l.lanes) - 1
	l.lanes[la.at] = l.lanes[last]
	l.lanes[la.at].at = la.at
	l.lanes[last] = nil
	l.lanes = l.lanes[:last]
	delete(l.byID, la.id)
	if last == 0 && cap(l.lanes) > spares {
		l.lanes, l.byID = nil, make(map[uint64]*lane)
	}
	if len(l.spareLanes) < spareLanes {
		l.spareLanes = append(l.spareLanes, la)
	}
}

func (l *Line) openClient(c *class, name string) *client {
	var cl *client
	if n := len(l.spareClients); n > 0 {
		cl = l.spareClients[n-1]
		l.spareClients = l.spareClients[:n-1]
	} else {
		cl = new(client)
	}
	cl.name, cl.class = name, c
	if c.byName == nil {
		c.byName = make(map[string]*client)
	}
	c.byName[name] = cl
	return cl
}

// rest makes cl, which has run out of calls, the idle client, and forgets the
// one before. Most often the next call is of the same client, and to find a
// name is much cheaper than to delete and insert it.
func (l *Line) rest(cl *client) {
	old := l.idle
	l.idle = cl
	if old == nil {
		return
	}
	old.class.forget(old)
	if la := old.class.lane; la.busy == 0 && la != cl.class.lane {
		l.closeLane(la)
	}
	*old = client{}
	if len(l.spareClients) < spares {
		l.spareClients = append(l.spareClients, old)
	}
}

// class returns the priority, clamped.
func (e *Entry) class() int { return min(max(e.Priority, 0), classes-1) }

// bytes returns what e counts against the bound.
func (e *Entry) bytes() int64 { return max(e.Bytes, 0) }

// stride returns what one turn costs a client of e's weight.
func (e *Entry) stride() int64 { return max(turn/int64(max(e.Weight, 1)), 1) }
