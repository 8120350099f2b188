package breaker

// ring holds the latest values pushed, as many as its size. The zero ring has
// size 0 and holds none.
type ring[T any] struct {
	slots []T
	first int // slot of the oldest value
	n     int // values held
}

// resize changes the size, keeping the latest values that fit.
func (r *ring[T]) resize(size int) {
	if size == len(r.slots) {
		return
	}
	resized := ring[T]{slots: make([]T, size)}
	for i := max(0, r.n-size); i < r.n; i++ {
		resized.push(r.at(i))
	}
	*r = resized
}

// push adds v, in place of the oldest value if the ring is full. The size is
// not 0.
func (r *ring[T]) push(v T) {
	if !r.full() {
		r.n++
	} else {
		r.first = (r.first + 1) % len(r.slots)
	}
	r.slots[(r.first+r.n-1)%len(r.slots)] = v
}

// at returns value i, counted from the oldest, which is 0.
func (r *ring[T]) at(i int) T { return r.slots[(r.first+i)%len(r.slots)] }

func (r *ring[T]) full() bool { return r.n == len(r.slots) }

func (r *ring[T]) clear() { r.first, r.n = 0, 0 }
