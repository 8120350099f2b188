package limit

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// fleet is meters of one limit, each with a part of it. Parts move: a meter
// lowers its own, to no less than what it uses, before another one is raised.
type fleet struct {
	*rand.Rand
	limit   Limit
	now     time.Time
	members []*history
	free    int64 // nobody's part

	// Of a bucket: the tokens in the free part, as they come. Those that are
	// given back with a part are lost.
	tokens float64
	at     time.Time
}

// newFleet returns a fleet whose first member has all that the others need not
// have.
func newFleet(t testing.TB, seed uint64, text string, spread time.Duration) *fleet {
	f := &fleet{Rand: rand.New(rand.NewPCG(seed, 1)), limit: mustParse(t, text), now: t0, at: t0}
	least := f.least()
	most := int64(4)
	if least > 0 {
		most = min(most, f.limit.N)
	}
	rest := f.limit.Capacity()
	for range most {
		h := newHistory(t, seed, text, spread)
		h.Rand, h.part = f.Rand, least
		rest -= least
		f.members = append(f.members, h)
	}
	f.members[0].part += rest
	for _, h := range f.members {
		h.meter.Resize(f.limit, h.part)
	}
	return f
}

// least returns the smallest part that a meter can have.
func (f *fleet) least() int64 {
	if f.limit.Kind == Bucket {
		return 0
	}
	return 1
}

func (f *fleet) step() {
	h := f.members[f.IntN(len(f.members))]
	h.now = f.now
	switch f.IntN(10) {
	case 0, 1:
		f.lower(h)
	case 2, 3:
		f.raise(h)
	case 4, 5:
		h.takeAll()
	default:
		h.step()
		f.now = h.now
	}
}

// takeAll takes, and writes, all that may start now.
func (h *history) takeAll() {
	if h.limit.Kind == Concurrent {
		return
	}
	for {
		if at, known := h.meter.Ready(h.now, 1, 0); !known || at.After(h.now) {
			return
		}
		c := counted{Span{h.now, h.now.Add(h.spread)}, 1}
		h.meter.Count(h.now, c.Span, 1)
		h.counted = append(h.counted, c)
	}
}

func (f *fleet) lower(h *history) {
	least := max(h.meter.Used(f.now), f.least())
	if least >= h.part {
		return
	}
	f.fill()
	part := least
	if f.IntN(2) == 0 {
		part += f.Int64N(h.part - least)
	}
	f.free += h.part - part
	h.part = part
	h.meter.Resize(f.limit, part)
}

func (f *fleet) raise(h *history) {
	if f.free == 0 {
		return
	}
	f.fill()
	more := 1 + f.Int64N(f.free)
	tokens := f.tokens * float64(more) / float64(f.free)
	f.tokens -= tokens
	f.free -= more
	h.part += more
	h.meter.Resize(f.limit, h.part)
	if f.IntN(3) > 0 { // else they are lost on the way
		h.meter.Refill(f.now, tokens)
	}
}

// fill has the tokens of the free part come.
func (f *fleet) fill() {
	if f.limit.Kind == Bucket {
		came := float64(f.limit.N) * float64(f.free) / float64(f.limit.Burst) * float64(f.now.Sub(f.at)) / float64(f.limit.Window)
		f.tokens = min(f.tokens+came, float64(f.free))
		f.at = f.now
	}
}

// TestPartsOfAllNeverExceedTheLimit holds invariant 1 of a ledger for a fleet:
// whatever the upstream may have counted, of all members, is within the limit.
func TestPartsOfAllNeverExceedTheLimit(t *testing.T) {
	for _, test := range histories {
		t.Run(test.text+" "+test.spread.String(), func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(40) {
				f := newFleet(t, seed, test.text, test.spread)
				for range 600 {
					f.step()
				}
				var all []counted
				for _, h := range f.members {
					all = append(all, h.counted...)
				}
				if over := tooMany(f.limit, all); over > 1e-6 {
					t.Fatalf("seed %d: %v more than the limit could have arrived, of %d", seed, over, len(all))
				}
			}
		})
	}
}

func TestPartsOfAllNeverExceedConcurrency(t *testing.T) {
	for seed := range uint64(30) {
		f := newFleet(t, seed, "concurrent:7", 0)
		for range 600 {
			f.step()
			var sum int64
			for _, h := range f.members {
				for _, c := range h.inFlight {
					sum += c.w
				}
			}
			if sum > f.limit.N {
				t.Fatalf("seed %d: %d in flight, want %d at most", seed, sum, f.limit.N)
			}
		}
	}
}

// tooMany returns the most that an upstream could have counted at once beyond
// its limit; 0 or less is safe. Each weight arrives when it likes within its
// span, so that the worst case of a time is all whose spans touch it. It begins
// with the last possible arrival of one of them, and if that matters it ends
// with the first possible one of another.
func tooMany(l Limit, all []counted) float64 {
	over := float64(-l.Capacity())
	slices.SortFunc(all, func(a, b counted) int { return a.From.Compare(b.From) })
	for _, first := range all {
		begin := first.To
		end := begin.Add(l.Window)
		if l.Kind == Fixed {
			begin = begin.Truncate(l.Window)
			end = begin.Add(l.Window)
		}
		var sum int64
		for _, c := range all {
			if c.To.Before(begin) || l.Kind != Bucket && !c.From.Before(end) {
				continue
			}
			sum += c.w
			refilled := 0.0
			if l.Kind == Bucket {
				refilled = float64(l.N) * float64(max(c.From.Sub(begin), 0)) / float64(l.Window)
			}
			over = max(over, float64(sum-l.Capacity())-refilled)
		}
	}
	return over
}
