package headgate

import (
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/headgate/headgate/config"
)

// stocked opens a gate and asks for permits until some come from a stock.
func stocked(t *testing.T, limits ...string) (*Gate, []Permit) {
	t.Helper()
	var u config.Upstream
	for _, l := range limits {
		u.Limits = append(u.Limits, config.Limit{Limit: l})
	}
	g := openGate(t, nil, u)
	var permits []Permit
	for range stockRush + 4 {
		permits = append(permits, mustAcquire(t, g))
	}
	if last := permits[len(permits)-1]; last.stock == nil {
		t.Fatalf("permit %d in one moment is not from a stock", len(permits))
	}
	return g, permits
}

func mustAcquire(t *testing.T, g *Gate) Permit {
	t.Helper()
	p, err := g.Acquire(t.Context(), "api", nil)
	if err != nil {
		t.Fatalf("Acquire: %v", err)
	}
	return p
}

func used(g *Gate) int64 { return g.Status().Upstreams[0].Credentials[0].Limits[0].Used }

func TestStockCountsWhatWasUsedAndGivesBackTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, permits := stocked(t, "10000/1s")
		time.Sleep(3 * stockFor)
		if got, want := used(g), int64(len(permits)); got != want {
			t.Errorf("with %d permits held, %d are used", want, got)
		}
		for _, p := range permits {
			p.Done(OK)
			p.Done(OK) // only the first counts
		}
		if got, want := used(g), int64(len(permits)); got != want {
			t.Errorf("within their window %d are used, want %d", got, want)
		}
		if s := g.Status().Upstreams[0]; s.InFlight != 0 {
			t.Errorf("%d in flight after the last Done, want 0", s.InFlight)
		}
		time.Sleep(1100 * time.Millisecond)
		if got := used(g); got != 0 {
			t.Errorf("%d used after the window, want 0", got)
		}
	})
}

func TestStockIsNotLaidInWhereRoomIsScarce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := openGate(t, nil, config.Upstream{Limits: []config.Limit{{Limit: "10000/1s"}, {Limit: "concurrent:120"}}})
		for i := range 100 {
			if p := mustAcquire(t, g); p.stock != nil {
				t.Fatalf("permit %d is from a stock, with room for few", i+1)
			}
		}
	})
}

func TestPermitsOfAStockStandAloneForMoreThanOK(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, permits := stocked(t, "10000/1s", "work:20000/1s")
		n := len(permits)
		permits[n-1].Settle(Cost{"work": 500})
		permits[n-1].Done(OK)
		permits[n-1].Done(Throttled) // ended: says nothing
		if c := g.Status().Upstreams[0].Credentials[0]; c.PausedUntil != nil {
			t.Error("a second Done paused the upstream")
		}
		permits[n-2].Done(Cancelled)
		for _, p := range permits[:n-2] {
			p.Done(OK)
		}
		time.Sleep(3 * stockFor)
		limits := g.Status().Upstreams[0].Credentials[0].Limits
		if got, want := limits[0].Used, int64(n-1); got != want {
			t.Errorf("requests used: %d, want %d: one was cancelled", got, want)
		}
		if got, want := limits[1].Used, int64(n-2+500); got != want {
			t.Errorf("work used: %d, want %d", got, want)
		}
		p := mustAcquire(t, g)
		p.Done(Throttled)
		if c := g.Status().Upstreams[0].Credentials[0]; c.PausedUntil == nil {
			t.Error("a throttled permit did not pause the upstream")
		}
	})
}

// TestStockLosesNoPermit has many goroutines end permits in every way, and
// counts what is left.
func TestStockLosesNoPermit(t *testing.T) {
	g := openGate(t, nil, config.Upstream{Limits: []config.Limit{{Limit: "100000000/1h"}}})
	var wg sync.WaitGroup
	var mu sync.Mutex
	var sent, fromStock int64
	for i := range 16 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(1, uint64(i)))
			var mine, stocked int64
			var held []Permit
			for range 3000 {
				p, err := g.Acquire(t.Context(), "api", nil)
				if err != nil {
					t.Error(err)
					return
				}
				if p.stock != nil {
					stocked++
				}
				held = append(held, p)
				for len(held) > rnd.IntN(5) {
					p, held = held[0], held[1:]
					if rnd.IntN(50) == 0 {
						p.Done(Cancelled)
						continue
					}
					if rnd.IntN(50) == 0 {
						p.Settle(Cost{"requests": 1})
					}
					p.Done(OK)
					mine++
				}
			}
			for _, p := range held {
				p.Done(OK)
				mine++
			}
			mu.Lock()
			sent += mine
			fromStock += stocked
			mu.Unlock()
		})
	}
	wg.Wait()
	g.upstream("api").desk.mu.Lock()
	g.upstream("api").desk.closeStockLocked(time.Now())
	g.upstream("api").desk.mu.Unlock()
	if fromStock == 0 {
		t.Error("no permit came from a stock")
	}
	if got := used(g); got != sent {
		t.Errorf("%d used, want the %d that were sent (%d of a stock)", got, sent, fromStock)
	}
	if s := g.Status().Upstreams[0]; s.InFlight != 0 {
		t.Errorf("%d in flight at the end, want 0", s.InFlight)
	}
}

// What was learned is a pace, of which no room says how much may be taken ahead.
func TestNoStockIsLaidInOfALimitThatWasLearned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := openUnlimited(t, nil)
		g.Recall([]Learned{{Upstream: "api", URL: "http://api.test", PerSecond: 500, At: time.Now()}})
		time.Sleep(time.Second)
		start := time.Now()
		n := 0
		for range 300 {
			if p := mustAcquire(t, g); time.Since(start) < 10*time.Millisecond {
				n++
				defer p.Done(OK)
			} else {
				p.Done(OK)
			}
		}
		if n > 30 {
			t.Errorf("%d permits in the first 10 ms at 500 a second, want the 20 that late timers are forgiven and 5", n)
		}
	})
}
