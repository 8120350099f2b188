package redisstore

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/job"
	"github.com/headgate/headgate/internal/redistest"
)

// BenchmarkJobs measures what each step of a job costs the server, in µs of its
// CPU time, when 256 come at once.
func BenchmarkJobs(b *testing.B) {
	const together = 256
	server := redistest.Start(b)
	j := openJobs(b, Options{Addrs: []string{server.Addr}})
	ctx := b.Context()
	spent := make(map[string]time.Duration)
	measure := func(what string, f func()) {
		before := cpuOf(b, server)
		f()
		spent[what] += cpuOf(b, server) - before
	}
	each := func(n int, f func(i int) error) {
		var running sync.WaitGroup
		for i := range n {
			running.Go(func() {
				if err := f(i); err != nil {
					b.Error(err)
				}
			})
		}
		running.Wait()
	}
	body := make([]byte, 200)
	n := 0
	for b.Loop() {
		n += together
		measure("put", func() {
			each(together, func(int) error {
				_, _, err := j.Put(ctx, job.New{
					Job:     job.Job{ID: job.NewID(time.Now()), Kind: job.Call, Upstream: "api", Priority: 5, Queue: "api//"},
					Request: job.Request{Method: http.MethodPost, Path: "/v1/analyze", Header: http.Header{"Content-Type": {"application/json"}}, Body: body},
				})
				return err
			})
		})
		var taken []job.Taken
		measure("take", func() {
			var err error
			if taken, err = j.Take(ctx, "w", "api//", together); err != nil || len(taken) != together {
				b.Fatalf("Take = %d, %v", len(taken), err)
			}
		})
		measure("start", func() {
			each(together, func(i int) error { return j.Start(ctx, taken[i].Ref) })
		})
		measure("end", func() {
			each(together, func(i int) error {
				return j.End(ctx, job.End{Ref: taken[i].Ref, State: job.Done, Tried: 1,
					Attempts: []job.Attempt{{At: time.Now(), Status: 200, Reading: "ok"}},
					Response: &job.Response{Status: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: body}})
			})
		})
	}
	for what, d := range spent {
		b.ReportMetric(float64(d.Nanoseconds())/1e3/float64(n), "µs/"+what)
	}
}

// cpuOf returns the CPU time that a server has spent.
func cpuOf(b *testing.B, server *redistest.Server) (sum time.Duration) {
	b.Helper()
	for line := range strings.Lines(server.CLI("INFO", "cpu")) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if name == "used_cpu_sys" || name == "used_cpu_user" {
			s, err := strconv.ParseFloat(value, 64)
			if err != nil {
				b.Fatal(fmt.Errorf("INFO: %s: %w", name, err))
			}
			sum += time.Duration(s * float64(time.Second))
		}
	}
	return sum
}
