package headgate

import (
	"slices"
	"time"

	"github.com/headgate/headgate/internal/ledger"
)

// Learned is what a gate has found out of an upstream whose limits nobody told.
// It holds no secret.
type Learned struct {
	Upstream   string    `json:"upstream"`   // its name,
	URL        string    `json:"url"`        // and where it is
	Credential string    `json:"credential"` // as in CredentialStatus; "": calls carry none
	PerSecond  float64   `json:"per_second"` // requests that it accepts
	At         time.Time `json:"at"`         // when it last refused more
}

// Learned returns what the gate has found out, so that another process may
// Recall it. Of credentials that callers bring along nothing is told, and where
// instances share a state, that keeps it.
func (g *Gate) Learned() (all []Learned) {
	if g.fleet != nil {
		return nil
	}
	for _, u := range *g.upstreams.Load() {
		u.eachSeat(func(s *seat, now time.Time) {
			if l, ok := s.book.Learned(); ok {
				all = append(all, Learned{u.name, u.base.Redacted(), s.credential, l.PerSecond, l.At})
			}
		})
	}
	slices.SortFunc(all, func(a, b Learned) int {
		return slices.Compare([]string{a.Upstream, a.Credential}, []string{b.Upstream, b.Credential})
	})
	return all
}

// Recall has the gate begin with what was found out before: the older it is, the
// less it counts. Upstreams that the gate has not, or has elsewhere, are left
// out, and so are limits that it knows better by now.
func (g *Gate) Recall(all []Learned) {
	if g.fleet != nil {
		return
	}
	for _, l := range all {
		u := g.upstream(l.Upstream)
		if u == nil || u.base.Redacted() != l.URL {
			continue
		}
		u.eachSeat(func(s *seat, now time.Time) {
			if s.credential == l.Credential {
				s.book.Recall(now, ledger.Learned{PerSecond: l.PerSecond, At: l.At})
			}
		})
	}
}

// eachSeat calls f, under the lock, with the seats of an upstream for which
// limits are learned: of its credentials, or of those who carry none.
func (u *upstream) eachSeat(f func(s *seat, now time.Time)) {
	d := u.desk
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.mu.ledger.Learns() || u.base == nil {
		return
	}
	keys := u.keys
	if len(keys) == 0 {
		keys = nobody
	}
	now := time.Now()
	for _, key := range keys {
		f(d.seatLocked(now, u, key), now)
	}
}
