package headgate

import (
	"slices"
	"time"

	"github.com/headgate/headgate/internal/ledger"
)

// Sent is an attempt that was made before the gate was opened.
type Sent struct {
	Upstream string
	Path     string
	At       time.Time // when it had its permit
}

// Replay has a gate count what an earlier process sent, so that a restart is no
// burst: a process that is killed takes its ledger with it, the upstream does
// not. It is for gates that have been opened just now, and does nothing if a
// store knows better. Attempts of upstreams with several credentials count for
// each in turn; what carried a caller's own is left out.
func (g *Gate) Replay(sent []Sent) {
	if g.fleet != nil {
		return
	}
	sent = slices.Clone(sent)
	slices.SortFunc(sent, func(a, b Sent) int { return a.At.Compare(b.At) })
	turn := make(map[*upstream]int)
	for _, s := range sent {
		u := g.upstream(s.Upstream)
		if u == nil {
			continue
		}
		keys := u.keys
		if len(keys) == 0 {
			keys = nobody
		}
		u.desk.replay(u, keys[turn[u]%len(keys)], s)
		turn[u]++
	}
}

// Space has a gate keep attempts apart for a window of each limit, instead of
// letting the first of them leave in a burst. It is for a process that takes the
// place of one of which nobody knows what it sent: where that kept attempts apart
// as well, the two together stay within the limit.
func (g *Gate) Space() {
	if g.fleet != nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, d := range g.desks {
		d.space()
	}
}

func (d *desk) space() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mu.spaced = time.Now()
	for _, s := range d.mu.seats {
		s.book.Space(d.mu.spaced)
	}
}

// replay counts an attempt of which no more is known than that it was made.
func (d *desk) replay(u *upstream, key credentialKey, s Sent) {
	d.mu.Lock()
	defer d.mu.Unlock()
	at := s.At
	if now := time.Now(); at.After(now) {
		at = now // the clock was set back
	}
	book := d.seatLocked(at, u, key).book
	id := book.Grant(at, &ledger.Ask{Paths: d.mu.ledger.Paths(s.Path)})
	book.Written(at, id)
	book.End(at, id)
}
