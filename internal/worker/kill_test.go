package worker

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/headgate/headgate/config"
	"github.com/headgate/headgate/internal/job"
)

// mortal is a worker's way to its store, until it dies: then nothing that it
// does gets out. Each thing takes some time, so that it may die in between.
type mortal struct {
	*faulty
	latency func() time.Duration
	gone    chan struct{}
}

func (m *mortal) pass(ctx context.Context, do func() error) error {
	if err := m.half(ctx); err != nil {
		return err
	}
	if err := do(); err != nil {
		return err
	}
	return m.half(ctx) // done, but it may not hear of it any more
}

func (m *mortal) half(ctx context.Context) error {
	select {
	case <-time.After(m.latency()):
		return nil
	case <-m.gone:
		return job.ErrUnavailable
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (m *mortal) Queues(ctx context.Context) (all []job.QueueStatus, err error) {
	err = m.pass(ctx, func() error { all, err = m.faulty.Queues(ctx); return err })
	return all, err
}

func (m *mortal) Take(ctx context.Context, worker, queue string, n int) (taken []job.Taken, err error) {
	err = m.pass(ctx, func() error { taken, err = m.faulty.Take(ctx, worker, queue, n); return err })
	return taken, err
}

func (m *mortal) Start(ctx context.Context, r job.Ref) error {
	return m.pass(ctx, func() error { return m.faulty.Start(ctx, r) })
}

func (m *mortal) End(ctx context.Context, e job.End) error {
	return m.pass(ctx, func() error { return m.faulty.End(ctx, e) })
}

func (m *mortal) Keep(ctx context.Context, worker string) error {
	return m.pass(ctx, func() error { return m.faulty.Keep(ctx, worker) })
}

func (m *mortal) Leave(ctx context.Context, worker string) error {
	return m.pass(ctx, func() error { return m.faulty.Leave(ctx, worker) })
}

func (m *mortal) Sweep(ctx context.Context) (next time.Duration, err error) {
	err = m.pass(ctx, func() error { next, err = m.faulty.Sweep(ctx); return err })
	return next, err
}

// Whatever dies and whenever: each job ends done, once.
func TestRandomKillsLoseNothing(t *testing.T) {
	for seed := range uint64(100) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			bubble(t, func(t *testing.T) { history(t, rand.New(rand.NewPCG(seed, 5))) })
		})
	}
}

func history(t *testing.T, random *rand.Rand) {
	var mu sync.Mutex
	some := func(most time.Duration) time.Duration {
		mu.Lock()
		defer mu.Unlock()
		return time.Duration(random.Int64N(int64(most)))
	}
	u := &upstream{latency: some(500*time.Millisecond) + 1}
	store := &faulty{Memory: newStore()}
	quotas := []string{"20/1s", "100/1s", "concurrent:3", "concurrent:50"}
	upstreams := func() map[string]config.Upstream {
		return map[string]config.Upstream{"a": {Limits: limits(quotas[random.IntN(4)])}, "b": {Limits: limits(quotas[random.IntN(4)])}}
	}
	const jobs = 60
	ids := put(t, store, "a", jobs)
	ids = append(ids, put(t, store, "b", jobs)...)

	kills := 2 + random.IntN(3)
	for n := range kills + 1 {
		die := some(3*time.Second) + time.Millisecond
		m := &mortal{faulty: store, gone: make(chan struct{}), latency: func() time.Duration { return some(5 * time.Millisecond) }}
		w := start(t, m, openGate(t, u, upstreams()), Options{Name: fmt.Sprintf("worker-%d", n)})
		if n < kills {
			time.Sleep(die)
			close(m.gone)
			w.stop(errStopped)
			w.cut(errStopped)
			<-w.stopped
		} else {
			time.Sleep(time.Minute)
		}
	}
	calls := u.calls()
	for i, id := range ids {
		j := get(t, store, id)
		if j.State != job.Done || j.Losses > kills {
			t.Errorf("job %d: %+v, want it done", i, j)
		}
		if calls["/base"+j.Path] < 1 {
			t.Errorf("job %d is done, and the upstream never saw it", i)
		}
	}
	ended := make(map[string]int)
	for _, e := range store.ends {
		if e.State.Ended() {
			ended[e.ID]++
		}
	}
	for _, id := range ids {
		if ended[id] != 1 {
			t.Errorf("job %s ended %d times, want once", id, ended[id])
		}
	}
}

// A store that comes and goes makes nothing wrong either.
func TestRandomFaultsOfTheStoreLoseNothing(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				random := rand.New(rand.NewPCG(seed, 6))
				u := &upstream{latency: 200 * time.Millisecond}
				store := &faulty{Memory: newStore()}
				start(t, store, openGate(t, u, map[string]config.Upstream{"a": {Limits: limits("50/1s")}}), Options{})
				ids := put(t, store, "a", 200)
				for range 5 {
					time.Sleep(time.Duration(random.Int64N(int64(time.Second))))
					if random.IntN(2) == 0 {
						store.take.Store(true)
					}
					store.away.Store(true)
					time.Sleep(time.Duration(random.Int64N(int64(6 * time.Second))))
					store.away.Store(false)
				}
				time.Sleep(30 * time.Second)
				for _, id := range ids {
					if j := get(t, store, id); j.State != job.Done {
						t.Errorf("%+v, want it done", j)
					}
				}
			})
		})
	}
}

func TestJobThatWasLostTooOftenFailsUnsentAndTellsSo(t *testing.T) {
	bubble(t, func(t *testing.T) {
		u := &upstream{}
		store := newStore()
		id := put(t, store, "api", 1, func(n *job.New) { n.Job.Callback = "https://hook.test/in" })[0]
		for i := range job.MostLosses {
			name := fmt.Sprint("dead", i)
			taken, err := store.Take(t.Context(), name, job.Queue("api", "", ""), 1)
			if err != nil || len(taken) != 1 {
				t.Fatalf("Take %d = %d jobs, %v; want one", i, len(taken), err)
			}
			if err := store.Start(t.Context(), taken[0].Ref); err != nil {
				t.Fatal(err)
			}
			time.Sleep(job.LeaseFor)
			if _, err := store.Sweep(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		start(t, store, openGate(t, u, map[string]config.Upstream{"api": {}}), Options{Callbacks: &told{}, Retention: time.Hour})
		time.Sleep(time.Second)
		if got := get(t, store, id); got.State != job.Failed || got.Reason != "lost 10 times with the worker that ran it" || got.ExpiresAt.Sub(*got.EndedAt) != time.Hour {
			t.Errorf("after %d losses: %+v, want it failed, with the reason, and kept for an hour", job.MostLosses, got)
		}
		if n := u.total(); n != 0 {
			t.Errorf("the upstream saw it %d times, want never", n)
		}
		page, err := store.List(t.Context(), job.Filter{Kind: job.Callback})
		if err != nil || len(page.Jobs) != 1 || page.Jobs[0].Parent != id {
			t.Errorf("callbacks %+v, %v; want one of %s", page.Jobs, err, id)
		}
		if _, err := store.Retry(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if got := get(t, store, id); got.State != job.Done {
			t.Errorf("run again: %+v, want it done", got)
		}
	})
}
