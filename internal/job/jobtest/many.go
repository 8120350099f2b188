package jobtest

import (
	"fmt"
	"sync"

	"github.com/headgate/headgate/internal/job"
)

func manyAtOnceEndEachJobOnce(s *suite) {
	const callers, each = 64, 4
	var wg sync.WaitGroup
	var mu sync.Mutex
	ended := make(map[string]int)
	for i := range callers {
		n := make([]job.New, each)
		for k := range n {
			n[k] = s.fresh(fmt.Sprint("q", i%4))
		}
		wg.Go(func() {
			worker, queue := fmt.Sprint("w", i), fmt.Sprint("q", i%4)
			for _, n := range n {
				if _, _, err := s.Put(s.Context(), n); err != nil {
					s.Errorf("Put: %v", err)
				}
				taken, err := s.Take(s.Context(), worker, queue, 2)
				if err != nil {
					s.Errorf("Take: %v", err)
				}
				for _, x := range taken {
					if err := s.Start(s.Context(), x.Ref); err != nil {
						s.Errorf("Start: %v", err)
					}
					e := job.End{Ref: x.Ref, State: job.Done, Response: &job.Response{Status: 200, Body: []byte(x.ID)}}
					if err := s.End(s.Context(), e); err != nil {
						s.Errorf("End: %v", err)
					}
					mu.Lock()
					ended[x.ID]++
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	for q := range 4 {
		taken, err := s.Take(s.Context(), "last", fmt.Sprint("q", q), callers*each)
		s.must(err, "Take")
		for _, x := range taken {
			s.end(job.End{Ref: x.Ref, State: job.Done, Response: &job.Response{Status: 200, Body: []byte(x.ID)}})
			ended[x.ID]++
		}
	}
	if len(ended) != callers*each {
		s.Errorf("%d jobs ended, want %d", len(ended), callers*each)
	}
	for id, n := range ended {
		if n != 1 {
			s.Errorf("job %s ended %d times", id, n)
		}
		if r, err := s.Response(s.Context(), id); err != nil || string(r.Body) != id {
			s.Errorf("Response(%s) = %q, %v; want its own", id, r.Body, err)
		}
	}
	s.counts(map[job.State]int64{job.Done: callers * each})
}

func manyAtOnceStoreAKeyOnce(s *suite) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	stored := make(map[string]int)
	created := 0
	for range 64 {
		n := s.fresh("q")
		n.Job.Key, n.Job.Fingerprint = "k", "f"
		wg.Go(func() {
			j, existed, err := s.Put(s.Context(), n)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				s.Errorf("Put: %v", err)
			}
			stored[j.ID]++
			if !existed {
				created++
			}
		})
	}
	wg.Wait()
	if len(stored) != 1 || created != 1 {
		s.Errorf("64 calls with one key stored %d jobs, as %v; want one", created, stored)
	}
	s.take("w", "q", 64, 1)
}
