package sqlitestore

import (
	"context"
	"io"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/headgate/headgate/internal/job"
)

// ripens and expires are how many jobs one Take makes ripe and one Sweep deletes,
// so that neither holds up the others for long.
const (
	ripens  = 1000
	expires = 500
)

// The two places in which a queue may be found, and that one will do.
const (
	waitingQueue = `SELECT queue FROM jobs WHERE state = 'waiting' AND `
	delayedQueue = `SELECT queue FROM jobs WHERE state = 'delayed' AND `
	one          = ` ORDER BY queue LIMIT 1`
)

// Who is next in a queue: of what waits for nothing but its turn, and of what
// waits for a moment.
const (
	ripeJobs    = `SELECT id, kind, upstream, priority FROM jobs WHERE state = 'waiting' AND queue = ? ORDER BY priority, seq`
	takeJobs    = `SELECT ` + columns + ` FROM jobs WHERE state = 'waiting' AND queue = ? ORDER BY priority, seq`
	delayedJobs = `SELECT not_before, kind, upstream, priority FROM jobs WHERE state = 'delayed' AND queue = ? ORDER BY not_before LIMIT 1`
	ripenJobs   = `UPDATE jobs SET state = 'waiting' WHERE seq IN
		(SELECT seq FROM jobs WHERE state = 'delayed' AND queue = ? AND not_before <= ? ORDER BY not_before LIMIT ?)`
)

const (
	runningJobs = `SELECT ` + columns + ` FROM jobs WHERE kind IN ('call', 'callback') AND state = 'running' AND state <> 'waiting'`
	expiredJobs = `SELECT ` + columns + ` FROM jobs WHERE expires <= ? ORDER BY expires LIMIT ?`
)

// Queues is as in job.Store. Ripe is 1 for any number.
func (s *Store) Queues(ctx context.Context) ([]job.QueueStatus, error) {
	now := s.now()
	var all []job.QueueStatus
	err := s.read(ctx, func(conn *sqlite.Conn) error {
		for name, first := "", true; ; first = false {
			next, err := nextQueue(conn, name, first)
			if err == io.EOF {
				return nil
			} else if err != nil {
				return err
			}
			name = next
			q, err := s.status(conn, name, now)
			if err != nil {
				return err
			}
			if q.Ripe > 0 || q.Next > 0 {
				all = append(all, q)
			}
		}
	})
	return all, err
}

// nextQueue returns the queue after one, in the order of names; or after none,
// the first. The error is io.EOF if there is none.
func nextQueue(conn *sqlite.Conn, after string, first bool) (name string, err error) {
	condition := `queue > ?`
	if first {
		condition = `queue >= ?`
	}
	found := false
	for _, index := range []string{waitingQueue, delayedQueue} {
		err := each(conn, index+condition+one, func(stmt *sqlite.Stmt) error {
			if next := stmt.ColumnText(0); !found || next < name {
				name, found = next, true
			}
			return nil
		}, after)
		if err != nil {
			return "", err
		}
	}
	if !found {
		return "", io.EOF
	}
	return name, nil
}

func (s *Store) status(conn *sqlite.Conn, name string, now time.Time) (job.QueueStatus, error) {
	q := job.QueueStatus{Name: name}
	err := each(conn, ripeJobs, func(stmt *sqlite.Stmt) error {
		if s.isHeld(stmt.ColumnText(0)) {
			return nil
		}
		q.Ripe, q.Kind, q.Upstream, q.Priority = 1, job.Kind(stmt.ColumnText(1)), stmt.ColumnText(2), stmt.ColumnInt(3)
		return io.EOF
	}, name)
	if err != nil || q.Ripe > 0 {
		return q, err
	}
	err = each(conn, delayedJobs, func(stmt *sqlite.Stmt) error {
		q.Kind, q.Upstream = job.Kind(stmt.ColumnText(1)), stmt.ColumnText(2)
		q.Next = time.UnixMilli(stmt.ColumnInt64(0)).Sub(now)
		if q.Next <= 0 {
			q.Ripe, q.Next, q.Priority = 1, 0, stmt.ColumnInt(3)
		}
		return nil
	}, name)
	return q, err
}

func (s *Store) isHeld(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.held[id] != nil
}

// Take is as in job.Store. Of more than a thousand jobs whose delays have ended
// since the queue was last taken from, the first thousand are considered.
func (s *Store) Take(ctx context.Context, worker, queue string, n int) ([]job.Taken, error) {
	var taken []job.Taken
	err := s.ask(ctx, false, 0, func(w *writer) error {
		taken = nil
		if n <= 0 {
			return nil
		}
		if err := w.ripen(queue); err != nil {
			return err
		}
		var rows []row
		err := each(w.store.conn, takeJobs, func(stmt *sqlite.Stmt) error {
			if s.isHeld(stmt.ColumnText(1)) {
				return nil
			}
			r, err := scan(stmt)
			if err != nil {
				return err
			}
			rows = append(rows, r)
			if len(rows) == n {
				return io.EOF
			}
			return nil
		}, queue)
		if err != nil {
			return err
		}
		for _, r := range rows {
			request := job.Request{Method: r.job.Method, Path: r.job.Path}
			err := each(w.store.conn, `SELECT header, body FROM requests WHERE seq = ?`, func(stmt *sqlite.Stmt) error {
				c := cursor{stmt: stmt}
				request.Header, request.Body = decodeHeader(c.text()), c.bytes()
				return nil
			}, r.seq)
			if err != nil {
				return err
			}
			taken = append(taken, job.Taken{Ref: w.hold(worker, r), Job: r.job, Request: request})
		}
		return nil
	})
	return taken, err
}

// ripen has jobs of a queue wait for nothing but their turn whose moment has
// come.
func (w *writer) ripen(queue string) error {
	ripe := false
	err := each(w.store.conn, delayedJobs, func(stmt *sqlite.Stmt) error {
		ripe = stmt.ColumnInt64(0) <= w.now.UnixMilli()
		return nil
	}, queue)
	if err != nil || !ripe {
		return err
	}
	return w.exec(ripenJobs, queue, w.now, ripens)
}

// hold has a worker hold a job, and its lease begin anew.
func (w *writer) hold(worker string, r row) job.Ref {
	mu := &w.store.mu
	mu.Lock()
	defer mu.Unlock()
	mu.fences++
	mu.held[r.job.ID] = &hold{worker: worker, fence: mu.fences, row: r}
	mu.leases[worker] = w.now.Add(job.LeaseFor)
	w.undo = append(w.undo, func() { delete(mu.held, r.job.ID) })
	return job.Ref{ID: r.job.ID, Fence: mu.fences}
}

// release takes a job out of its holder's hands, if it has one.
func (w *writer) release(id string) {
	mu := &w.store.mu
	mu.Lock()
	defer mu.Unlock()
	if h := mu.held[id]; h != nil {
		delete(mu.held, id)
		w.undo = append(w.undo, func() { mu.held[id] = h })
	}
}

// heldBy returns what r holds, nil if it does not any more.
func (w *writer) heldBy(r job.Ref) *hold {
	mu := &w.store.mu
	mu.Lock()
	defer mu.Unlock()
	h := mu.held[r.ID]
	if h == nil || h.fence != r.Fence {
		return nil
	}
	return h
}

// Start is as in job.Store.
func (s *Store) Start(ctx context.Context, r job.Ref) error {
	return s.ask(ctx, false, 0, func(w *writer) error {
		h := w.heldBy(r)
		if h == nil {
			return job.ErrFenced
		}
		before := h.row
		if err := h.row.job.Start(w.now); err != nil {
			return err
		}
		w.undo = append(w.undo, func() { h.row = before })
		return w.update(&h.row, before.job.State)
	})
}

// End is as in job.Store.
func (s *Store) End(ctx context.Context, e job.End) error {
	size := 0
	header := ""
	if e.Response != nil {
		header = encodeHeader(e.Response.Header)
		size += len(e.Response.Body)
	}
	if e.Then != nil {
		size += len(e.Then.Request.Body)
	}
	return s.ask(ctx, true, size, func(w *writer) error {
		h := w.heldBy(e.Ref)
		if h == nil {
			return job.ErrFenced
		}
		r := h.row
		if err := r.job.End(e, w.now); err != nil {
			return err
		}
		if err := w.update(&r, h.row.job.State); err != nil {
			return err
		}
		w.release(e.ID)
		if e.Response != nil && r.job.State.Ended() {
			err := w.exec(`INSERT INTO responses (seq, status, header, body) VALUES (?, ?, ?, ?)`, r.seq, e.Response.Status, header, e.Response.Body)
			if err != nil {
				return err
			}
		}
		return w.follow(e.Then)
	})
}

// Keep is as in job.Store.
func (s *Store) Keep(_ context.Context, worker string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.leases[worker] = s.now().Add(job.LeaseFor)
	return nil
}

// Leave is as in job.Store.
func (s *Store) Leave(ctx context.Context, worker string) error {
	return s.ask(ctx, false, 0, func(w *writer) error { return w.takeBack(worker, (*job.Job).Leave) })
}

// takeBack takes from a worker what it holds.
func (w *writer) takeBack(worker string, do func(*job.Job)) error {
	mu := &w.store.mu
	var held []*hold
	mu.Lock()
	for _, h := range mu.held {
		if h.worker == worker {
			held = append(held, h)
		}
	}
	lease, had := mu.leases[worker]
	delete(mu.leases, worker)
	if had {
		w.undo = append(w.undo, func() { mu.leases[worker] = lease })
	}
	mu.Unlock()
	for _, h := range held {
		r := h.row
		do(&r.job)
		w.release(r.job.ID)
		if r.job.State == job.Waiting && h.row.job.State == job.Waiting {
			w.tell(&r.job) // as it was, but free
			continue
		}
		if err := w.update(&r, h.row.job.State); err != nil {
			return err
		}
	}
	return nil
}

// loseRunning has all jobs be lost that run according to the file: when it is
// opened nobody runs them.
func (w *writer) loseRunning() error {
	var running []row
	err := each(w.store.conn, runningJobs, func(stmt *sqlite.Stmt) error {
		r, err := scan(stmt)
		running = append(running, r)
		return err
	})
	for i := range running {
		if err != nil {
			break
		}
		r := &running[i]
		r.job.Lose()
		err = w.update(r, job.Running)
	}
	return err
}

// Sweep is as in job.Store.
func (s *Store) Sweep(ctx context.Context) (time.Duration, error) {
	next := job.LeaseFor
	err := s.ask(ctx, false, 0, func(w *writer) error {
		next = job.LeaseFor
		for _, worker := range w.lapsed(&next) {
			if err := w.takeBack(worker, (*job.Job).Lose); err != nil {
				return err
			}
		}
		deleted, err := w.expire()
		if deleted == expires {
			next = 0
		}
		return err
	})
	return next, err
}

// lapsed returns the workers whose lease has ended, and lowers next to when the
// next one does.
func (w *writer) lapsed(next *time.Duration) []string {
	mu := &w.store.mu
	mu.Lock()
	defer mu.Unlock()
	var workers []string
	for worker, ends := range mu.leases {
		if left := ends.Sub(w.now); left > 0 {
			*next = min(*next, left)
		} else {
			workers = append(workers, worker)
		}
	}
	return workers
}

// expire deletes some of what is not to be kept any longer.
func (w *writer) expire() (n int, err error) {
	var gone []row
	err = each(w.store.conn, expiredJobs, func(stmt *sqlite.Stmt) error {
		r, err := scan(stmt)
		gone = append(gone, r)
		return err
	}, w.now, expires)
	if err != nil {
		return 0, err
	}
	for _, r := range gone {
		if err := w.remove(r.seq); err != nil {
			return 0, err
		}
		w.counted(&r.job, -1)
	}
	return len(gone), nil
}
