//go:build linux

package main

import (
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

const (
	window = time.Second // of the strict upstream

	// A request is counted after it was read by so much, at random.
	spreadLeast, spreadMost = 5 * time.Millisecond, 30 * time.Millisecond

	service      = 20 * time.Millisecond // median of the lognormal service time
	serviceSigma = 0.3
)

// strict counts requests as they arrive at an upstream: it lets n into any
// window and refuses the rest, which do not count.
type strict struct {
	n     int
	began time.Time

	mu struct {
		sync.Mutex
		coming   []*arrival // read and not yet counted, the next one first
		accepted history
		refused  history
		oldest   int       // of accepted, what is still in the window of the last that was counted
		late     []float64 // ms by which timers woke after the moments of requests
	}
}

// arrival is a request. It is counted at a moment that is fixed when it is
// read, so that late timers of a busy machine change nothing.
type arrival struct {
	at       time.Duration // since the upstream began
	instance int           // that it came by
	counted  bool
	ok       bool // let in; valid once it is counted
}

func newStrict(n int) *strict { return &strict{n: n, began: time.Now()} }

// serve takes in a request, and returns after it was counted, and served if it
// was let in.
func (s *strict) serve(instance int) bool {
	a := s.read(instance)
	time.Sleep(a.at - time.Since(s.began))
	if !s.count(a) {
		return false
	}
	time.Sleep(time.Duration(float64(service) * math.Exp(serviceSigma*rand.NormFloat64())))
	return true
}

// read takes in a request, which will be counted later.
func (s *strict) read(instance int) *arrival {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := &arrival{at: time.Since(s.began) + spreadLeast + rand.N(spreadMost-spreadLeast), instance: instance}
	s.expectLocked(a)
	return a
}

// expectLocked puts a request among those to be counted.
func (s *strict) expectLocked(a *arrival) {
	i := len(s.mu.coming)
	s.mu.coming = append(s.mu.coming, a)
	for ; i > 0 && a.at < s.mu.coming[i-1].at; i-- {
		s.mu.coming[i] = s.mu.coming[i-1]
	}
	s.mu.coming[i] = a
}

// count counts all requests up to a, and returns whether a was let in. Whatever
// is read from now on has a later moment.
func (s *strict) count(a *arrival) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.late = append(s.mu.late, (time.Since(s.began)-a.at).Seconds()*1e3)
	for !a.counted {
		next := s.mu.coming[0]
		s.mu.coming = s.mu.coming[1:]
		s.judgeLocked(next)
	}
	return a.ok
}

func (s *strict) judgeLocked(a *arrival) {
	in := s.mu.accepted
	for s.mu.oldest < len(in) && a.at-in[s.mu.oldest].at >= window {
		s.mu.oldest++
	}
	a.counted, a.ok = true, len(in)-s.mu.oldest < s.n
	if a.ok {
		s.mu.accepted = append(in, a)
	} else {
		s.mu.refused = append(s.mu.refused, a)
	}
}

// history is requests in the order of their moments.
type history []*arrival

// histories returns what was let in so far, and what was refused.
func (s *strict) histories() (accepted, refused history) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.accepted[:len(s.mu.accepted):len(s.mu.accepted)], s.mu.refused[:len(s.mu.refused):len(s.mu.refused)]
}

// lateness returns by how many ms timers woke late, but for the latest
// hundredth: how busy the machine is.
func (s *strict) lateness() float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return quantile(slices.Sorted(slices.Values(s.mu.late)), 0.99)
}

// between returns how many came from one moment until before another.
func (h history) between(from, to time.Duration) int {
	var n int
	for _, a := range h {
		if from <= a.at && a.at < to {
			n++
		}
	}
	return n
}

// shares returns how many came by each of n instances meanwhile.
func (h history) shares(n int, from, to time.Duration) []float64 {
	shares := make([]float64, n)
	for _, a := range h {
		if from <= a.at && a.at < to {
			shares[a.instance]++
		}
	}
	return shares
}
