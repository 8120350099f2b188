package sqlitestore

import (
	"bytes"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"testing"

	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/headgate/headgate/internal/job"
)

var kilobyte = bytes.Repeat([]byte("x"), 1024)

// BenchmarkPut64 stores jobs of 1 KB for 64 callers, each synced before its caller
// hears of it.
func BenchmarkPut64(b *testing.B) {
	s := open(b, file(b), Options{})
	b.SetBytes(int64(len(kilobyte)))
	var wg sync.WaitGroup
	var left atomic.Int64
	left.Store(int64(b.N))
	b.ResetTimer()
	for i := range 64 {
		wg.Go(func() {
			queue := fmt.Sprint("api/client", i%4, "/")
			for left.Add(-1) >= 0 {
				if _, _, err := s.Put(b.Context(), call(queue)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "jobs/s")
}

// BenchmarkRawCommit100 is what the driver does with the same settings and no
// more than it must: 100 rows of 1 KB in each synced commit.
func BenchmarkRawCommit100(b *testing.B) {
	conn, err := openConn(file(b))
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	for _, set := range settings {
		if err := sqlitex.ExecuteTransient(conn, "PRAGMA "+set, nil); err != nil {
			b.Fatal(err)
		}
	}
	if err := sqlitex.ExecuteTransient(conn, `CREATE TABLE raw (seq INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT`, nil); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(kilobyte)))
	must := func(query string, bind ...any) {
		stmt, err := conn.Prepare(query)
		if err == nil {
			bindAll(stmt, bind)
			_, err = stmt.Step()
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	b.ResetTimer()
	for i := range b.N {
		if i%100 == 0 {
			must(`BEGIN IMMEDIATE`)
		}
		must(`INSERT INTO raw (body) VALUES (?)`, kilobyte)
		if i%100 == 99 || i == b.N-1 {
			must(`COMMIT`)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "jobs/s")
}

// BenchmarkJob has 64 callers' jobs stored, taken, started and ended, by one
// worker.
func BenchmarkJob(b *testing.B) {
	s := open(b, file(b), Options{})
	const queue = "api/client/"
	var callers, worker sync.WaitGroup
	var left atomic.Int64
	left.Store(int64(b.N))
	b.ResetTimer()
	for range 64 {
		callers.Go(func() {
			for left.Add(-1) >= 0 {
				if _, _, err := s.Put(b.Context(), call(queue)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	for ended := 0; ended < b.N; {
		taken, err := s.Take(b.Context(), "w", queue, math.MaxInt16)
		if err != nil {
			b.Fatal(err)
		}
		ended += len(taken)
		for _, x := range taken {
			worker.Go(func() {
				if err := s.Start(b.Context(), x.Ref); err != nil {
					b.Error(err)
				}
				e := job.End{Ref: x.Ref, State: job.Done, Response: &job.Response{Status: 200, Body: kilobyte}}
				if err := s.End(b.Context(), e); err != nil {
					b.Error(err)
				}
			})
		}
	}
	callers.Wait()
	worker.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "jobs/s")
}

func call(queue string) job.New {
	return job.New{
		Job: job.Job{Upstream: "api", Client: "client", Priority: 5, Queue: queue, Fingerprint: "0123456789abcdef0123456789abcdef"},
		Request: job.Request{
			Method: "POST", Path: "/v1/analyze", Body: kilobyte,
			Header: map[string][]string{"Content-Type": {"application/json"}, "Authorization": {"Bearer 0123456789"}},
		},
	}
}
