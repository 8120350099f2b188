package redisstore

import (
	"context"
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
