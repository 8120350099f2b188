package line

// ordering says what a heap of clients is ordered by.
type ordering uint8

const (
	byPass ordering = iota // least pass, then oldest first call
	byAge                  // oldest first call
)

// heap is a binary heap of clients that know their places in it, so that any of
// them can leave or move. list[0] is first.
type heap struct {
	by   ordering
	list []*client
}

func (h *heap) push(cl *client) {
	h.list = append(h.list, cl)
	h.up(cl, len(h.list)-1)
}

func (h *heap) remove(cl *client) {
	last := len(h.list) - 1
	moved := h.list[last]
	h.list[last] = nil
	h.list = h.list[:last]
	if moved != cl {
		moved.in[h.by] = cl.in[h.by]
		h.fix(moved)
	}
}

// fix puts cl where it belongs after its pass or first call has changed.
func (h *heap) fix(cl *client) {
	i := cl.in[h.by]
	h.list[i] = cl
	h.up(cl, i)
	h.down(cl, cl.in[h.by])
}

// up places cl at i or above.
func (h *heap) up(cl *client, i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if !h.less(cl, h.list[parent]) {
			break
		}
		h.set(i, h.list[parent])
		i = parent
	}
	h.set(i, cl)
}

// down places cl at i or below.
func (h *heap) down(cl *client, i int) {
	for {
		child := 2*i + 1
		if child >= len(h.list) {
			break
		}
		if child+1 < len(h.list) && h.less(h.list[child+1], h.list[child]) {
			child++
		}
		if !h.less(h.list[child], cl) {
			break
		}
		h.set(i, h.list[child])
		i = child
	}
	h.set(i, cl)
}

func (h *heap) set(i int, cl *client) {
	h.list[i] = cl
	cl.in[h.by] = i
}

func (h *heap) less(a, b *client) bool {
	if h.by == byPass && a.pass != b.pass {
		return a.pass < b.pass
	}
	return a.first.before(b.first)
}
