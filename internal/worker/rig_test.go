package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/headgate/headgate"
	"github.com/headgate/headgate/config"
	"github.com/headgate/headgate/internal/job"
	"github.com/headgate/headgate/internal/job/jobtest"
)

var errStopped = errors.New("stopped")

// upstream answers in virtual time, and counts.
type upstream struct {
	latency time.Duration
	answer  func(r *http.Request) *http.Response // nil: 200

	mu   sync.Mutex
	seen map[string]int // by path with its query
	at   []time.Time
}

func (u *upstream) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err // as every transport does
	}
	u.mu.Lock()
	if u.seen == nil {
		u.seen = make(map[string]int)
	}
	u.seen[r.URL.RequestURI()]++
	u.at = append(u.at, time.Now())
	u.mu.Unlock()
	if r.Body != nil {
		io.Copy(io.Discard, r.Body)
		r.Body.Close()
	}
	if !pass(r.Context(), u.latency) {
		return nil, context.Cause(r.Context())
	}
	if u.answer == nil {
		return reply(200), nil
	}
	return u.answer(r), nil
}

func (u *upstream) calls() map[string]int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return maps.Clone(u.seen)
}

func (u *upstream) total() (n int) {
	for _, k := range u.calls() {
		n += k
	}
	return n
}

func reply(status int, fields ...string) *http.Response {
	h := make(http.Header)
	for i := 0; i < len(fields); i += 2 {
		h.Set(fields[i], fields[i+1])
	}
	return &http.Response{StatusCode: status, Header: h, ProtoMajor: 1, ProtoMinor: 1, Body: io.NopCloser(strings.NewReader("{}"))}
}

// openGate opens a gate whose upstreams are all answered by base.
func openGate(t testing.TB, base http.RoundTripper, upstreams map[string]config.Upstream) *headgate.Gate {
	t.Helper()
	for name, u := range upstreams {
		u.URL = "http://" + name + ".test/base"
		upstreams[name] = u
	}
	g, err := headgate.Open(t.Context(), config.Config{Upstreams: upstreams}, headgate.Base(base))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Close() })
	return g
}

func limits(texts ...string) (all []config.Limit) {
	for _, text := range texts {
		all = append(all, config.Limit{Limit: text})
	}
	return all
}

// running is a worker at work.
type running struct {
	*Worker
	stop    context.CancelCauseFunc // taking
	cut     context.CancelCauseFunc // working
	stopped chan error
}

// start has a worker run until the test ends. It is called in a bubble.
func start(t *testing.T, store job.Store, door Door, o Options) *running {
	t.Helper()
	o.Store, o.Door = store, door
	if o.Name == "" {
		o.Name = "worker"
	}
	if o.Random == nil {
		o.Random = func() float64 { return 0.5 }
	}
	if o.URL == nil {
		o.URL = func(name string) string { return "http://" + name + ".test/base" }
	}
	r := &running{Worker: New(o), stopped: make(chan error, 1)}
	var taking, working context.Context
	working, r.cut = context.WithCancelCause(t.Context())
	taking, r.stop = context.WithCancelCause(working)
	hearing, deaf := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { store.Run(hearing, r.Hear) })
	wg.Go(func() { r.stopped <- r.Run(taking, working) })
	t.Cleanup(func() {
		r.stop(errStopped)
		r.cut(errStopped)
		deaf()
		wg.Wait()
	})
	synctest.Wait() // from here on it hears of what is put
	return r
}

// put stores n calls to an upstream and returns their IDs.
func put(t testing.TB, store job.Records, upstream string, n int, change ...func(*job.New)) (ids []string) {
	t.Helper()
	for i := range n {
		x := job.New{
			Job:     job.Job{ID: job.NewID(time.Now()), Kind: job.Call, Upstream: upstream, Priority: 5, Queue: job.Queue(upstream, "", "")},
			Request: job.Request{Method: "POST", Path: fmt.Sprintf("/%s/%d", upstream, i), Body: []byte("{}")},
		}
		for _, f := range change {
			f(&x)
		}
		j, _, err := store.Put(t.Context(), x)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, j.ID)
	}
	return ids
}

func get(t testing.TB, store job.Records, id string) job.Job {
	t.Helper()
	j, err := store.Get(t.Context(), id)
	if err != nil {
		t.Fatalf("get %s: %v", id, err)
	}
	return j
}

// states counts calls by their state.
func states(t testing.TB, store job.Records) map[job.State]int64 {
	t.Helper()
	counts, err := store.Counts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return counts
}

func newStore() *jobtest.Memory { return jobtest.NewMemory(time.Now) }

// faulty is a store that can be away.
type faulty struct {
	*jobtest.Memory
	away atomic.Bool // for all that workers ask
	take atomic.Bool // a Take is done, and its answer lost

	refuse func(job.End) error // nil: no end is refused

	mu    sync.Mutex
	takes int
	ends  []job.End // that were stored
}

func (f *faulty) check() error {
	if f.away.Load() {
		return fmt.Errorf("test: %w", job.ErrUnavailable)
	}
	return nil
}

func (f *faulty) Queues(ctx context.Context) ([]job.QueueStatus, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	return f.Memory.Queues(ctx)
}

func (f *faulty) Take(ctx context.Context, worker, queue string, n int) ([]job.Taken, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	f.mu.Lock()
	f.takes++
	f.mu.Unlock()
	taken, err := f.Memory.Take(ctx, worker, queue, n)
	if f.take.CompareAndSwap(true, false) {
		return nil, job.ErrUnavailable
	}
	return taken, err
}

func (f *faulty) Start(ctx context.Context, r job.Ref) error {
	if err := f.check(); err != nil {
		return err
	}
	return f.Memory.Start(ctx, r)
}

func (f *faulty) End(ctx context.Context, e job.End) error {
	if err := f.check(); err != nil {
		return err
	}
	if f.refuse != nil {
		if err := f.refuse(e); err != nil {
			return err
		}
	}
	err := f.Memory.End(ctx, e)
	if err == nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.ends = append(f.ends, e)
	}
	return err
}

func (f *faulty) Keep(ctx context.Context, worker string) error {
	if err := f.check(); err != nil {
		return err
	}
	return f.Memory.Keep(ctx, worker)
}

func (f *faulty) Leave(ctx context.Context, worker string) error {
	if err := f.check(); err != nil {
		return err
	}
	return f.Memory.Leave(ctx, worker)
}

func (f *faulty) Sweep(ctx context.Context) (time.Duration, error) {
	if err := f.check(); err != nil {
		return 0, err
	}
	return f.Memory.Sweep(ctx)
}

func (f *faulty) taken() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.takes
}

// bubble runs f in virtual time.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

func sorted(m map[string]int) []string { return slices.Sorted(maps.Keys(m)) }
