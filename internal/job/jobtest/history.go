package jobtest

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/job"
)

// histories are played, of steps each; fewer in short tests.
const (
	histories = 8
	steps     = 250
)

// historiesAgreeWithMemory plays random histories on the store and on Memory,
// and wants of both the same: what each step returns, and where each job stands
// after it. Moments at which something lapses or ripens are a second or more from
// those at which the store is asked.
func historiesAgreeWithMemory(s *suite) {
	n := histories
	if testing.Short() {
		n = 3
	}
	now := T0
	advance := s.Advance
	s.Advance = func(d time.Duration) { now = now.Add(d); advance(d) }
	for seed := range n {
		h := &history{
			suite: s, rng: rand.New(rand.NewPCG(uint64(seed), 5)), memory: NewMemory(func() time.Time { return now }),
			queues: []string{fmt.Sprintf("%d/a", seed), fmt.Sprintf("%d/b", seed), fmt.Sprintf("%d/c", seed)},
			client: fmt.Sprint("client", seed),
		}
		for step := range steps {
			h.did = fmt.Sprintf("seed %d, step %d", seed, step)
			h.step()
			if s.Failed() {
				return
			}
		}
		h.drain()
		if s.Failed() {
			return
		}
	}
}

// history is a store and the oracle beside it. All its jobs are of one client,
// so that several histories may be played on one store.
type history struct {
	*suite
	rng    *rand.Rand
	memory *Memory
	queues []string
	client string
	known  []string // IDs, oldest first
	refs   []pair   // all there ever were
	did    string
}

// pair is a job as somebody holds it in the store and in the oracle.
type pair struct{ store, memory job.Ref }

var workers = []string{"w1", "w2", "w3"}

func (h *history) step() {
	ctx := h.Context()
	switch p := h.rng.IntN(100); {
	case p < 25:
		h.putOne()
	case p < 45:
		h.takeSome(pick(h.rng, workers), pick(h.rng, h.queues), 1+h.rng.IntN(3))
	case p < 60 && len(h.refs) > 0:
		r := h.ref()
		h.note("start %s", r.store.ID)
		h.same("Start", h.Start(ctx, r.store), h.memory.Start(ctx, r.memory))
	case p < 80 && len(h.refs) > 0:
		h.endOne(h.ref())
	case p < 83:
		w := pick(h.rng, workers)
		h.note("%s leaves", w)
		h.must(errors.Join(h.Leave(ctx, w), h.memory.Leave(ctx, w)), "Leave")
	case p < 87 && len(h.known) > 0:
		id := pick(h.rng, h.known)
		h.note("cancel %s", id)
		n := h.following(id)
		then := func(job.Job) *job.New { return n }
		got, err := h.Cancel(ctx, id, "enough", then)
		want, wantErr := h.memory.Cancel(ctx, id, "enough", then)
		h.sameJob("Cancel", got, err, want, wantErr)
		if err == nil && n != nil {
			h.known = append(h.known, n.Job.ID)
		}
	case p < 91 && len(h.known) > 0:
		id := pick(h.rng, h.known)
		h.note("retry %s", id)
		got, err := h.Retry(ctx, id)
		want, wantErr := h.memory.Retry(ctx, id)
		h.sameJob("Retry", got, err, want, wantErr)
	case p < 92:
		f := job.Filter{States: []job.State{pick(h.rng, job.States)}, Client: &h.client}
		h.note("purge %s", f.States)
		got, err := h.Purge(ctx, f)
		want, _ := h.memory.Purge(ctx, f)
		if err != nil || got != want {
			h.Errorf("%s: Purge = %d, %v; want %d", h.did, got, err, want)
		}
	case p < 98: // who does not keep its lease loses it
		var kept []string
		for _, w := range workers {
			if h.rng.IntN(4) > 0 {
				h.must(h.memory.Keep(ctx, w), "Keep")
				kept = append(kept, w)
			}
		}
		h.note("2 s, kept by %s", kept)
		h.pass(2*time.Second, kept...)
		h.memory.Sweep(ctx)
	default:
		h.note("20 s")
		h.Advance(20 * time.Second)
		h.sweep()
		h.memory.Sweep(ctx)
	}
	h.compare()
}

func (h *history) note(format string, args ...any) { h.did += ": " + fmt.Sprintf(format, args...) }

func pick[T any](rng *rand.Rand, all []T) T { return all[rng.IntN(len(all))] }

// ref returns one that is held, or now and then one that was.
func (h *history) ref() pair {
	if h.rng.IntN(8) == 0 {
		return pick(h.rng, h.refs)
	}
	return h.refs[max(0, len(h.refs)-1-h.rng.IntN(6))]
}

// delay returns an odd number of seconds, while time passes by even ones.
func (h *history) delay() time.Duration {
	if h.rng.IntN(2) == 0 {
		return 0
	}
	return time.Duration(1+2*h.rng.IntN(20)) * time.Second
}

func (h *history) putOne() {
	n := h.fresh(pick(h.rng, h.queues))
	n.Job.Client, n.Job.Priority, n.Delay = h.client, h.rng.IntN(3), h.delay()
	if h.rng.IntN(3) == 0 {
		n.Job.Key, n.Job.Fingerprint = fmt.Sprint("key", h.rng.IntN(8)), fmt.Sprint("f", h.rng.IntN(2))
	}
	h.note("put %s in %s", n.Job.ID, n.Job.Queue)
	got, existed, err := h.Put(h.Context(), n)
	want, wantExisted, wantErr := h.memory.Put(h.Context(), n)
	h.sameJob("Put", got, err, want, wantErr)
	if err == nil && existed != wantExisted {
		h.Errorf("%s: existed = %v, want %v", h.did, existed, wantExisted)
	}
	if err == nil && !existed {
		h.known = append(h.known, n.Job.ID)
	}
}

// takeSome takes jobs, and has the oracle take the same ones if they are right:
// as many as there are, none that is less urgent than one left behind, and the
// oldest first of those that nobody has taken yet.
func (h *history) takeSome(worker, queue string, n int) int {
	h.note("%s takes %d of %s", worker, n, queue)
	taken, err := h.Take(h.Context(), worker, queue, n)
	h.must(err, "Take")
	h.must(h.Keep(h.Context(), worker), "Keep")

	m := h.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.leases[worker] = m.now().Add(job.LeaseFor)
	ripe := m.ripeLocked(queue)
	var priorities, fresh []int // of what is ripe, by rank
	if len(taken) != min(n, len(ripe)) {
		h.Errorf("%s: %d taken, want %d of %d", h.did, len(taken), n, len(ripe))
		return len(taken)
	}
	for _, x := range taken {
		i := slices.IndexFunc(ripe, func(e *entry) bool { return e.job.ID == x.ID })
		if i < 0 {
			h.Errorf("%s: taken %s, which may not be", h.did, x.ID)
			return len(taken)
		}
		e := ripe[i]
		if got, want := plain(x.Job), plain(e.job); got != want || !sameRequest(x.Request, e.request) {
			h.Errorf("%s: taken %s\nwant %s", h.did, got, want)
		}
		priorities = append(priorities, e.job.Priority)
		if e.fence == 0 {
			fresh = append(fresh, i)
		}
		held := m.holdLocked(worker, e)
		h.refs = append(h.refs, pair{x.Ref, held.Ref})
	}
	for i, p := range priorities {
		if p != ripe[i].job.Priority {
			h.Errorf("%s: priorities %v taken, want the most urgent of %d first", h.did, priorities, len(ripe))
		}
	}
	if !slices.IsSorted(fresh) {
		h.Errorf("%s: ranks %v taken, want the oldest first", h.did, fresh)
	}
	return len(taken)
}

func (h *history) endOne(r pair) {
	e := job.End{
		Ref: r.store, State: pick(h.rng, []job.State{job.Done, job.Failed, job.Waiting, job.Cancelled}), Reason: fmt.Sprint("because ", h.rng.IntN(9)),
		Attempts: make([]job.Attempt, h.rng.IntN(3)), Tried: h.rng.IntN(3),
	}
	for i := range e.Attempts {
		e.Attempts[i] = job.Attempt{At: T0.Add(time.Duration(h.rng.IntN(1e6)) * time.Millisecond), Status: 200 + h.rng.IntN(300), Reading: "overloaded", DelayMS: h.rng.Int64N(9999)}
	}
	if e.State == job.Waiting {
		e.Delay = h.delay()
	} else {
		e.Keep = h.delay()
		if h.rng.IntN(2) == 0 {
			e.Response = &job.Response{Status: 200 + h.rng.IntN(300), Body: []byte(h.did)}
		}
		e.Then = h.following(r.store.ID)
	}
	if h.rng.IntN(4) == 0 {
		e.Location = fmt.Sprint("/results/", h.rng.IntN(99))
	}
	h.note("end %s as %s", r.store.ID, e.State)
	err := h.End(h.Context(), e)
	e.Ref = r.memory
	h.same("End", err, h.memory.End(h.Context(), e))
	if err == nil && e.Then != nil {
		h.known = append(h.known, e.Then.Job.ID)
	}
}

// following returns a job that tells of another, or more often nil.
func (h *history) following(parent string) *job.New {
	if h.rng.IntN(4) > 0 {
		return nil
	}
	n := h.fresh(pick(h.rng, h.queues))
	n.Job.Client, n.Job.Kind, n.Job.Parent = h.client, job.Callback, parent
	return &n
}

// compare wants some of the jobs, what is listed and what the queues say to be
// alike.
func (h *history) compare() {
	ctx := h.Context()
	for _, id := range h.some(h.known, 2) {
		got, err := h.Get(ctx, id)
		want, wantErr := h.memory.Get(ctx, id)
		h.sameJob("Get", got, err, want, wantErr)
	}
	if len(h.known) > 0 {
		id := pick(h.rng, h.known)
		got, err := h.Response(ctx, id)
		want, wantErr := h.memory.Response(ctx, id)
		h.same("Response", err, wantErr)
		if got.Status != want.Status || string(got.Body) != string(want.Body) {
			h.Errorf("%s: Response = %d %q, want %d %q", h.did, got.Status, got.Body, want.Status, want.Body)
		}
	}
	if h.rng.IntN(8) == 0 {
		h.compareList()
	}
	queues, err := h.Queues(ctx)
	h.must(err, "Queues")
	for _, want := range h.wantQueues() {
		got := named(queues, want.Name)
		if (got.Ripe > 0) != (want.Ripe > 0) || got.Next > want.Next || got.Next < want.Next-500*time.Millisecond {
			h.Errorf("%s: queue = %+v, want %+v", h.did, got, want)
		}
	}
}

// some returns the last three of all, and some others.
func (h *history) some(all []string, others int) []string {
	last := max(0, len(all)-3)
	some := slices.Clone(all[last:])
	for range min(others, last) {
		some = append(some, pick(h.rng, all[:last]))
	}
	return some
}

func (h *history) compareList() {
	ctx := h.Context()
	f := job.Filter{Kind: pick(h.rng, []job.Kind{job.Call, job.Callback}), Client: &h.client, States: []job.State{pick(h.rng, job.States), pick(h.rng, job.States)}, Limit: 3 + h.rng.IntN(20)}
	wanted := f
	wanted.Limit = 1000
	want, _ := h.memory.List(ctx, wanted)
	if got, want := h.list(f), ids(want.Jobs); !slices.Equal(got, want) {
		h.Errorf("%s: List(%+v) = %v\nwant %v", h.did, f, got, want)
	}
}

// wantQueues returns how the queues stand; those that hold nothing too.
func (h *history) wantQueues() []job.QueueStatus {
	all, _ := h.memory.Queues(h.Context())
	for _, name := range h.queues {
		if !slices.ContainsFunc(all, func(q job.QueueStatus) bool { return q.Name == name }) {
			all = append(all, job.QueueStatus{Name: name})
		}
	}
	return all
}

// drain has all leases lapse and all delays pass, and wants that every job has
// either ended or may be taken: none is stuck.
func (h *history) drain() {
	h.did += ": drain"
	h.Advance(2 * time.Minute)
	h.sweep()
	h.memory.Sweep(h.Context())
	for _, queue := range h.queues {
		for h.takeSome("last", queue, 50) > 0 && !h.Failed() {
			for _, r := range h.refs[max(0, len(h.refs)-50):] {
				e := job.End{Ref: r.store, State: job.Done}
				err := h.End(h.Context(), e)
				e.Ref = r.memory
				h.same("End", err, h.memory.End(h.Context(), e))
			}
		}
	}
	h.compare()
	for _, id := range h.known {
		got, err := h.Get(h.Context(), id)
		want, wantErr := h.memory.Get(h.Context(), id)
		h.sameJob("Get", got, err, want, wantErr)
		if err == nil && !got.State.Ended() {
			h.Errorf("%s: %s is stuck", h.did, plain(got))
		}
	}
	h.Advance(2 * job.Retention)
	h.sweep()
	if got := append(h.list(job.Filter{Client: &h.client}), h.list(job.Filter{Kind: job.Callback, Client: &h.client})...); len(got) > 0 {
		h.Errorf("%s: %d jobs are left after all have expired: %v", h.did, len(got), got)
	}
}

func (h *history) sameJob(what string, got job.Job, err error, want job.Job, wantErr error) {
	h.Helper()
	h.same(what, err, wantErr)
	if err == nil && plain(got) != plain(want) {
		h.Errorf("%s: %s = %s\nwant %s", h.did, what, plain(got), plain(want))
	}
}

// kinds are the errors that tell something.
var kinds = []error{job.ErrNotFound, job.ErrFenced, job.ErrOtherCall, job.ErrEnded, job.ErrNotEnded, job.ErrNoResponse}

func (h *history) same(what string, got, want error) {
	h.Helper()
	kind := func(err error) error {
		for _, k := range kinds {
			if errors.Is(err, k) {
				return k
			}
		}
		return err
	}
	if cmp.Compare(fmt.Sprint(kind(got)), fmt.Sprint(kind(want))) != 0 {
		h.Errorf("%s: %s = %v, want %v", h.did, what, got, want)
	}
}
