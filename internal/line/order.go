package line

import (
	heaps "container/heap"
	"iter"
	"slices"
	"time"
)

// Place is where a call stands in the line.
type Place struct {
	Entry *Entry
	Ahead int // calls of its lane that will be taken before it
}

// Next returns the first n calls in the order in which they would be taken, if
// every lane were served alike and nobody joined or left. How ageing will change
// the order between classes it does not foresee. It costs no more
// than Heads and O(n log n) for each of the first n lanes, and changes nothing.
func (l *Line) Next(now time.Time, n int) []Place {
	if n <= 0 || len(l.entries) == 0 {
		return nil
	}
	at := now.Sub(l.start)
	var lanes []*rehearsal
	l.Heads(now, func(e *Entry) bool {
		lanes = append(lanes, rehearse(e.owner.class.lane, at, n))
		return len(lanes) < n // those of lanes behind come behind these
	})
	places := make([]Place, 0, min(n, len(l.entries)))
	for len(places) < n && len(lanes) > 0 {
		first := 0
		for i := range lanes {
			if precedes(at, lanes[i].next, lanes[first].next) {
				first = i
			}
		}
		r := lanes[first]
		places = append(places, Place{r.next, r.taken})
		if !r.step(at) {
			lanes = slices.Delete(lanes, first, first+1)
		}
	}
	return places
}

// Clients yields how many calls of a client wait in a lane and class, so that a
// client may come several times. The line must not be changed meanwhile.
func (l *Line) Clients() iter.Seq2[string, int] {
	return func(yield func(client string, calls int) bool) {
		for _, la := range l.lanes {
			for p := range la.classes {
				for _, cl := range la.classes[p].byPass.list {
					if !yield(cl.name, cl.root.size) {
						return
					}
				}
			}
		}
	}
}

// rehearsal takes the calls of a lane one after the other, and leaves the lane
// as it is: it has heaps and passes of its own, and reads the clients' trees.
type rehearsal struct {
	lane  *lane
	gone  map[*client]int // calls taken of a client
	next  *Entry
	taken int
}

// rehearse returns a rehearsal of up to n calls of a lane, which must not be
// empty.
func rehearse(la *lane, at time.Duration, n int) *rehearsal {
	own := newLane()
	own.busy = la.busy
	for p := range la.classes {
		from, to := &la.classes[p], &own.classes[p]
		to.pass = from.pass
		if len(from.byPass.list) == 0 {
			continue
		}
		seen := make(map[*client]bool, 2*n)
		for _, h := range []*heap{&from.byPass, &from.byAge} {
			for _, cl := range h.foremost(n) {
				if seen[cl] {
					continue
				}
				seen[cl] = true
				copied := *cl
				copied.class = to
				to.byPass.push(&copied)
				to.byAge.push(&copied)
			}
		}
	}
	return &rehearsal{lane: own, gone: make(map[*client]int), next: own.head(at)}
}

// foremost returns the first n clients of a heap, which are all that can be
// first in it while n calls are taken. It looks at no more than 2n.
func (h *heap) foremost(n int) []*client {
	if len(h.list) <= n {
		return h.list
	}
	found := make([]*client, 0, n)
	open := frontier{heap: h, at: []int{0}}
	for len(found) < n {
		i := heaps.Pop(&open).(int)
		found = append(found, h.list[i])
		for child := 2*i + 1; child <= 2*i+2 && child < len(h.list); child++ {
			heaps.Push(&open, child)
		}
	}
	return found
}

// frontier is the places of a heap whose parents have been looked at.
type frontier struct {
	heap *heap
	at   []int
}

func (f *frontier) Len() int { return len(f.at) }
func (f *frontier) Less(i, j int) bool {
	return f.heap.less(f.heap.list[f.at[i]], f.heap.list[f.at[j]])
}
func (f *frontier) Swap(i, j int) { f.at[i], f.at[j] = f.at[j], f.at[i] }
func (f *frontier) Push(x any)    { f.at = append(f.at, x.(int)) }

func (f *frontier) Pop() any {
	last := f.at[len(f.at)-1]
	f.at = f.at[:len(f.at)-1]
	return last
}

// step takes the next call, and is false if it was the last one.
func (r *rehearsal) step(at time.Duration) bool {
	e := r.next
	c := r.lane.class(e.class())
	cl := c.byPass.list[0]
	if cl.first != e {
		cl = c.byAge.list[0] // a head is one or the other
	}
	cl.charge(e)
	r.taken++
	r.gone[cl]++
	if r.gone[cl] == cl.root.size {
		c.drop(cl)
	} else {
		cl.first = cl.nth(r.gone[cl])
		c.fix(cl)
	}
	if r.lane.busy == 0 {
		return false
	}
	r.next = r.lane.head(at)
	return true
}
