package redisstore

import (
	"context"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/headgate/headgate/internal/job/jobtest"
	"github.com/headgate/headgate/internal/redistest"
)

// openJobs returns a job store for one test.
func openJobs(t testing.TB, o Options) *Jobs {
	t.Helper()
	if o.Namespace == "" {
		o.Namespace = "test"
	}
	j := newJobs(o, theJobScript)
	t.Cleanup(func() { j.Close() })
	return j
}

// clocked returns a job store of which the test moves the clock.
func clocked(t *testing.T, o Options) jobtest.Subject {
	t.Helper()
	const clock = "redis.pcall('TIME')"
	if n := strings.Count(jobLua(), clock); n != 1 {
		t.Fatalf("the step holds %q %d times, want once", clock, n)
	}
	j := newJobs(o, newScript(strings.Replace(jobLua(), clock, "{err = 'ERR refused'}", 1), "step"))
	t.Cleanup(func() { j.Close() })
	var now atomic.Int64
	now.Store(jobtest.T0.UnixMicro())
	j.store.clock = func(context.Context, rueidis.Client) (int64, error) { return now.Load(), nil }
	return jobtest.Subject{Store: j, Advance: func(d time.Duration) { now.Add(d.Microseconds()) }}
}

func TestJobs(t *testing.T) {
	server := redistest.Start(t)
	for _, way := range []string{"function", "script"} {
		t.Run(way, func(t *testing.T) {
			jobtest.Run(t, func(t *testing.T) jobtest.Subject {
				server.FlushAll()
				s := clocked(t, Options{Addrs: []string{server.Addr}, Namespace: way})
				s.Store.(*Jobs).store.scripted.Store(way == "script")
				return s
			})
		})
	}
}

func TestTakeStopsWhereRequestsAreLong(t *testing.T) {
	server := redistest.Start(t)
	j := openJobs(t, Options{Addrs: []string{server.Addr}})
	const jobs, most = 40, 4 << 20
	for range jobs {
		one := someJob()
		one.Request.Body = make([]byte, most/8)
		if _, _, err := j.Put(t.Context(), one); err != nil {
			t.Fatal(err)
		}
	}
	all := 0
	for _, want := range []int{16, 16, 8, 0} {
		taken, err := j.Take(t.Context(), "w", "api//", 100)
		if err != nil || len(taken) != want {
			t.Errorf("Take = %d jobs, %v; want %d", len(taken), err, want)
		}
		all += len(taken)
	}
	if all != jobs {
		t.Errorf("%d jobs taken, want %d", all, jobs)
	}
}

func TestSizeOfAJob(t *testing.T) {
	server := redistest.Start(t)
	j := openJobs(t, Options{Addrs: []string{server.Addr}})
	const jobs, body, most = 2000, 1000, 3000
	used := func() int {
		n, err := strconv.Atoi(strings.TrimSpace(fields(server.CLI("INFO", "memory"))["used_memory_dataset"]))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := used()
	for range jobs {
		one := someJob()
		one.Request.Body = make([]byte, body)
		if _, _, err := j.Put(t.Context(), one); err != nil {
			t.Fatal(err)
		}
	}
	each := (used() - before) / jobs
	t.Logf("a job with a body of %d bytes takes %d bytes", body, each)
	if each > most {
		t.Errorf("a job with a body of %d bytes takes %d bytes, want at most %d", body, each, most)
	}
}
