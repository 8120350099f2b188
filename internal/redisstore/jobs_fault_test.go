package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/job"
	"github.com/headgate/headgate/internal/redistest"
)

// someJob returns a call to be stored.
func someJob() job.New {
	return job.New{
		Job:     job.Job{ID: job.NewID(time.Now()), Kind: job.Call, Upstream: "api", Priority: 5, Queue: "api//"},
		Request: job.Request{Method: "POST", Path: "/v1/x", Body: []byte("{}")},
	}
}

// churn stores and runs n jobs at the same time, and calls fault when a third and
// when two thirds of them are stored. It wants that every one that was stored
// ends, and that nothing is stuck.
func churn(t *testing.T, j *Jobs, n int, fault func()) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	var working sync.WaitGroup
	defer func() { stop(); working.Wait() }()
	var ends atomic.Int64
	for i := range 2 {
		working.Go(func() { labour(ctx, j, fmt.Sprint("w", i), &ends) })
	}
	var stored atomic.Int64
	var storing sync.WaitGroup
	thirds := make(chan struct{}, 2)
	for range 8 {
		storing.Go(func() {
			for range n / 8 {
				one := someJob()
				for {
					_, existed, err := j.Put(ctx, one)
					if err == nil && existed {
						t.Errorf("Put(%s) existed, without a key", one.Job.ID)
					}
					if err == nil || ctx.Err() != nil {
						break
					}
					if !errors.Is(err, job.ErrUnavailable) {
						t.Errorf("Put during a fault = %v, want ErrUnavailable", err)
						return
					}
				}
				if k := stored.Add(1); k == int64(n/3) || k == int64(2*n/3) {
					thirds <- struct{}{}
				}
			}
		})
	}
	for range 2 {
		select {
		case <-thirds:
			fault()
		case <-time.After(patience):
			t.Fatalf("%d of %d jobs stored after %v", stored.Load(), n, patience)
		}
	}
	storing.Wait()
	eventually(t, func() error {
		counts, err := j.Counts(ctx)
		if err == nil && (counts[job.Done] != stored.Load() || counts[job.Waiting]+counts[job.Running] != 0) {
			err = fmt.Errorf("%d jobs stored, %v", stored.Load(), counts)
		}
		if got := ends.Load(); err == nil && got < stored.Load() { // the server knows of an end before we hear of it
			err = fmt.Errorf("%d ends accepted of %d jobs", got, stored.Load())
		}
		return err
	})
	t.Logf("%d jobs stored, %d ends accepted", stored.Load(), ends.Load())
}

// labour takes jobs and ends them until ctx does. It goes by a new name when it
// does not know what it has taken.
func labour(ctx context.Context, j *Jobs, name string, ends *atomic.Int64) {
	var running sync.WaitGroup
	defer running.Wait()
	for life := 0; ctx.Err() == nil; life++ {
		worker := fmt.Sprint(name, "/", life)
		for ctx.Err() == nil {
			j.Sweep(ctx)
			taken, err := j.Take(ctx, worker, "api//", 20)
			if err != nil {
				j.Leave(ctx, worker)
				break
			}
			for _, x := range taken {
				running.Go(func() {
					if j.Start(ctx, x.Ref) != nil {
						return // swept, sooner or later
					}
					if j.End(ctx, job.End{Ref: x.Ref, State: job.Done, Response: &job.Response{Status: 200}}) == nil {
						ends.Add(1)
					}
				})
			}
			running.Wait()
		}
	}
}

func TestJobsSurviveDeathsOfTheServer(t *testing.T) {
	server := redistest.Start(t, redistest.WithAOF())
	churn(t, openJobs(t, Options{Addrs: []string{server.Addr}}), 1200, func() {
		server.Kill()
		server.Restart()
	})
}

func TestJobsSurviveFaultsOfTheNetwork(t *testing.T) {
	for name, fault := range map[string]func(*redistest.Proxy){
		"reset":      func(p *redistest.Proxy) { p.Reset() },
		"half open":  (*redistest.Proxy).HalfOpen,
		"black hole": (*redistest.Proxy).Blackhole,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			proxy := redistest.StartProxy(t, server.Addr)
			j := openJobs(t, Options{Addrs: []string{proxy.Addr}})
			churn(t, j, 900, func() {
				fault(proxy)
				ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
				defer cancel()
				j.Get(ctx, "job_none") // waits that long, or finds it healed
				proxy.Heal()
			})
		})
	}
}

func TestJobStepIsLoadedAgainWhenItIsLost(t *testing.T) {
	server := redistest.Start(t)
	for _, way := range []string{"function", "script"} {
		j := openJobs(t, Options{Addrs: []string{server.Addr}, Namespace: way})
		j.store.scripted.Store(way == "script")
		churn(t, j, 400, func() {
			server.CLI("FUNCTION", "FLUSH")
			server.CLI("SCRIPT", "FLUSH")
		})
	}
}

func TestJobsOfAClusterAreOnOneNode(t *testing.T) {
	cluster := redistest.StartCluster(t, redistest.WithAOF())
	j := openJobs(t, Options{Addrs: cluster.Addrs[:1], Cluster: true})
	owner := -1
	churn(t, j, 600, func() {
		if owner >= 0 {
			return
		}
		for i := range cluster.Addrs {
			if cluster.Node(i).CLI("DBSIZE") != "0" {
				if owner >= 0 {
					t.Errorf("nodes %d and %d both hold keys", owner, i)
				}
				owner = i
			}
		}
		cluster.Node(owner).Kill()
		cluster.Node(owner).Restart()
		cluster.WaitOK()
	})
}

func TestJobsGoOnAfterAFailover(t *testing.T) {
	sentinel := redistest.StartSentinel(t)
	j := openJobs(t, Options{Addrs: sentinel.Addrs, Master: redistest.MasterName})
	put := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_, _, err := j.Put(ctx, someJob())
		return err
	}
	eventually(t, put)
	sentinel.Failover()
	eventually(t, put)
	if taken, err := j.Take(t.Context(), "w", "api//", 10); err != nil || len(taken) == 0 {
		t.Errorf("Take after a failover = %d jobs, %v", len(taken), err)
	}
}

// What is running must end when there is no room for more.
func TestFullServerRefusesNewJobsAndEndsOthers(t *testing.T) {
	server := redistest.Start(t)
	for _, way := range []string{"function", "script"} {
		j := openJobs(t, Options{Addrs: []string{server.Addr}, Namespace: way})
		j.store.scripted.Store(way == "script")
		for range 3 {
			if _, _, err := j.Put(t.Context(), someJob()); err != nil {
				t.Fatal(err)
			}
		}
		server.CLI("CONFIG", "SET", "maxmemory", "1")
		one := someJob()
		one.Job.Key = "key"
		if _, _, err := j.Put(t.Context(), one); !errors.Is(err, job.ErrFull) || !strings.Contains(err.Error(), "maxmemory") {
			t.Errorf("by %s: Put = %v, want ErrFull and what to do", way, err)
		}
		taken, err := j.Take(t.Context(), "w", "api//", 2)
		if err != nil || len(taken) != 2 {
			t.Fatalf("by %s: Take = %d jobs, %v; want 2", way, len(taken), err)
		}
		for _, x := range taken {
			if err := errors.Join(j.Start(t.Context(), x.Ref), j.End(t.Context(), job.End{Ref: x.Ref, State: job.Done,
				Response: &job.Response{Status: 200}})); err != nil {
				t.Errorf("by %s: Start and End = %v", way, err)
			}
		}
		server.CLI("CONFIG", "SET", "maxmemory", "0")
		counts, err := j.Counts(t.Context())
		if err != nil || counts[job.Done] != 2 || counts[job.Waiting] != 1 {
			t.Errorf("by %s: counts = %v, %v; want 2 done and 1 waiting", way, counts, err)
		}
		if _, existed, err := j.Put(t.Context(), one); err != nil || existed {
			t.Errorf("by %s: Put when there is room again: existed = %v, %v", way, existed, err)
		}
	}
}

func TestLostAnswersTakeEffectOnce(t *testing.T) {
	server := redistest.Start(t)
	proxy := redistest.StartProxy(t, server.Addr)
	j := openJobs(t, Options{Addrs: []string{proxy.Addr}})
	// lossy calls f while answers are lost, until the server has done a step.
	lossy := func(f func() error) {
		t.Helper()
		steps := func() string {
			return grep(server.CLI("INFO", "commandstats"), "cmdstat_fcall:calls=")
		}
		before := steps()
		proxy.HalfOpen()
		result := make(chan error, 1)
		go func() { result <- f() }()
		eventually(t, func() error {
			if steps() == before {
				return errors.New("the step has not arrived")
			}
			return nil
		})
		proxy.Heal()
		if err := <-result; err != nil {
			t.Error(err)
		}
	}
	if _, err := j.Counts(t.Context()); err != nil { // connects, and loads the step
		t.Fatal(err)
	}
	one := someJob()
	lossy(func() error { _, _, err := j.Put(t.Context(), one); return err })
	var taken []job.Taken
	lossy(func() (err error) { taken, err = j.Take(t.Context(), "w", "api//", 5); return err })
	if len(taken) != 1 || taken[0].ID != one.Job.ID {
		t.Fatalf("taken: %+v, want %s", taken, one.Job.ID)
	}
	lossy(func() error { return j.Start(t.Context(), taken[0].Ref) })
	lossy(func() error {
		return j.End(t.Context(), job.End{Ref: taken[0].Ref, State: job.Failed, Tried: 1, Attempts: []job.Attempt{{Status: 500}}})
	})
	lossy(func() error { _, err := j.Retry(t.Context(), one.Job.ID); return err })
	lossy(func() error { _, err := j.Cancel(t.Context(), one.Job.ID, "enough", nil); return err })
	got, err := j.Get(t.Context(), one.Job.ID)
	if err != nil || got.State != job.Cancelled || got.Attempted != 1 {
		t.Errorf("in the end: %+v, %v; want it cancelled after one attempt", got, err)
	}
	if counts, err := j.Counts(t.Context()); err != nil || counts[job.Cancelled] != 1 || counts[job.Waiting] != 0 {
		t.Errorf("counts = %v, %v; want one cancelled", counts, err)
	}
}

// grep returns the value behind a text, up to a comma.
func grep(text, before string) string {
	_, rest, _ := strings.Cut(text, before)
	value, _, _ := strings.Cut(rest, ",")
	return value
}

func TestUnavailableServerIsSaidToBe(t *testing.T) {
	server := redistest.Start(t)
	server.Kill()
	j := openJobs(t, Options{Addrs: []string{server.Addr}, Password: "hunter2"})
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, _, err := j.Put(ctx, someJob()); !errors.Is(err, job.ErrUnavailable) || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("Put = %v, want ErrUnavailable and no password", err)
	}
	if _, err := j.Get(ctx, "job_x"); !errors.Is(err, job.ErrUnavailable) {
		t.Errorf("Get = %v, want ErrUnavailable", err)
	}
	j.Close()
	j.Close()
	if _, _, err := j.Put(t.Context(), someJob()); !errors.Is(err, job.ErrUnavailable) || !errors.Is(err, ErrClosed) {
		t.Errorf("Put when closed = %v, want ErrUnavailable and ErrClosed", err)
	}
}

// The rights are those that the comments of the package and of Jobs list.
func TestJobsNeedNoMoreRightsThanTheySay(t *testing.T) {
	const keys = "~headgate:1:* &headgate:1:* +@hash +pexpire +time +publish +subscribe +ping +@set +@sortedset +get +set +mget +mset +del +exists +persist "
	for _, rights := range []string{keys + "+fcall +function", keys + "+eval +evalsha"} {
		server := redistest.Start(t, redistest.WithConfig("user app on >secret "+rights))
		j := openJobs(t, Options{Addrs: []string{server.Addr}, Username: "app", Password: "secret"})
		churn(t, j, 80, func() {})
		one := someJob()
		one.Job.Key = "key"
		_, _, err := j.Put(t.Context(), one)
		_, err2 := j.Cancel(t.Context(), one.Job.ID, "", nil)
		_, err3 := j.Retry(t.Context(), one.Job.ID)
		_, err4 := j.Cancel(t.Context(), one.Job.ID, "", nil)
		_, err5 := j.Purge(t.Context(), job.Filter{})
		if err := errors.Join(err, err2, err3, err4, err5); err != nil {
			t.Errorf("with %s: %v", rights, err)
		}
	}
}
