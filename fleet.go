package headgate

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/headgate/headgate/config"
	"github.com/headgate/headgate/internal/lease"
	"github.com/headgate/headgate/internal/redisstore"
	"github.com/headgate/headgate/internal/stores"
)

// store is where instances share quotas: package redisstore, but for tests.
type store interface {
	// Sync takes a report to an account, and brings its reply.
	Sync(ctx context.Context, account string, r lease.Report) (lease.Reply, error)

	// Run hears what the store tells everybody, until ctx ends.
	Run(ctx context.Context, hear func(lease.Wake)) error

	Close()
}

// fleet is this process among the instances that share its quotas. It owns the
// goroutines that keep them together.
type fleet struct {
	store     store
	namespace string
	host      string // what people call it
	loss      lease.Loss
	began     time.Time // of what account.inForce counts from
	events    Events

	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu struct { // taken after a desk's lock, never before
		sync.Mutex
		accounts map[string]*account
		failing  map[*account]bool // the store does not answer these
		closed   bool
		standing StoreStanding // "": not tried yet
		reached  bool          // ever
		err      error         // of the last sync that failed, unless the store is up
	}
}

// openFleet returns the fleet that cfg names; nil if it is this process alone.
func openFleet(cfg config.Config, o options) (*fleet, error) {
	s := o.store
	if s == nil {
		at, err := cfg.Store()
		if err != nil || at.Kind == config.Memory {
			return nil, err
		}
		redis, err := redisstore.Open(stores.Redis(at, cfg.Namespace))
		if err != nil {
			return nil, fmt.Errorf("state %s: %w", at, err)
		}
		s = redis
	}
	f := &fleet{store: s, namespace: cfg.Namespace, host: hostName(), began: time.Now(), loss: lossOf(cfg.OnStoreLoss), events: o.events}
	f.mu.accounts = make(map[string]*account)
	f.mu.failing = make(map[*account]bool)
	f.ctx, f.cancel = context.WithCancel(context.Background())
	return f, nil
}

// start has the fleet listen to its store.
func (f *fleet) start() {
	f.running.Go(func() { _ = f.store.Run(f.ctx, f.hear) }) // it ends with the context alone
}

// hostName is what tells instances apart for people.
func hostName() string {
	name, err := os.Hostname()
	if err != nil {
		name = "unknown"
	}
	return name + ":" + strconv.Itoa(os.Getpid())
}

func lossOf(s string) lease.Loss {
	switch s {
	case "wait":
		return lease.Wait
	case "fail":
		return lease.Fail
	}
	return lease.Share
}

// open starts to keep an account. The desk's lock is held.
func (f *fleet) open(a *account) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.mu.closed {
		return
	}
	f.mu.accounts[a.name] = a
	f.running.Go(a.run)
}

// forget is told of an account that has ended.
func (f *fleet) forget(a *account) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.mu.accounts[a.name] == a {
		delete(f.mu.accounts, a.name)
	}
	delete(f.mu.failing, a)
}

// hear takes in what the store tells everybody.
func (f *fleet) hear(w lease.Wake) {
	f.mu.Lock()
	a := f.mu.accounts[w.Account]
	f.mu.Unlock()
	if a != nil && w.From != a.id {
		a.hear(w)
	}
}

// synced takes in how a sync of an account went, the tries-th since it was
// answered last, and says so if the store has gone or come back. One answer that
// is late is no loss: leases last for several.
func (f *fleet) synced(a *account, took time.Duration, err error, tries int) {
	if f.ctx.Err() != nil {
		return // it was this end that gave up
	}
	if f.events.Synced != nil {
		f.events.Synced(Synced{Took: took, Err: err})
	}
	f.mu.Lock()
	defer f.mu.Unlock() // so that changes are told in their order
	before, first := f.mu.standing, !f.mu.reached
	f.mu.reached = f.mu.reached || err == nil
	switch {
	case err == nil:
		delete(f.mu.failing, a)
	case tries > 1 || !f.mu.reached:
		f.mu.failing[a], f.mu.err = true, err
	}
	switch {
	case len(f.mu.failing) == 0 && f.mu.reached:
		f.mu.standing, f.mu.err = StoreUp, nil
	case len(f.mu.failing) > 0 && f.mu.reached:
		f.mu.standing = StoreLost
	case len(f.mu.failing) > 0:
		f.mu.standing = StoreConnecting
	}
	if standing := f.mu.standing; standing != before && f.events.StoreChanged != nil {
		f.events.StoreChanged(StoreChanged{Standing: standing, First: first, Policy: policyOf(f.loss), Err: f.mu.err})
	}
}

func policyOf(l lease.Loss) string {
	switch l {
	case lease.Wait:
		return "wait"
	case lease.Fail:
		return "fail"
	}
	return "share"
}

// status returns how the fleet stands with its store.
func (f *fleet) status() *StoreStatus {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := &StoreStatus{Standing: f.mu.standing, OnLoss: policyOf(f.loss), Instance: f.host}
	if s.Standing == "" {
		s.Standing = StoreConnecting
	}
	if f.mu.err != nil {
		s.Error = f.mu.err.Error()
	}
	return s
}

// close gives everything back, as far as the store can be told, and returns
// after the last goroutine has.
func (f *fleet) close() {
	f.mu.Lock()
	f.mu.closed = true
	f.mu.Unlock()
	f.cancel()
	f.running.Wait()
	f.store.Close()
}

// StoreStanding is how an instance stands with the store that it shares quotas
// through.
type StoreStanding string

// The standings.
const (
	StoreConnecting StoreStanding = "connecting" // not reached yet: calls wait
	StoreUp         StoreStanding = "up"
	StoreLost       StoreStanding = "lost" // on_store_loss is in force, as soon as leases have ended
)
