package e2e

import (
	"context"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	window = time.Second // of the strict upstream

	// A request is counted so much after it came, at random.
	spreadLeast, spreadMost = 5 * time.Millisecond, 30 * time.Millisecond

	service = 20 * time.Millisecond // median of the lognormal service time
)

// instanceHeader tells the upstream which instance a request came by.
const instanceHeader = "Test-Instance"

// strict is an upstream that knows what a limit of n in any window refuses. It
// says so afterwards: a request is counted from the moment at which the kernel
// got it, so that a machine that is too busy to read it in time changes
// nothing.
type strict struct {
	*httptest.Server
	n int

	mu struct {
		sync.Mutex
		arrivals  []*arrival
		throttle  bool // the next one
		failing   bool
		throttled time.Time // when that answer left
	}
}

// arrival is a request.
type arrival struct {
	came, at time.Time // to the machine; and counted
	instance int
	weight   int64
	status   int // that it was answered
}

// newStrict starts an upstream for n requests in a window.
func newStrict(t *testing.T, n int) *strict {
	t.Helper()
	s := &strict{n: n}
	s.Server = newStamping(t, s.serve)
	return s
}

// newStamping starts an upstream that knows when requests came to the machine.
func newStamping(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Listener = stampedListener{s.Listener}
	s.Config.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		return context.WithValue(ctx, stamped{}, c)
	}
	s.Start()
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s
}

// serviceTime is how long an answer takes, at random.
func serviceTime() time.Duration {
	return time.Duration(float64(service) * math.Exp(0.3*rand.NormFloat64()))
}

func (s *strict) serve(w http.ResponseWriter, r *http.Request) {
	a := s.arrive(r)
	time.Sleep(time.Until(a.at))
	switch s.answer(a) {
	case http.StatusTooManyRequests:
		w.Header().Set("Retry-After", "3")
		w.WriteHeader(http.StatusTooManyRequests)
		_ = http.NewResponseController(w).Flush() // a caller who has gone
		s.left()
	case http.StatusServiceUnavailable:
		w.WriteHeader(http.StatusServiceUnavailable)
	default:
		time.Sleep(serviceTime())
	}
}

// arrive takes in a request.
func (s *strict) arrive(r *http.Request) *arrival {
	a := arriving(r)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.arrivals = append(s.mu.arrivals, a)
	return a
}

// arriving returns a request as it came, by a stampedListener.
func arriving(r *http.Request) *arrival {
	came := r.Context().Value(stamped{}).(*stampedConn).came()
	instance, err := strconv.Atoi(r.Header.Get(instanceHeader))
	if err != nil {
		instance = -1
	}
	return &arrival{came: came, at: came.Add(spreadLeast + rand.N(spreadMost-spreadLeast)), instance: instance, weight: 1}
}

func (s *strict) answer(a *arrival) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.mu.failing:
		a.status = http.StatusServiceUnavailable
	case s.mu.throttle:
		a.status = http.StatusTooManyRequests
		s.mu.throttle = false
	default:
		a.status = http.StatusOK
	}
	return a.status
}

// left notes that the answer to the request that was throttled has left.
func (s *strict) left() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.throttled = time.Now()
}

// throttleOne has the next request throttled, with Retry-After: 3.
func (s *strict) throttleOne() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.throttle = true
}

// throttled returns when that answer left; zero if it has not yet.
func (s *strict) throttled() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.throttled
}

// fail has every request answered 503.
func (s *strict) fail() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.failing = true
}

// history is what was answered, in the order of the moments.
type history []arrival

func (s *strict) history() history {
	s.mu.Lock()
	defer s.mu.Unlock()
	var h history
	for _, a := range s.mu.arrivals {
		if a.status != 0 {
			h = append(h, *a)
		}
	}
	slices.SortFunc(h, func(a, b arrival) int { return a.at.Compare(b.at) })
	return h
}

// refused returns what the limit has no room for, by counting anew for each
// what the window before it holds.
func (s *strict) refused() history {
	var accepted, refused history
	for _, a := range s.history() {
		inWindow := 0
		for _, b := range accepted {
			if a.at.Sub(b.at) < window {
				inWindow++
			}
		}
		if inWindow < s.n {
			accepted = append(accepted, a)
		} else {
			refused = append(refused, a)
		}
	}
	return refused
}

// between returns what was counted from one moment until before another.
func (h history) between(from, to time.Time) history {
	return h.only(func(a arrival) bool { return !a.at.Before(from) && a.at.Before(to) })
}

// by returns what came by an instance.
func (h history) by(instance int) history {
	return h.only(func(a arrival) bool { return a.instance == instance })
}

func (h history) only(keep func(arrival) bool) history {
	var kept history
	for _, a := range h {
		if keep(a) {
			kept = append(kept, a)
		}
	}
	return kept
}

// usage returns which share of the quota was used from one moment to another.
func (s *strict) usage(from, to time.Time) float64 {
	quota := float64(s.n) * float64(to.Sub(from)) / float64(window)
	return float64(len(s.history().between(from, to))) / quota
}

// whole returns how long after a moment a window began in which the instances
// that keep is true for used nine tenths of the quota; false if none did.
func (s *strict) whole(from time.Time, keep func(instance int) bool) (time.Duration, bool) {
	h := s.history().only(func(a arrival) bool { return !a.at.Before(from) && keep(a.instance) })
	first := 0
	for last := range h {
		for h[last].at.Sub(h[first].at) >= window {
			first++
		}
		if last-first+1 >= s.n*9/10 {
			return h[first].at.Sub(from), true
		}
	}
	return 0, false
}

// stampedListener takes connections that know when what they read came.
type stampedListener struct{ net.Listener }

func (l stampedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if err := stamp(conn); err != nil {
		conn.Close()
		return nil, err
	}
	return &stampedConn{Conn: conn}, nil
}

// stamped is the key of a stampedConn in a request's context.
type stamped struct{}

type stampedConn struct {
	net.Conn
	last atomic.Pointer[time.Time]
}

func (c *stampedConn) Read(p []byte) (int, error) {
	n, came, err := readStamped(c.Conn, p)
	switch {
	case err != nil:
		return n, err
	case n == 0 && len(p) > 0:
		return 0, io.EOF
	}
	now := time.Now()
	if !came.IsZero() {
		now = now.Add(-now.Round(0).Sub(came)) // keeps the reading of the monotonic clock
	}
	c.last.Store(&now)
	return n, nil
}

// came returns when the last that was read came to the machine.
func (c *stampedConn) came() time.Time { return *c.last.Load() }
