package worker

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"sync"
	"testing"
	"time"

	"github.com/headgate/headgate/config"
	"github.com/headgate/headgate/internal/job"
)

// shelf is the least that a store can be: it holds n jobs in queues, hands each
// out once, and counts their ends.
type shelf struct {
	request job.Request
	ended   chan struct{} // closed with the last

	mu     sync.Mutex
	queues map[string]int // jobs left
	left   int
	fence  int64
}

func newShelf(jobs, queues int) *shelf {
	s := &shelf{
		request: job.Request{Method: "POST", Path: "/v1/chat/completions", Body: bytes.Repeat([]byte("y"), 1000)},
		ended:   make(chan struct{}), queues: make(map[string]int), left: jobs,
	}
	for i := range jobs {
		s.queues[fmt.Sprintf("api/client-%d/", i%queues)]++
	}
	return s
}

func (s *shelf) Queues(context.Context) (all []job.QueueStatus, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, n := range s.queues {
		if n > 0 {
			all = append(all, job.QueueStatus{Name: name, Kind: job.Call, Upstream: "api", Ripe: n})
		}
	}
	return all, nil
}

func (s *shelf) Take(_ context.Context, _, queue string, n int) ([]job.Taken, error) {
	s.mu.Lock()
	n = min(n, s.queues[queue])
	s.queues[queue] -= n
	s.fence += int64(n)
	fence := s.fence
	s.mu.Unlock()
	taken := make([]job.Taken, n)
	now := time.Now()
	for i := range taken {
		fence--
		id := fmt.Sprintf("job_%020d", fence)
		taken[i] = job.Taken{
			Ref:     job.Ref{ID: id, Fence: fence},
			Job:     job.Job{ID: id, Kind: job.Call, State: job.Waiting, Upstream: "api", Queue: queue, Priority: 5, CreatedAt: now},
			Request: s.request,
		}
		taken[i].Request.Header = http.Header{"Content-Type": {"application/json"}}
	}
	return taken, nil
}

func (s *shelf) Start(context.Context, job.Ref) error { return nil }

func (s *shelf) End(_ context.Context, e job.End) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.State == job.Done {
		if s.left--; s.left == 0 {
			close(s.ended)
		}
	}
	return nil
}

func (s *shelf) Keep(context.Context, string) error           { return nil }
func (s *shelf) Leave(context.Context, string) error          { return nil }
func (s *shelf) Sweep(context.Context) (time.Duration, error) { return time.Second, nil }

// noop answers at once, as a transport that calls trace hooks does.
type noop struct{ answer []byte }

func (n noop) RoundTrip(req *http.Request) (*http.Response, error) {
	trace := httptrace.ContextClientTrace(req.Context())
	trace.GetConn("api.test:80")
	trace.GotConn(httptrace.GotConnInfo{})
	if req.Body != nil {
		io.Copy(io.Discard, req.Body)
		req.Body.Close()
	}
	trace.WroteRequest(httptrace.WroteRequestInfo{})
	return &http.Response{
		StatusCode: 200, ProtoMajor: 1, ProtoMinor: 1, Request: req,
		Header: http.Header{"Content-Type": {"application/json"}, "Content-Length": {"1024"}},
		Body:   io.NopCloser(bytes.NewReader(n.answer)), ContentLength: int64(len(n.answer)),
	}, nil
}

// BenchmarkJobs is what a job costs from its store to its end, with a store and
// an upstream that cost nothing.
func BenchmarkJobs(b *testing.B) {
	for _, queues := range []int{1, 50} {
		b.Run(fmt.Sprintf("queues=%d", queues), func(b *testing.B) {
			g := openGate(b, noop{bytes.Repeat([]byte("x"), 1024)},
				map[string]config.Upstream{"api": {Limits: limits("100000000/1s")}})
			s := newShelf(b.N, queues)
			w := New(Options{Store: s, Door: g, Name: "bench"})
			ctx, stop := context.WithCancel(b.Context())
			b.ReportAllocs()
			b.ResetTimer()
			began := time.Now()
			var running sync.WaitGroup
			running.Go(func() { w.Run(ctx, b.Context()) })
			<-s.ended
			b.ReportMetric(float64(b.N)/time.Since(began).Seconds(), "jobs/s")
			b.StopTimer()
			stop()
			running.Wait()
		})
	}
}
