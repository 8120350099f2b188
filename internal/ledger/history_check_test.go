package ledger

import (
	"time"

	"github.com/headgate/headgate/internal/limit"
)

func (h *history) checkInFlight(book int) {
	var n, unanswered int64
	for _, a := range h.open {
		if a.book == book {
			n += a.times
			if a.answered.IsZero() {
				unanswered += a.times
			}
		}
	}
	b := h.books[book]
	if b.InFlight() != int(n) || b.permits.unanswered != unanswered {
		h.fatalf("%d in flight, %d unanswered, want %d, %d", b.InFlight(), b.permits.unanswered, n, unanswered)
	}
	if p := b.pause; p.unanswered < 0 || p.unanswered > unanswered {
		h.fatalf("%d unanswered since the last pause, of %d", p.unanswered, unanswered)
	}
}

// checkSafety holds what was granted under each configuration to it, and
// everything to the largest numbers that there were.
func (h *history) checkSafety() {
	seen := map[*count]bool{}
	for _, counts := range h.counts {
		for _, c := range counts {
			if seen[c] {
				continue
			}
			seen[c] = true
			var all []arrival
			most, epochs := c.limits[0], make([][]arrival, len(c.limits))
			for _, a := range c.attempts {
				for _, p := range a.parts {
					if p.of == c && !p.to.IsZero() && p.weight > 0 {
						epochs[a.epoch] = append(epochs[a.epoch], arrival{a.granted, p.to, p.weight})
						all = append(all, arrival{a.granted, p.to, p.weight})
					}
				}
			}
			for i, l := range c.limits {
				most.N, most.Burst = max(most.N, l.N), max(most.Burst, l.Burst)
				h.checkArrivals(l, epochs[i])
			}
			h.checkArrivals(most, all)
		}
	}
}

func (h *history) checkArrivals(l limit.Limit, arrivals []arrival) {
	if over := tooMany(l, arrivals); over > 1e-6 {
		h.fatalf("%s: %v more than it allows could have arrived", l, over)
	}
}

// checkNothingLost lets the longest window pass, and then takes a whole quota.
func (h *history) checkNothingLost() {
	rest := time.Duration(0)
	for _, r := range h.rules {
		l := r.Limit
		d := l.Window + l.Window/1000 + 2*time.Second // the widest spread and then some
		switch l.Kind {
		case limit.Fixed:
			d += l.Window
		case limit.Bucket:
			d += time.Duration(float64(l.Burst) / float64(l.N) * float64(l.Window))
		}
		if h.debts || h.epoch > 0 { // a lower number leaves debts too
			d += 1000 * d
		}
		rest = max(rest, d)
	}
	h.tellAll()
	h.shareAll()
	h.now = h.now.Add(rest)
	for i, book := range h.books {
		if until := book.PausedUntil(h.now); !until.IsZero() {
			h.now = until
		}
		h.now = h.now.Add(spacedFor * time.Minute)
		for _, s := range book.Status(h.now) {
			if s.Used != 0 {
				h.fatalf("book %d: %d of %s used, and every permit has ended", i, s.Used, s.Rule.Limit)
			}
		}
		all := Ask{Paths: ^uint64(0), Cost: Cost{}}
		for _, r := range h.rules {
			d := r.Limit.Dimension
			if most, ok := all.Cost[d]; !ok || r.Limit.Capacity() < most {
				all.Cost[d] = r.Limit.Capacity()
			}
		}
		if wait, ok := book.Ready(h.now, &all); !ok {
			h.fatalf("book %d: a quota is not free: %+v", i, wait)
		}
		book.End(h.now, book.Grant(h.now, &all))
	}
}
