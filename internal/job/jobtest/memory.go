package jobtest

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/headgate/headgate/internal/job"
)

// Memory is a job.Store that is too simple to be wrong: a map, and a mutex
// around each step. It looks at every job for each answer, forgets all when its
// process ends, and tells notices with its mutex held: who hears one must not ask
// the store.
type Memory struct {
	now func() time.Time

	mu struct {
		sync.Mutex
		entries map[string]*entry
		leases  map[string]time.Time // when they end, by worker
		fences  int64
		hearers map[*func(job.Notice)]bool
	}
}

// entry is a job and what belongs to it.
type entry struct {
	job      job.Job
	request  job.Request
	response *job.Response
	worker   string // who holds it, "" for nobody
	fence    int64
}

// NewMemory returns an empty store to which now is what the time is.
func NewMemory(now func() time.Time) *Memory {
	m := &Memory{now: now}
	m.mu.entries = make(map[string]*entry)
	m.mu.leases = make(map[string]time.Time)
	m.mu.hearers = make(map[*func(job.Notice)]bool)
	return m
}

// Put is as in job.Store.
func (m *Memory) Put(_ context.Context, n job.New) (job.Job, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n.Job.Key != "" {
		for _, e := range m.mu.entries {
			if e.job.Client != n.Job.Client || e.job.Key != n.Job.Key {
				continue
			}
			if e.job.Fingerprint != n.Job.Fingerprint {
				return job.Job{}, true, job.ErrOtherCall
			}
			return e.job, true, nil
		}
	}
	return m.putLocked(n).job, false, nil
}

func (m *Memory) putLocked(n job.New) *entry {
	e := &entry{job: job.Stored(n, m.now()), request: n.Request}
	m.mu.entries[e.job.ID] = e
	m.tellLocked(e)
	return e
}

// Get is as in job.Store.
func (m *Memory) Get(_ context.Context, id string) (job.Job, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.mu.entries[id]
	if e == nil {
		return job.Job{}, job.ErrNotFound
	}
	return e.job, nil
}

// Response is as in job.Store.
func (m *Memory) Response(_ context.Context, id string) (job.Response, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.mu.entries[id]
	switch {
	case e == nil:
		return job.Response{}, job.ErrNotFound
	case !e.job.State.Ended():
		return job.Response{}, job.ErrNotEnded
	case e.response == nil:
		return job.Response{}, job.ErrNoResponse
	}
	return *e.response, nil
}

// List is as in job.Store.
func (m *Memory) List(_ context.Context, f job.Filter) (job.Page, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	found := m.matchLocked(f)
	var p job.Page
	for _, e := range found[:min(len(found), limitOf(f))] {
		p.Jobs = append(p.Jobs, e.job)
	}
	if len(p.Jobs) < len(found) {
		p.Next = p.Jobs[len(p.Jobs)-1].ID
	}
	return p, nil
}

func limitOf(f job.Filter) int {
	if f.Limit <= 0 {
		return 100
	}
	return min(f.Limit, 1000)
}

// matchLocked returns what f means, latest first.
func (m *Memory) matchLocked(f job.Filter) []*entry {
	found := slices.Collect(maps.Values(m.mu.entries))
	found = slices.DeleteFunc(found, func(e *entry) bool {
		j := e.job
		return j.Kind != cmp.Or(f.Kind, job.Call) ||
			len(f.States) > 0 && !slices.Contains(f.States, j.State) ||
			f.Upstream != "" && j.Upstream != f.Upstream ||
			f.Client != nil && j.Client != *f.Client ||
			f.After != "" && j.ID >= f.After ||
			!f.EndedBefore.IsZero() && (j.EndedAt == nil || !j.EndedAt.Before(f.EndedBefore)) ||
			!strings.Contains(j.ID, f.Text) && !strings.Contains(j.Path, f.Text) && !strings.Contains(j.Reason, f.Text)
	})
	slices.SortFunc(found, func(a, b *entry) int { return -cmp.Compare(a.job.ID, b.job.ID) })
	return found
}

// Counts is as in job.Store.
func (m *Memory) Counts(context.Context) (map[job.State]int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	counts := make(map[job.State]int64)
	for _, e := range m.mu.entries {
		if e.job.Kind == job.Call {
			counts[e.job.State]++
		}
	}
	return counts, nil
}

// Cancel is as in job.Store.
func (m *Memory) Cancel(_ context.Context, id, reason string, then func(job.Job) *job.New) (job.Job, error) {
	return m.step(id, func(e *entry) error {
		if err := e.job.Cancel(reason, 0, m.now()); err != nil || then == nil {
			return err
		}
		if n := then(e.job); n != nil {
			m.putLocked(*n)
		}
		return nil
	})
}

// Retry is as in job.Store.
func (m *Memory) Retry(_ context.Context, id string) (job.Job, error) {
	return m.step(id, func(e *entry) error {
		err := e.job.Retry(m.now())
		if err == nil {
			e.response = nil
		}
		return err
	})
}

// step takes a job out of whoever's hands and changes it.
func (m *Memory) step(id string, do func(*entry) error) (job.Job, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.mu.entries[id]
	if e == nil {
		return job.Job{}, job.ErrNotFound
	}
	if err := do(e); err != nil {
		return job.Job{}, err
	}
	e.worker = ""
	m.tellLocked(e)
	return e.job, nil
}

// Purge is as in job.Store.
func (m *Memory) Purge(_ context.Context, f job.Filter) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for _, e := range m.matchLocked(f) {
		if n < limitOf(f) && e.job.State.Ended() {
			delete(m.mu.entries, e.job.ID)
			n++
		}
	}
	return n, nil
}

// Queues is as in job.Store.
func (m *Memory) Queues(context.Context) ([]job.QueueStatus, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	byName := make(map[string]*job.QueueStatus)
	for _, e := range m.mu.entries {
		if e.job.State != job.Waiting || e.worker != "" {
			continue
		}
		q := byName[e.job.Queue]
		if q == nil {
			q = &job.QueueStatus{Name: e.job.Queue, Kind: e.job.Kind, Upstream: e.job.Upstream}
			byName[q.Name] = q
		}
		if wait := m.wait(e); wait <= 0 {
			if q.Ripe++; q.Ripe == 1 || e.job.Priority < q.Priority {
				q.Priority = e.job.Priority
			}
		} else if q.Next == 0 || wait < q.Next {
			q.Next = wait
		}
	}
	var all []job.QueueStatus
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		q := *byName[name]
		if q.Ripe > 0 {
			q.Next = 0
		}
		all = append(all, q)
	}
	return all, nil
}

func (m *Memory) wait(e *entry) time.Duration {
	if e.job.NotBefore == nil {
		return 0
	}
	return e.job.NotBefore.Sub(m.now())
}

// Take is as in job.Store.
func (m *Memory) Take(_ context.Context, worker, queue string, n int) ([]job.Taken, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var taken []job.Taken
	for _, e := range m.ripeLocked(queue) {
		if len(taken) < n {
			taken = append(taken, m.holdLocked(worker, e))
		}
	}
	return taken, nil
}

// ripeLocked returns what may be taken from a queue, the most urgent and then
// the oldest first.
func (m *Memory) ripeLocked(queue string) []*entry {
	var ripe []*entry
	for _, e := range m.mu.entries {
		if e.job.Queue == queue && e.job.State == job.Waiting && e.worker == "" && m.wait(e) <= 0 {
			ripe = append(ripe, e)
		}
	}
	slices.SortFunc(ripe, func(a, b *entry) int {
		return cmp.Or(cmp.Compare(a.job.Priority, b.job.Priority), cmp.Compare(a.job.ID, b.job.ID))
	})
	return ripe
}

func (m *Memory) holdLocked(worker string, e *entry) job.Taken {
	m.mu.leases[worker] = m.now().Add(job.LeaseFor)
	m.mu.fences++
	e.worker, e.fence = worker, m.mu.fences
	return job.Taken{Ref: job.Ref{ID: e.job.ID, Fence: e.fence}, Job: e.job, Request: e.request}
}

// heldLocked returns what r names, or nil if it does not hold any more.
func (m *Memory) heldLocked(r job.Ref) *entry {
	e := m.mu.entries[r.ID]
	if e == nil || e.worker == "" || e.fence != r.Fence {
		return nil
	}
	return e
}

// Start is as in job.Store.
func (m *Memory) Start(_ context.Context, r job.Ref) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.heldLocked(r)
	if e == nil {
		return job.ErrFenced
	}
	err := e.job.Start(m.now())
	if err == nil {
		m.tellLocked(e)
	}
	return err
}

// End is as in job.Store.
func (m *Memory) End(_ context.Context, end job.End) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.heldLocked(end.Ref)
	if e == nil {
		return job.ErrFenced
	}
	if err := e.job.End(end, m.now()); err != nil {
		return err
	}
	e.worker = ""
	if e.job.State.Ended() {
		e.response = end.Response
	}
	m.tellLocked(e)
	if end.Then != nil {
		m.putLocked(*end.Then)
	}
	return nil
}

// Keep is as in job.Store.
func (m *Memory) Keep(_ context.Context, worker string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.leases[worker] = m.now().Add(job.LeaseFor)
	return nil
}

// Leave is as in job.Store.
func (m *Memory) Leave(_ context.Context, worker string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.takeBackLocked(worker, (*job.Job).Leave)
	return nil
}

func (m *Memory) takeBackLocked(worker string, step func(*job.Job)) {
	delete(m.mu.leases, worker)
	for _, e := range m.mu.entries {
		if e.worker == worker {
			step(&e.job)
			e.worker = ""
			m.tellLocked(e)
		}
	}
}

// Sweep is as in job.Store.
func (m *Memory) Sweep(context.Context) (time.Duration, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	for worker, ends := range m.mu.leases {
		if !ends.After(now) {
			m.takeBackLocked(worker, (*job.Job).Lose)
		}
	}
	for id, e := range m.mu.entries {
		if e.job.ExpiresAt != nil && !e.job.ExpiresAt.After(now) {
			delete(m.mu.entries, id)
		}
	}
	return time.Second, nil
}

// Run is as in job.Store.
func (m *Memory) Run(ctx context.Context, hear func(job.Notice)) error {
	m.mu.Lock()
	m.mu.hearers[&hear] = true
	m.mu.Unlock()
	<-ctx.Done()
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.mu.hearers, &hear)
	return context.Cause(ctx)
}

// Close is as in job.Store.
func (m *Memory) Close() error { return nil }

func (m *Memory) tellLocked(e *entry) {
	for hear := range m.mu.hearers {
		(*hear)(job.Notice{ID: e.job.ID, Queue: e.job.Queue, Upstream: e.job.Upstream, State: e.job.State})
	}
}
