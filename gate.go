package headgate

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/headgate/headgate/config"
)

// Gate is the door to the upstreams of one configuration.
type Gate struct {
	*shared
	mu     sync.Mutex // held by Reload
	closed sync.Once
	fleet  *fleet           // nil: this process is alone
	desks  map[string]*desk // by quota, those that a reload left and that are in use too; guarded by mu
}

// shared is what the calls of a gate share.
type shared struct {
	events    Events
	tracer    Tracer // nil: no call is followed
	base      http.RoundTripper
	random    func() float64
	upstreams atomic.Pointer[map[string]*upstream]
	closed    chan struct{}
	waiters   sync.Pool // of *waiter, so that a permit that is there at once costs no memory
}

// Open returns a gate for the upstreams of cfg. Fields left zero mean their
// defaults. The gate must be closed.
func Open(ctx context.Context, cfg config.Config, opts ...Option) (*Gate, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	o := newOptions(opts)
	f, err := openFleet(cfg.WithDefaults(), o)
	if err != nil {
		return nil, err
	}
	g := &Gate{shared: newShared(o), desks: make(map[string]*desk), fleet: f}
	if err := g.Reload(cfg); err != nil {
		return nil, errors.Join(err, g.Close())
	}
	if f != nil {
		f.start()
	}
	return g, nil
}

// Reload puts another configuration in force. If it has a fault, the old one
// stays. Calls that wait or are in flight are not touched: counts, line,
// pauses and breakers hang on names, and outlive the change.
func (g *Gate) Reload(cfg config.Config) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-g.shared.closed:
		return ErrClosed
	default:
	}
	cfg = cfg.WithDefaults()
	next := make(map[string]*upstream, len(cfg.Upstreams))
	var errs []error
	for name, c := range cfg.Upstreams {
		u, err := newUpstream(name, c, g.base)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		next[name] = u
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	var old map[string]*upstream
	if p := g.upstreams.Load(); p != nil {
		old = *p
	}
	desks := make(map[string]*desk)
	for _, name := range slices.Sorted(maps.Keys(next)) {
		c := cfg.Upstreams[name]
		d := desks[c.Quota]
		if d == nil {
			if d = g.desks[c.Quota]; d == nil {
				d = newDesk(c.Quota, g.fleet)
			}
			desks[c.Quota] = d
		}
		g.adopt(next[name], c, d, old[name])
	}
	for quota, d := range g.desks {
		if desks[quota] == nil && d.busy() {
			desks[quota] = d // what it has counted counts if it comes back
		} else if desks[quota] == nil {
			d.dismissAll()
		}
	}
	g.desks = desks
	g.upstreams.Store(&next)
	return nil
}

// adopt puts an upstream in front of its desk. Its retry budget is that of the
// one it replaces, unless their shares differ.
func (s *shared) adopt(u *upstream, c config.Upstream, d *desk, old *upstream) {
	u.desk = d
	u.ledgerOptions.Shared = d.fleet != nil
	if d.fleet != nil {
		u.namespace = d.fleet.namespace
	} else if old != nil {
		u.inherit(old) // other instances would not know
	}
	if old != nil && old.estimator != nil && u.estimator != nil && old.dialect == u.dialect {
		u.estimator = old.estimator // what it has learned of models holds
	}
	u.budgetShare = float64(c.Retry.Budget)
	if old != nil && old.budgetShare == u.budgetShare {
		u.budget = old.budget
	} else {
		u.budget = newBudget(u.budgetShare)
	}
	d.configure(u)
}

func newOptions(opts []Option) options {
	var o options
	for _, opt := range opts {
		opt.apply(&o)
	}
	if o.base == nil {
		o.base = newSender()
	}
	return o
}

func newShared(o options) *shared {
	return &shared{events: o.events, tracer: o.tracer, base: o.base, random: rand.Float64, closed: make(chan struct{})}
}

// upstream returns the upstream of a name, or nil.
func (s *shared) upstream(name string) *upstream {
	if m := s.upstreams.Load(); m != nil {
		return (*m)[name]
	}
	return nil
}

// current returns an upstream as the configuration in force has it: u itself
// if that has it no more, or there is only u.
func (s *shared) current(u *upstream) *upstream {
	if now := s.upstream(u.name); now != nil {
		return now
	}
	return u
}

func (s *shared) closeIdle() {
	if t, ok := s.base.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}

// Client returns a client whose requests go to an upstream; see RoundTripper.
// Its calls are bounded by their contexts and line.max_wait.
func (g *Gate) Client(upstream string) *http.Client {
	return &http.Client{
		Transport:     g.RoundTripper(upstream),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// RoundTripper returns the way to an upstream. Requests go to the upstream's
// URL: its scheme and host take the place of the request's, and its path is
// put in front, so that "/v1/models" is enough. An upstream that the gate does
// not have, now or after a reload, fails each request with ErrUnknownUpstream.
func (g *Gate) RoundTripper(upstream string) http.RoundTripper {
	return &roundTripper{gate: g.shared, name: upstream}
}

// Close refuses those who wait, with ErrClosed, and whoever comes later.
// Attempts in flight go on. It may be called twice.
func (g *Gate) Close() error {
	g.closed.Do(func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		close(g.shared.closed)
		for _, d := range g.desks {
			d.close()
		}
		if g.fleet != nil {
			g.fleet.close()
		}
		g.closeIdle()
	})
	return nil
}
