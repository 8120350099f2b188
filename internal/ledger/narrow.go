package ledger

import (
	"iter"
	"strings"
	"time"
)

// Extent is the part of a credential's attempts that a refusal is about: those
// that ask for one model, or those to one route. The zero Extent is all of them.
type Extent struct {
	Model string
	Route string // each "*" stands for a segment; what is below a route belongs to it
}

// Covers reports whether an attempt is one of those.
func (e Extent) Covers(ask *Ask) bool {
	switch {
	case e.Model != "":
		return e.Model == ask.Model
	case e.Route == "":
		return true
	}
	path := ask.Path
	for part := range strings.SplitSeq(strings.Trim(e.Route, "/"), "/") {
		var here string
		if here, path, _ = strings.Cut(strings.TrimPrefix(path, "/"), "/"); here == "" || part != "*" && part != here {
			return false
		}
	}
	return true
}

// Narrow is a pause of an extent. The rest of the credential's attempts goes on:
// one model's limit must not hold up the others. It has its own ramp.
type Narrow struct {
	pause
	book   *Book
	extent Extent
	lane   uint64
	others bool // attempts that it does not cover have been answered well since
}

// inNarrow is a permit's part in a narrow pause.
type inNarrow struct {
	narrow *Narrow
	round  uint64 // of the pause, when the permit was granted
}

// mostNarrow bounds the narrow pauses of a book. Those beyond hold all of it.
const mostNarrow = 64

// Narrow returns the pause of an extent; nil if the book holds as one, because
// the extent is all of it or because there are too many.
func (b *Book) Narrow(now time.Time, e Extent) *Narrow {
	if e == (Extent{}) {
		return nil
	}
	b.tidy(now)
	for _, n := range b.narrow {
		if n.extent == e {
			return n
		}
	}
	if len(b.narrow) == mostNarrow {
		return nil
	}
	b.ledger.narrowed++
	n := &Narrow{book: b, extent: e, lane: b.ledger.narrowed}
	b.narrow = append(b.narrow, n)
	return n
}

// Narrows reports whether narrow pauses are in force, or their ramps.
func (b *Book) Narrows() bool { return len(b.narrow) > 0 }

// NarrowPauses returns the extents that are paused alone, and until when.
func (b *Book) NarrowPauses(now time.Time) iter.Seq2[Extent, time.Time] {
	return func(yield func(Extent, time.Time) bool) {
		for _, n := range b.narrow {
			if until := n.PausedUntil(now); !until.IsZero() && !yield(n.extent, until) {
				return
			}
		}
	}
}

// tidy forgets narrow pauses that are over.
func (b *Book) tidy(now time.Time) {
	kept := b.narrow[:0]
	for _, n := range b.narrow {
		if !n.idle(now) {
			kept = append(kept, n)
		}
	}
	clear(b.narrow[len(kept):])
	b.narrow = kept
}

// Apart returns a number for those who wait for the same narrow pauses as ask: 0
// if there are none.
func (b *Book) Apart(ask *Ask) (lane uint64) {
	for _, n := range b.narrow {
		if n.extent.Covers(ask) {
			lane = lane*31 + n.lane
		}
	}
	return lane
}

// HeldUntil returns the end of the pauses in force for an attempt; zero if there
// are none.
func (b *Book) HeldUntil(now time.Time, ask *Ask) (until time.Time) {
	until = b.PausedUntil(now)
	for _, n := range b.narrow {
		if n.extent.Covers(ask) {
			until = later(until, n.PausedUntil(now))
		}
	}
	return until
}

// StrikesOf returns the most refusals in a row that hold for an attempt.
func (b *Book) StrikesOf(ask *Ask) int {
	most := b.pause.strikes
	for _, n := range b.narrow {
		if n.extent.Covers(ask) {
			most = max(most, n.strikes)
		}
	}
	return most
}

// readyIn reports whether no narrow pause holds an attempt back, and else until
// when.
func (b *Book) readyIn(now time.Time, ask *Ask) (time.Time, bool) {
	for _, n := range b.narrow {
		if at, ok := n.ready(now, max(ask.Times, 1)); !ok && n.extent.Covers(ask) {
			return at, false
		}
	}
	return time.Time{}, true
}

// enter notes in which narrow pauses a permit is.
func (b *Book) enter(ask *Ask, p *permit) {
	p.among = true
	for _, n := range b.narrow {
		if n.extent.Covers(ask) {
			n.unanswered += p.times
			p.narrow = append(p.narrow, inNarrow{n, n.round})
		}
	}
}

// acceptedIn says that a permit was answered well.
func (b *Book) acceptedIn(now time.Time, p *permit) {
	if !p.among {
		return
	}
	for _, n := range b.narrow {
		i := p.in(n)
		if i < 0 {
			n.others = true
		} else if p.narrow[i].round == n.round {
			n.accepted()
		}
	}
	b.tidy(now)
}

// in returns the index of a permit's part in a narrow pause, -1 if it has none.
func (p *permit) in(n *Narrow) int {
	for i := range p.narrow {
		if p.narrow[i].narrow == n {
			return i
		}
	}
	return -1
}

// Throttled is Book.Throttled for the extent. The limits of all are blamed only
// as long as nothing shows that the others fare better.
func (n *Narrow) Throttled(now time.Time, id ID, d time.Duration) (until time.Time) {
	n.until = later(n.until, now.Add(d))
	b := n.book
	permit := b.permits.get(id)
	if permit == nil {
		return n.until
	}
	if i := permit.in(n); n.round > 0 && (i < 0 || permit.narrow[i].round != n.round) {
		return n.until
	}
	n.eased = false
	if !n.others && permit.round == b.pause.round {
		n.eased = b.lower(now, permit, d) && n.strikes < easedFor
		b.pause.round++ // those in flight tell nothing of limits that are lower now
		b.pause.unanswered = 0
	}
	b.strike(&n.pause)
	return n.until
}

// Backoff is Book.Backoff for the extent. Of a limit that is its own nobody knows
// the window.
func (n *Narrow) Backoff(now time.Time) time.Duration {
	if n.others {
		return farthest
	}
	return n.book.backoff(now, n.strikes)
}

// Others reports whether attempts that the pause does not cover have been
// answered well since it began: it is not the credential that is refused.
func (n *Narrow) Others() bool { return n.others }
