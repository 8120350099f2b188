package worker

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/headgate/headgate"
	"github.com/headgate/headgate/config"
	"github.com/headgate/headgate/internal/source"
)

func oneGate(t *testing.T, base http.RoundTripper, u config.Upstream) *headgate.Gate {
	return openGate(t, base, map[string]config.Upstream{"api": u})
}

func TestSourceDrainsItsQueueAtTheQuota(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := &upstream{latency: 20 * time.Millisecond}
		q := newFakeQueue(numbered(500)...)
		s := startSource(t, fakeHolder{q, "one"}, oneGate(t, up, config.Upstream{Limits: limits("100/1s")}), SourceOptions{})
		for range 6 {
			idle(time.Second)
			if held := q.sizes()[1]; held > 200 {
				t.Errorf("%d messages are held for 100/1s, want few", held)
			}
		}
		if got := q.sizes(); got != [4]int{0, 0, 500, 0} {
			t.Errorf("wait, held, done and dead are %v, want all done", got)
		}
		if up.total() != 500 {
			t.Errorf("the upstream saw %d calls, want 500", up.total())
		}
		if st := s.Status(t.Context()); st.Done != 500 || st.Dead != 0 || st.Running != 0 || st.Fault != "" {
			t.Errorf("status %+v", st)
		}
		if e := q.ended("m0007"); e.Status != 200 || string(e.Body) != "{}" || e.Attempts != 1 {
			t.Errorf("end %+v", e)
		}
	})
}

func TestSourceSettlesEachMessageAsAJob(t *testing.T) {
	for _, c := range []struct {
		message string
		answer  func(n int) *http.Response // of the n-th call
		dead    string                     // the reason's beginning; "": done
		status  int
		calls   int
		after   time.Duration // at least
	}{
		{"fine", func(int) *http.Response { return reply(201) }, "", 201, 1, 0},
		{"fatal", func(int) *http.Response { return reply(400) }, "400", 400, 1, 0},
		{"throttled", func(n int) *http.Response {
			if n <= 7 {
				return reply(429, "Retry-After", "3")
			}
			return reply(200)
		}, "", 200, 8, 21 * time.Second},
		{"overloaded", func(int) *http.Response { return reply(503) }, "503", 503, 5, 0},
		{"polled", func(n int) *http.Response {
			if n <= 3 {
				return reply(303, "Location", "http://api.test/base/polled")
			}
			return reply(200)
		}, "", 200, 4, time.Second},
		{"a b", nil, "path: ", 0, 0, 0},
	} {
		t.Run(c.message, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				calls := 0
				up := &upstream{answer: func(*http.Request) *http.Response { calls++; return c.answer(calls) }}
				q := newFakeQueue(c.message)
				var died []SourceDied
				startSource(t, fakeHolder{q, "one"}, oneGate(t, up, config.Upstream{}), SourceOptions{
					Events: SourceEvents{Died: func(d SourceDied) { died = append(died, d) }},
				})
				began := time.Now()
				for q.sizes()[2]+q.sizes()[3] == 0 && time.Since(began) < time.Hour {
					idle(10 * time.Millisecond)
				}
				took, e := time.Since(began), q.ended(c.message)
				if e.Status != c.status || (e.Dead == "") != (c.dead == "") || !strings.HasPrefix(e.Dead, c.dead) && !strings.Contains(e.Dead, c.dead) {
					t.Errorf("end %+v, want dead %q, status %d", e, c.dead, c.status)
				}
				if calls != c.calls || e.Attempts != c.calls || took < c.after {
					t.Errorf("%d calls, %d attempts told, after %v; want %d, after %v", calls, e.Attempts, took, c.calls, c.after)
				}
				if (len(died) == 1) != (c.dead != "") {
					t.Errorf("told of %+v", died)
				}
			})
		})
	}
}

func TestThrottledMessageLivesForADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := &upstream{answer: func(*http.Request) *http.Response { return reply(429) }}
		q := newFakeQueue("m")
		startSource(t, fakeHolder{q, "one"}, oneGate(t, up, config.Upstream{}), SourceOptions{})
		idle(23 * time.Hour)
		if got := q.sizes(); got[3] != 0 {
			t.Fatalf("dead after 23 h of 429s: %+v", q.ended("m"))
		}
		idle(2 * time.Hour)
		if e := q.ended("m"); e.Dead == "" || e.Status != 429 {
			t.Errorf("after 25 h: %v, %+v, want it dead", q.sizes(), e)
		}
	})
}

func TestLostTooOftenIsDeadUnsent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := &upstream{}
		q := newFakeQueue("m")
		startSource(t, lossy{fakeHolder{q, "one"}}, oneGate(t, up, config.Upstream{}), SourceOptions{})
		idle(time.Second)
		if e := q.ended("m"); !strings.Contains(e.Dead, "lost 10 times") || up.total() != 0 {
			t.Errorf("end %+v after %d calls", e, up.total())
		}
	})
}

// lossy is a queue whose messages have been lost often.
type lossy struct{ fakeHolder }

func (l lossy) Take(ctx context.Context, n int) ([]source.Message, error) {
	taken, err := l.fakeHolder.Take(ctx, n)
	for i := range taken {
		taken[i].Losses = source.MostLosses
	}
	return taken, err
}

func TestSourceSleepsWhileItsUpstreamIsPaused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var paused atomic.Bool
		paused.Store(true)
		up := &upstream{answer: func(*http.Request) *http.Response {
			if paused.CompareAndSwap(true, false) {
				return reply(429, "Retry-After", "600")
			}
			return reply(200)
		}}
		q := newFakeQueue(numbered(300)...)
		startSource(t, fakeHolder{q, "one"}, oneGate(t, up, config.Upstream{}), SourceOptions{})
		idle(9 * time.Minute)
		if got := q.sizes(); got[1] > 20 || up.total() > 20 {
			t.Errorf("in a pause wait, held, done and dead are %v, and %d calls made: want nearly all to wait in the queue", got, up.total())
		}
		if n := q.taken(); n > 100 {
			t.Errorf("took %d times in 9 minutes of a pause", n)
		}
		idle(4 * time.Minute)
		if got := q.sizes(); got != [4]int{0, 0, 300, 0} {
			t.Errorf("after the pause they are %v, want all done", got)
		}
	})
}

func TestStoppedSourceGivesBackAtOnceWhatHasNoPermit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := &upstream{latency: 5 * time.Second}
		q := newFakeQueue(numbered(50)...)
		s := startSource(t, fakeHolder{q, "one"}, oneGate(t, up, config.Upstream{Limits: limits("concurrent:3")}), SourceOptions{})
		idle(time.Second)
		s.stop(errStopped)
		idle(100 * time.Millisecond)
		if got := q.sizes(); got != [4]int{47, 3, 0, 0} {
			t.Errorf("once stopped wait, held, done and dead are %v, want 47 to wait and 3 on their way", got)
		}
		<-s.ended
		if got := q.sizes(); got != [4]int{47, 0, 3, 0} {
			t.Errorf("at the end they are %v, want 3 done", got)
		}
		if tail := q.wait[17:]; !slices.IsSorted(tail) || tail[0] != "m0020" {
			t.Errorf("they wait as %v, want the order kept but for those that stood in line", q.wait)
		}
	})
}

func TestResultsAreKeptWhileTheQueueIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := &upstream{latency: 500 * time.Millisecond}
		q := newFakeQueue(numbered(20)...)
		var told []error
		startSource(t, fakeHolder{q, "one"}, oneGate(t, up, config.Upstream{Limits: limits("concurrent:20")}), SourceOptions{
			Events: SourceEvents{Changed: func(_ string, err error) { told = append(told, err) }},
		})
		idle(200 * time.Millisecond)
		q.setAway(true)
		idle(time.Minute)
		if len(told) != 1 || told[0] == nil {
			t.Errorf("told %v, want once that it is away", told)
		}
		q.setAway(false)
		idle(10 * time.Second)
		if got := q.sizes(); got != [4]int{0, 0, 20, 0} || up.total() != 20 {
			t.Errorf("wait, held, done and dead are %v after %d calls, want 20 done by 20", got, up.total())
		}
		if len(told) != 2 || told[1] != nil {
			t.Errorf("told %v, want that it is back", told)
		}
	})
}

func TestNothingIsSentOnALeaseThatMayHaveLapsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := &upstream{latency: time.Second}
		q := newFakeQueue(numbered(30)...)
		startSource(t, fakeHolder{q, "one"}, oneGate(t, up, config.Upstream{Limits: limits("concurrent:1")}), SourceOptions{})
		idle(1500 * time.Millisecond)
		q.setAway(true)
		idle(20 * time.Second)
		if n := up.total(); n > 5 {
			t.Errorf("%d calls were made while the lease was in doubt", n)
		}
		before := up.total()
		q.setAway(false)
		startSource(t, fakeHolder{q, "two"}, oneGate(t, up, config.Upstream{Limits: limits("concurrent:9")}), SourceOptions{})
		idle(time.Minute)
		if got := q.sizes(); got != [4]int{0, 0, 30, 0} {
			t.Errorf("wait, held, done and dead are %v, want all done", got)
		}
		if n := up.total(); n > 31+before {
			t.Errorf("%d calls for 30 messages", n)
		}
	})
}

// A random history: instances die at random, and are stopped. Each message ends
// once, and is called at least once.
func TestRandomKillsOfSourcesLoseNoMessage(t *testing.T) {
	for seed := range uint64(25) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 2))
			var mu sync.Mutex // guards luck
			luck := rand.New(rand.NewPCG(seed, 3))
			up := &upstream{latency: 30 * time.Millisecond, answer: func(r *http.Request) *http.Response {
				mu.Lock()
				defer mu.Unlock()
				switch {
				case strings.HasSuffix(r.URL.Path, "7"):
					return reply(400)
				case luck.IntN(10) == 0:
					return reply(429)
				case luck.IntN(20) == 0:
					return reply(303, "Location", "/base/m0001")
				}
				return reply(200)
			}}
			q := newFakeQueue(numbered(100)...)
			gate := oneGate(t, up, config.Upstream{Limits: limits("50/1s")})
			for i := range 6 {
				dying := &mortalQueue{fakeHolder: fakeHolder{q, fmt.Sprint("h", i)}}
				s := startSource(t, dying, gate, SourceOptions{})
				idle(time.Duration(random.IntN(1500)) * time.Millisecond)
				if random.IntN(4) == 0 {
					s.stop(errStopped)
					<-s.ended
				} else {
					dying.die()
					s.kill()
				}
				sizes := q.sizes()
				if n := sizes[0] + sizes[1] + sizes[2] + sizes[3]; n != 100 {
					t.Fatalf("seed %d: %v are %d messages, want 100", seed, sizes, n)
				}
			}
			startSource(t, fakeHolder{q, "last"}, gate, SourceOptions{})
			idle(6 * time.Minute)
			if got := q.sizes(); got != [4]int{0, 0, 90, 10} {
				t.Errorf("seed %d: wait, held, done and dead are %v, want 90 done and 10 dead", seed, got)
			}
			for _, m := range numbered(100) {
				if up.calls()["/base/"+m] == 0 {
					t.Errorf("seed %d: %s was never called", seed, m)
				}
			}
		})
	}
}

// mortalQueue is a queue that a process cannot reach any more once it is dead.
type mortalQueue struct {
	fakeHolder
	gone sync.Mutex
	dead bool
}

func (m *mortalQueue) die() {
	m.gone.Lock()
	defer m.gone.Unlock()
	m.dead = true
}

func (m *mortalQueue) alive() error {
	m.gone.Lock()
	defer m.gone.Unlock()
	if m.dead {
		return errAway
	}
	return nil
}

func (m *mortalQueue) Take(ctx context.Context, n int) ([]source.Message, error) {
	if err := m.alive(); err != nil {
		return nil, err
	}
	return m.fakeHolder.Take(ctx, n)
}

func (m *mortalQueue) End(ctx context.Context, x source.Message, e source.End) error {
	if err := m.alive(); err != nil {
		return err
	}
	return m.fakeHolder.End(ctx, x, e)
}

func (m *mortalQueue) Back(ctx context.Context, all []source.Message) error {
	if err := m.alive(); err != nil {
		return err
	}
	return m.fakeHolder.Back(ctx, all)
}

func (m *mortalQueue) Keep(ctx context.Context) error {
	if err := m.alive(); err != nil {
		return err
	}
	return m.fakeHolder.Keep(ctx)
}
