package jobhttp

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/headgate/headgate/internal/job"
	"github.com/headgate/headgate/internal/job/jobtest"
)

// store is a job.Store whose Get can be away.
type store struct {
	*jobtest.Memory
	mu   sync.Mutex
	away bool
}

func newStore() *store { return &store{Memory: jobtest.NewMemory(time.Now)} }

func (s *store) Get(ctx context.Context, id string) (job.Job, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away {
		return job.Job{}, job.ErrUnavailable
	}
	return s.Memory.Get(ctx, id)
}

func (s *store) setAway(away bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = away
}

// put stores a job and has w hear of it and all others until the test ends, if
// hears.
func put(t *testing.T, s *store, w *Watch, hears bool) job.Job {
	t.Helper()
	if hears {
		ctx, cancel := context.WithCancel(t.Context())
		t.Cleanup(cancel)
		go s.Run(ctx, w.Hear)
		synctest.Wait()
	}
	j, _, err := s.Put(t.Context(), job.New{Job: job.Job{ID: job.NewID(time.Now()), Queue: "q"}, Request: job.Request{Method: "GET", Path: "/"}})
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func TestWaitEndsWithTheJob(t *testing.T) {
	for _, s := range []struct {
		name  string
		hears bool
		want  time.Duration
	}{
		{"at once, if it is heard", true, 5*time.Second + time.Millisecond},
		{"at the next look, if it is not", false, 6 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			jobs := newStore()
			w := NewWatch(jobs)
			j := put(t, jobs, w, s.hears)
			began := time.Now()
			time.AfterFunc(5*time.Second+time.Millisecond, func() { jobs.Cancel(context.Background(), j.ID, "test", nil) })
			got, err := w.Wait(t.Context(), j, time.Minute)
			if took := time.Since(began); err != nil || got.State != job.Cancelled || took != s.want {
				t.Errorf("%s: Wait = %s, %v after %v, want cancelled, nil after %v", s.name, got.State, err, took, s.want)
			}
			if n := w.Waiting(); n != 0 {
				t.Errorf("%d still wait", n)
			}
		})
	}
}

func TestWaitIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		jobs := newStore()
		w := NewWatch(jobs)
		j := put(t, jobs, w, true)
		began := time.Now()
		if got, err := w.Wait(t.Context(), j, 3*time.Second); err != nil || got.State != job.Waiting || time.Since(began) != 3*time.Second {
			t.Errorf("Wait = %s, %v after %v, want waiting, nil after 3s", got.State, err, time.Since(began))
		}
		gone := errors.New("gone")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(gone) })
		if _, err := w.Wait(ctx, j, time.Minute); err != gone {
			t.Errorf("Wait of somebody who leaves = %v, want %v", err, gone)
		}
		began = time.Now()
		time.AfterFunc(time.Second, w.Stop)
		for _, want := range []time.Duration{time.Second, time.Second} { // the second at once
			if got, err := w.Wait(t.Context(), j, time.Minute); err != nil || got.State != job.Waiting || time.Since(began) != want {
				t.Errorf("Wait while stopping = %s, %v after %v, want waiting, nil after %v", got.State, err, time.Since(began), want)
			}
		}
	})
}

func TestWaitOutlastsAStoreThatIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		jobs := newStore()
		w := NewWatch(jobs)
		j := put(t, jobs, w, false)
		jobs.setAway(true)
		time.AfterFunc(5*time.Second, func() { jobs.Cancel(context.Background(), j.ID, "test", nil) })
		time.AfterFunc(9*time.Second, func() { jobs.setAway(false) })
		if got, err := w.Wait(t.Context(), j, time.Minute); err != nil || got.State != job.Cancelled {
			t.Errorf("Wait = %s, %v, want cancelled, nil", got.State, err)
		}
	})
}

func TestWaitForADeletedJobIsNotFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		jobs := newStore()
		w := NewWatch(jobs)
		j := put(t, jobs, w, false)
		time.AfterFunc(time.Second, func() {
			jobs.Cancel(context.Background(), j.ID, "test", nil)
			jobs.Purge(context.Background(), job.Filter{})
		})
		if _, err := w.Wait(t.Context(), j, time.Minute); err != job.ErrNotFound {
			t.Errorf("Wait = %v, want ErrNotFound", err)
		}
	})
}

func TestFollowTellsEachState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		jobs := newStore()
		w := NewWatch(jobs)
		j := put(t, jobs, w, true)
		time.AfterFunc(3*time.Second, func() {
			taken, _ := jobs.Take(context.Background(), "w", "q", 1)
			jobs.Start(context.Background(), taken[0].Ref)
			time.AfterFunc(3*time.Second, func() { jobs.End(context.Background(), job.End{Ref: taken[0].Ref, State: job.Done}) })
		})
		type told struct {
			at    time.Duration
			state job.State
		}
		var got []told
		began, asks := time.Now(), 0
		err := w.Follow(t.Context(), j, func(j job.Job, changed bool) error {
			asks++
			if changed {
				got = append(got, told{time.Since(began), j.State})
			}
			return nil
		})
		want := []told{{0, job.Waiting}, {3 * time.Second, job.Running}, {6 * time.Second, job.Done}}
		if err != nil || len(got) != len(want) || got[0] != want[0] || got[1] != want[1] || got[2] != want[2] {
			t.Errorf("Follow told %v, %v, want %v", got, err, want)
		}
		if asks < 5 {
			t.Errorf("Follow told %d times in 6s, want one every 2s at least", asks)
		}
	})
}

func TestManyWaitersAreToldApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		jobs := newStore()
		w := NewWatch(jobs)
		first := put(t, jobs, w, true)
		var all []job.Job
		for range 500 {
			all = append(all, put(t, jobs, w, false))
		}
		began := time.Now()
		var running sync.WaitGroup
		for _, j := range append(all, all...) {
			running.Go(func() {
				if got, err := w.Wait(t.Context(), j, time.Minute); err != nil || got.State != job.Cancelled || time.Since(began) != time.Second {
					t.Errorf("Wait = %s, %v after %v, want cancelled, nil after 1s", got.State, err, time.Since(began))
				}
			})
		}
		time.Sleep(time.Second)
		for _, j := range all {
			jobs.Cancel(context.Background(), j.ID, "test", nil)
		}
		running.Wait()
		if got, err := w.Wait(t.Context(), first, time.Second); err != nil || got.State != job.Waiting {
			t.Errorf("Wait for the one that nobody cancelled = %s, %v, want waiting", got.State, err)
		}
	})
}
