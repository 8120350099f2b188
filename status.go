package headgate

import (
	"cmp"
	"slices"
	"time"

	"github.com/headgate/headgate/internal/breaker"
	"github.com/headgate/headgate/internal/ledger"
)

// Status is how a gate stands at a moment.
type Status struct {
	Store     *StoreStatus     `json:"store,omitempty"` // that quotas are shared through; nil: they are not
	Upstreams []UpstreamStatus `json:"upstreams"`       // by name
}

// StoreStatus is how an instance stands with the store.
type StoreStatus struct {
	Standing StoreStanding `json:"standing"`
	OnLoss   string        `json:"on_store_loss"`
	Instance string        `json:"instance"`        // this one: host and process
	Error    string        `json:"error,omitempty"` // of the last sync, if that failed
}

// InstanceStatus is one of those who share a credential's limits.
type InstanceStatus struct {
	Instance string           `json:"instance"` // host and process
	Self     bool             `json:"self,omitempty"`
	Shares   map[string]int64 `json:"shares"` // what it holds of each limit, as configured here
}

// UpstreamStatus is how an upstream stands.
type UpstreamStatus struct {
	Name        string             `json:"name"`
	URL         string             `json:"url"`
	Dialect     string             `json:"dialect"`
	InFlight    int                `json:"in_flight"` // permits that have not ended
	Line        LineStatus         `json:"line"`
	Credentials []CredentialStatus `json:"credentials"` // those in use
}

// LineStatus is how a waiting line stands. Upstreams of one quota share it.
type LineStatus struct {
	Length    int   `json:"length"`
	MaxLength int   `json:"max_length"`
	Bytes     int64 `json:"bytes"`
}

// PausedStatus is a model or route that is paused alone.
type PausedStatus struct {
	Scope string    `json:"scope"` // "model:…" or "route:…"
	Until time.Time `json:"until"`
}

// CredentialStatus is how a credential of an upstream stands.
type CredentialStatus struct {
	Credential  string           `json:"credential"` // a name, never the credential itself; "" if calls carry none
	PausedUntil *time.Time       `json:"paused_until,omitempty"`
	Paused      []PausedStatus   `json:"paused,omitempty"`        // models and routes that are paused alone
	Breaker     string           `json:"breaker"`                 // closed, open or half-open
	BreakerWhy  string           `json:"breaker_cause,omitempty"` // of one that is not closed: why it opened
	OpenUntil   *time.Time       `json:"breaker_until,omitempty"` // of an open one: when it lets a probe through
	Waiting     int              `json:"waiting"`
	InFlight    int              `json:"in_flight"`
	Limits      []LimitStatus    `json:"limits"`
	Repairing   bool             `json:"repairing,omitempty"` // the store waits for all instances' reports: none holds more meanwhile
	Instances   []InstanceStatus `json:"instances,omitempty"` // that share them, this one included
}

// LimitStatus is how a limit stands.
type LimitStatus struct {
	Limit      string  `json:"limit"`           // as configured or told; "learned" if nobody did
	Scope      string  `json:"scope"`           // credential, upstream or path:/prefix*
	Source     string  `json:"source"`          // of its number: configured, told by answers, or learned from refusals
	Confidence string  `json:"confidence"`      // in it: low, medium or high
	Used       int64   `json:"used"`            // at this moment, in flight included
	Max        int64   `json:"max"`             // as configured or told; if nobody did, in_force
	InForce    int64   `json:"in_force"`        // what may be used now, of all instances together: less than max while somebody else uses it too
	WindowMS   int64   `json:"window_ms"`       // that in_force is for; 0 for concurrent limits
	Share      *int64  `json:"share,omitempty"` // what this instance may take of in_force, if others share it
	SpreadMS   float64 `json:"spread_ms"`       // the arrival spread in force; 0 for concurrent limits
}

// Status returns how the gate stands.
func (g *Gate) Status() Status {
	var s Status
	if g.fleet != nil {
		s.Store = g.fleet.status()
	}
	for _, u := range *g.upstreams.Load() {
		s.Upstreams = append(s.Upstreams, u.status())
	}
	slices.SortFunc(s.Upstreams, func(a, b UpstreamStatus) int { return cmp.Compare(a.Name, b.Name) })
	return s
}

func (u *upstream) status() UpstreamStatus {
	s := UpstreamStatus{Name: u.name, Dialect: "auto", Credentials: []CredentialStatus{}}
	if u.base != nil {
		s.URL = u.base.Redacted()
	}
	if u.dialect != nil {
		s.Dialect = u.dialect.Name()
	}
	d := u.desk
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	s.Line = LineStatus{Length: d.mu.line.Len(), MaxLength: u.bounds.MaxLength, Bytes: d.mu.line.Bytes()}
	for key, seat := range d.mu.seats {
		if key.upstream == u.name {
			c := seat.statusLocked(now)
			s.InFlight += c.InFlight
			s.Credentials = append(s.Credentials, c)
		}
	}
	slices.SortFunc(s.Credentials, func(a, b CredentialStatus) int { return cmp.Compare(a.Credential, b.Credential) })
	return s
}

func (s *seat) statusLocked(now time.Time) CredentialStatus {
	c := CredentialStatus{
		Credential: s.credential,
		Breaker:    s.breaker.State(now).String(),
		Waiting:    s.waiting,
		InFlight:   s.book.InFlight(),
		Limits:     []LimitStatus{},
	}
	if until := s.book.PausedUntil(now); !until.IsZero() {
		c.PausedUntil = &until
	}
	if s.breaker.State(now) != breaker.Closed {
		c.BreakerWhy = s.breaker.Cause().String()
	}
	if until := s.breaker.Until(now); !until.IsZero() {
		c.OpenUntil = &until
	}
	for e, until := range s.book.NarrowPauses(now) {
		c.Paused = append(c.Paused, PausedStatus{extentText(e), until})
	}
	for _, l := range s.book.Status(now) {
		most := l.Rule.Limit.Capacity()
		if l.Rule.Source == ledger.Guessed {
			most = l.InForce
		}
		c.Limits = append(c.Limits, LimitStatus{
			Limit:      l.Text,
			Scope:      scopeText(l.Rule),
			Source:     l.Rule.Source.String(),
			Confidence: l.Confidence.String(),
			Used:       l.Used,
			Max:        most,
			InForce:    l.InForce,
			WindowMS:   l.Rule.Limit.Window.Milliseconds(),
			Share:      l.Share,
			SpreadMS:   float64(l.Spread) / float64(time.Millisecond),
		})
	}
	if s.account != nil {
		c.Repairing, c.Instances = s.account.holder.Repairing(), s.account.instancesLocked()
	}
	return c
}

func scopeText(r ledger.Rule) string {
	switch r.Scope {
	case ledger.PerUpstream:
		return "upstream"
	case ledger.PerPath:
		return "path:" + r.Path
	default:
		return "credential"
	}
}
