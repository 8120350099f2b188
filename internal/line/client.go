package line

// client holds the calls of one client in one class, ordered by arrival. They
// form a treap: a search tree by arrival that is a heap by heat, a random
// number of each call, and so is O(log n) deep whatever comes and goes. The
// links are in the entries, so nothing is allocated, and subtrees know their
// size, so a call's place is found without counting. A heap or a list would be
// shorter and could not tell the place.
type client struct {
	name  string
	class *class
	pass  int64 // of its next turn
	root  *Entry
	first *Entry // the oldest; nil if there is none
	in    [2]int // index in the class's heaps, by ordering; only with calls
}

// charge makes the client pay one turn for e. A turn in order moves the class's
// pass. A turn out of order (e was promoted) costs no more than it costs to
// start anew: else a client would owe turns without bound, and would starve
// again for having starved before.
func (cl *client) charge(e *Entry) {
	c := cl.class
	if c.byPass.list[0] == cl {
		c.pass = cl.pass
	}
	cl.pass = c.pass + e.stride()
}

// insert adds e, and the client to its class's heaps if e is its first call.
func (cl *client) insert(e *Entry) {
	e.owner = cl
	e.up, e.left, e.right, e.size, e.heat = nil, nil, nil, 1, mix(e.seq)
	if cl.root == nil {
		cl.root, cl.first = e, e
		cl.class.add(cl, e)
		return
	}
	for n := cl.root; e.up == nil; {
		n.size++
		next := &n.right
		if e.before(n) {
			next = &n.left
		}
		if *next == nil {
			*next, e.up = e, n
		}
		n = *next
	}
	for e.up != nil && e.heat > e.up.heat {
		cl.raise(e)
	}
	if e.before(cl.first) {
		cl.first = e
		cl.class.fix(cl)
	}
}

// remove takes e out, and the client of its class's heaps if e was its last call.
// Charge comes before remove, so that the heaps are put in order once.
func (cl *client) remove(e *Entry) {
	for e.left != nil || e.right != nil {
		if e.right == nil || e.left != nil && e.left.heat > e.right.heat {
			cl.raise(e.left)
		} else {
			cl.raise(e.right)
		}
	}
	cl.replace(e, nil)
	for n := e.up; n != nil; n = n.up {
		n.size--
	}
	e.up = nil
	if cl.root == nil {
		cl.first = nil
		cl.class.drop(cl)
		return
	}
	if cl.first == e {
		cl.first = cl.root
		for cl.first.left != nil {
			cl.first = cl.first.left
		}
	}
	cl.class.fix(cl)
}

// count returns how many calls hold, where those that hold are the oldest.
func (cl *client) count(holds func(*Entry) bool) int {
	k := 0
	for n := cl.root; n != nil; {
		if holds(n) {
			k += n.left.len() + 1
			n = n.right
		} else {
			n = n.left
		}
	}
	return k
}

// nth returns the call with k older ones before it; k is less than their number.
func (cl *client) nth(k int) *Entry {
	n := cl.root
	for {
		switch older := n.left.len(); {
		case k < older:
			n = n.left
		case k == older:
			return n
		default:
			k -= older + 1
			n = n.right
		}
	}
}

// raise swaps e with its parent, keeping the order.
func (cl *client) raise(e *Entry) {
	p := e.up
	var moved *Entry // from below e to below p
	if p.left == e {
		moved = e.right
		p.left, e.right = moved, p
	} else {
		moved = e.left
		p.right, e.left = moved, p
	}
	if moved != nil {
		moved.up = p
	}
	cl.replace(p, e)
	e.up, p.up = p.up, e
	e.size = p.size
	p.size = p.left.len() + p.right.len() + 1
}

// replace puts e in the place of old below old's parent.
func (cl *client) replace(old, e *Entry) {
	switch up := old.up; {
	case up == nil:
		cl.root = e
	case up.left == old:
		up.left = e
	default:
		up.right = e
	}
}

// len returns the size of the subtree; e may be nil.
func (e *Entry) len() int {
	if e == nil {
		return 0
	}
	return e.size
}

// before reports whether e arrived before x, ties by join order.
func (e *Entry) before(x *Entry) bool {
	if e.since != x.since {
		return e.since < x.since
	}
	return e.seq < x.seq
}

// mix scatters join order (the finaliser of splitmix64, Steele et al. 2014).
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
