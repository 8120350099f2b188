package headgate

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/headgate/headgate/config"
	"github.com/headgate/headgate/internal/lease"
	"github.com/headgate/headgate/internal/limit"
	"github.com/headgate/headgate/internal/mock"
)

// sharedStore is a store in memory: the accounts that the one in Redis is held
// to, some way off.
type sharedStore struct {
	mu       sync.Mutex
	way      time.Duration // there, and back
	away     bool
	cut      map[int]bool // gates that do not reach it, by the order in which they were opened
	names    []string     // of the gates, in that order
	accounts map[string]*lease.Account
	ears     map[int]func(lease.Wake)
	syncs    int
}

func newSharedStore() *sharedStore {
	return &sharedStore{
		way:      200 * time.Microsecond,
		accounts: make(map[string]*lease.Account),
		ears:     make(map[int]func(lease.Wake)),
		cut:      make(map[int]bool),
	}
}

var errAway = errors.New("the store is away")

func (s *sharedStore) Sync(ctx context.Context, account string, r lease.Report) (lease.Reply, error) {
	if err := pass(ctx, s.way); err != nil {
		return lease.Reply{}, err
	}
	s.mu.Lock()
	gate := slices.Index(s.names, r.Instance)
	if gate < 0 {
		gate, s.names = len(s.names), append(s.names, r.Instance)
	}
	if s.away || s.cut[gate] {
		s.mu.Unlock()
		return lease.Reply{}, errAway
	}
	s.syncs++
	a := s.accounts[account]
	if a == nil {
		a = lease.NewAccount()
		s.accounts[account] = a
	}
	reply := a.Sync(time.Now(), r)
	if len(reply.Wake) > 0 {
		w := lease.Wake{Account: account, From: r.Instance, Instances: reply.Wake, Pause: reply.Pause}
		for gate, hear := range s.ears {
			if !s.cut[gate] {
				time.AfterFunc(s.way, func() { hear(w) })
			}
		}
	}
	s.mu.Unlock()
	return reply, pass(ctx, s.way)
}

func (s *sharedStore) Run(ctx context.Context, hear func(lease.Wake)) error {
	s.mu.Lock()
	i := len(s.ears)
	s.ears[i] = hear
	s.mu.Unlock()
	<-ctx.Done()
	s.mu.Lock()
	s.ears[i] = func(lease.Wake) {}
	s.mu.Unlock()
	return context.Cause(ctx)
}

func (s *sharedStore) Close() {}

// lose has the store go away, and come back after a while with nothing in it.
func (s *sharedStore) lose(d time.Duration) {
	s.mu.Lock()
	s.away = true
	s.mu.Unlock()
	time.Sleep(d)
	s.mu.Lock()
	s.away = false
	s.accounts = make(map[string]*lease.Account)
	s.mu.Unlock()
}

type storeOption struct{ store }

func (s storeOption) apply(o *options) { o.store = s.store }

// synced returns how often it was asked since the last time.
func (s *sharedStore) synced() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.syncs
	s.syncs = 0
	return n
}

// cutOff keeps a gate from the store.
func (s *sharedStore) cutOff(gate int, cut bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cut[gate] = cut
}

// openFleetOf opens gates that share one store, and waits until it lets them
// hold something.
func openFleetOf(t *testing.T, n int, st *sharedStore, send http.RoundTripper, u config.Upstream) []*Gate {
	t.Helper()
	gates := make([]*Gate, n)
	for i := range gates {
		gates[i] = openGate(t, send, u, storeOption{st})
		synctest.Wait()
		time.Sleep(2 * time.Millisecond) // so that the store knows them in this order
	}
	time.Sleep(lease.Grace + lease.Beat)
	return gates
}

func closeAll(gates []*Gate) {
	for _, g := range gates {
		g.Close()
	}
}

// saturateAll saturates many gates at once, and returns what each got.
func saturateAll(t *testing.T, gates []*Gate, callers int, span time.Duration) []map[int]int {
	got := make([]map[int]int, len(gates))
	var wg sync.WaitGroup
	for i, g := range gates {
		wg.Go(func() { got[i] = saturate(t, g, callers, span) })
	}
	wg.Wait()
	return got
}

// TestFleetUsesTheQuotaWithoutRefusals is the promise for many processes.
func TestFleetUsesTheQuotaWithoutRefusals(t *testing.T) {
	tests := []struct {
		limit   string
		gates   int
		callers int // of each gate
		span    time.Duration
		usage   float64
		fair    float64 // most by least
		lose    time.Duration
	}{
		{limit: "50/1s", gates: 4, callers: 20, span: 9 * time.Second, usage: 0.97, fair: 1.15},
		{limit: "500/1s", gates: 4, callers: 50, span: 9 * time.Second, usage: 0.97, fair: 1.15},
		{limit: "10/1s", gates: 4, callers: 10, span: 40 * time.Second, usage: 0.9, fair: 1.15},
		{limit: "50/1m", gates: 4, callers: 10, span: 3 * time.Minute, usage: 0.97, fair: 1.15},
		{limit: "100/1s", gates: 4, callers: 20, span: 20 * time.Second, usage: 0.8, fair: 1.15, lose: 4 * time.Second},
		{limit: "50/1s fixed", gates: 4, callers: 20, span: 9 * time.Second, usage: 0.95, fair: 1.15},
		{limit: "50/1s burst 20", gates: 4, callers: 20, span: 9 * time.Second, usage: 0.9, fair: 1.2},
	}
	for _, test := range tests {
		t.Run(fmt.Sprintf("%s lost %v", test.limit, test.lose), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := mustLimit(t, test.limit)
				up := newStrict(t, mock.Rules{Limits: []limit.Limit{l}})
				st := newSharedStore()
				gates := openFleetOf(t, test.gates, st, up, config.Upstream{Limits: []config.Limit{{Limit: test.limit}}})
				if test.lose > 0 {
					time.AfterFunc(5*time.Second, func() { st.lose(test.lose) })
				}
				st.synced()
				got := saturateAll(t, gates, test.callers, test.span)
				if up.refused > 0 {
					t.Errorf("%d attempts were refused, want none", up.refused)
				}
				calls := make([]int, len(got))
				for i, statuses := range got {
					for status, n := range statuses {
						calls[i] += n
						if status != http.StatusOK {
							t.Errorf("gate %d: %d calls ended with %d, want all 200", i, n, status)
						}
					}
				}
				usage := up.usage(l, test.span)
				fair := float64(slices.Max(calls)) / float64(slices.Min(calls))
				t.Logf("usage %.2f %%, calls %v, %.3f syncs per call", 100*usage, calls, float64(st.synced())/float64(len(up.accepted)))
				if usage < test.usage {
					t.Errorf("usage %.2f %%, want at least %.2f %%", 100*usage, 100*test.usage)
				}
				if fair > test.fair {
					t.Errorf("calls of the gates: %v, the most by the least %.2f, want at most %.2f", calls, fair, test.fair)
				}
				closeAll(gates)
			})
		})
	}
}
