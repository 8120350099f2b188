package ledger

import (
	"time"

	"github.com/headgate/headgate/internal/limit"
)

// ID names a permit of a book. It stays harmless after the permit has ended.
type ID struct{ slot, generation uint32 }

type state uint8

const (
	granted  state = iota // in flight
	written               // the upstream counts it within its spread
	answered              // the upstream has counted it
)

// permit is the right to send one attempt.
type permit struct {
	generation uint32
	inUse      bool
	state      state
	granted    time.Time
	written    time.Time // zero: not yet
	round      uint64    // of the book's pauses, when it was granted
	times      int64     // attempts that it is for
	holds      []hold
	narrow     []inNarrow
	among      bool // narrow pauses were in force when it was granted
}

// hold is what a permit takes from one limit.
type hold struct {
	tally   *tally
	weight  int64
	paced   int64 // what of the weight the tally's pace was charged for
	counted bool
	span    limit.Span // once written
}

// count says that the upstream counts the weight within s. A later word
// corrects an earlier one, but only to sooner.
func (h *hold) count(now time.Time, s limit.Span) {
	m := h.tally.meter
	switch {
	case h.tally.rule.Limit.Kind == limit.Concurrent:
	case !h.counted:
		m.Take(now, -h.weight)
		m.Count(now, s, h.weight)
		h.counted, h.span = true, s
	case s.To.Before(h.span.To):
		m.Move(now, h.span, s, h.weight)
		h.span = s
	}
}

func (h *hold) settle(now, granted time.Time, weight int64) {
	d := weight - h.weight
	h.weight = weight
	h.unpace(now, granted, h.paced-weight)
	if h.counted {
		h.tally.meter.Count(now, h.span, d)
	} else {
		h.tally.meter.Take(now, d)
	}
}

// part ends k of so many attempts that share the hold in equal parts.
func (h *hold) part(now time.Time, k, of int64, sent bool, s limit.Span) {
	w, paced := h.weight/of*k, h.paced/of*k
	h.weight -= w
	if h.counted {
		h.paced -= paced
		return
	}
	h.tally.meter.Take(now, -w)
	if sent {
		h.paced -= paced
		h.tally.meter.Count(now, s, w)
	} else {
		h.unpace(now, s.From, paced)
	}
}

func (h *hold) end(now, granted time.Time) {
	if !h.counted {
		h.tally.meter.Take(now, -h.weight)
		h.unpace(now, granted, h.paced)
	}
}

// unpace gives back the gap of a weight, if it is more than 0.
func (h *hold) unpace(now, granted time.Time, w int64) {
	if w > 0 {
		h.paced -= w
		h.tally.pace.unpassed(now, granted, w)
	}
}

// permits keeps the permits of a book. Slots are used again, so that a permit
// costs no memory of its own.
type permits struct {
	slots      []permit
	free       []uint32
	open       int64 // attempts
	unanswered int64 // of them
}

func (ps *permits) add(now time.Time, times int64) (ID, *permit) {
	var slot uint32
	if n := len(ps.free); n > 0 {
		slot = ps.free[n-1]
		ps.free = ps.free[:n-1]
	} else {
		slot = uint32(len(ps.slots))
		ps.slots = append(ps.slots, permit{})
	}
	p := &ps.slots[slot]
	*p = permit{generation: p.generation + 1, inUse: true, granted: now, times: times, holds: p.holds[:0], narrow: p.narrow[:0]}
	ps.open += times
	ps.unanswered += times
	return ID{slot, p.generation}, p
}

// get returns nil for a permit that has ended.
func (ps *permits) get(id ID) *permit {
	if int(id.slot) >= len(ps.slots) {
		return nil
	}
	if p := &ps.slots[id.slot]; p.inUse && p.generation == id.generation {
		return p
	}
	return nil
}

func (ps *permits) remove(id ID) {
	p := &ps.slots[id.slot]
	p.inUse = false
	ps.free = append(ps.free, id.slot)
	ps.open -= p.times
}
