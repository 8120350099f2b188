package sqlitestore

import (
	"context"
	"io"
	"slices"

	"zombiezen.com/go/sqlite"

	"github.com/headgate/headgate/internal/job"
)

const (
	jobOfID  = `SELECT ` + columns + ` FROM jobs WHERE id = ?`
	jobOfKey = `SELECT ` + columns + ` FROM jobs WHERE client = ? AND key = ? AND key <> ''`
)

// Put is as in job.Store.
func (s *Store) Put(ctx context.Context, n job.New) (j job.Job, existed bool, err error) {
	header := encodeHeader(n.Request.Header)
	err = s.ask(ctx, true, len(header)+len(n.Request.Body), func(w *writer) error {
		j, existed = job.Job{}, false
		if n.Job.Key != "" {
			err := each(w.store.conn, jobOfKey, func(stmt *sqlite.Stmt) error {
				r, err := scan(stmt)
				j, existed = r.job, true
				return err
			}, n.Job.Client, n.Job.Key)
			if err != nil {
				return err
			}
			if existed && j.Fingerprint != n.Job.Fingerprint {
				return job.ErrOtherCall
			}
			if existed {
				return nil
			}
		}
		j = job.Stored(n, w.now)
		return w.insert(j, header, n.Request.Body)
	})
	if err != nil {
		return job.Job{}, existed, err
	}
	return j, existed, nil
}

// Get is as in job.Store.
func (s *Store) Get(ctx context.Context, id string) (job.Job, error) {
	var found *row
	err := s.read(ctx, func(conn *sqlite.Conn) (err error) {
		found, err = find(conn, id)
		return err
	})
	switch {
	case err != nil:
		return job.Job{}, err
	case found == nil:
		return job.Job{}, job.ErrNotFound
	}
	return found.job, nil
}

// Response is as in job.Store.
func (s *Store) Response(ctx context.Context, id string) (job.Response, error) {
	answer := job.ErrNotFound
	var response job.Response
	err := s.read(ctx, func(conn *sqlite.Conn) error {
		return each(conn, `SELECT j.state, r.status, r.header, r.body FROM jobs j LEFT JOIN responses r USING (seq) WHERE j.id = ?`, func(stmt *sqlite.Stmt) error {
			c := cursor{stmt: stmt}
			state := job.State(c.text())
			switch {
			case state == delayed || !state.Ended():
				answer = job.ErrNotEnded
			case stmt.ColumnIsNull(c.at):
				answer = job.ErrNoResponse
			default:
				answer = nil
				response = job.Response{Status: int(c.int64()), Header: decodeHeader(c.text()), Body: c.bytes()}
			}
			return nil
		}, id)
	})
	if err == nil {
		err = answer
	}
	return response, err
}

// Counts is as in job.Store.
func (s *Store) Counts(context.Context) (map[job.State]int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	counts := make(map[job.State]int64, len(job.States))
	for _, state := range job.States {
		counts[state] = s.mu.counts[state]
	}
	return counts, nil
}

// Cancel is as in job.Store.
func (s *Store) Cancel(ctx context.Context, id, reason string, then func(job.Job) *job.New) (job.Job, error) {
	return s.change(ctx, id, func(w *writer, j *job.Job) error {
		if err := j.Cancel(reason, s.retention, w.now); err != nil || then == nil {
			return err
		}
		return w.follow(then(*j))
	})
}

// Retry is as in job.Store.
func (s *Store) Retry(ctx context.Context, id string) (job.Job, error) {
	return s.change(ctx, id, func(w *writer, j *job.Job) error { return j.Retry(w.now) })
}

// change takes a job out of whoever's hands and has it make a step.
func (s *Store) change(ctx context.Context, id string, do func(*writer, *job.Job) error) (job.Job, error) {
	var changed job.Job
	err := s.ask(ctx, true, 0, func(w *writer) error {
		r, err := find(w.store.conn, id)
		if err != nil {
			return err
		}
		if r == nil {
			return job.ErrNotFound
		}
		was := r.job.State
		if err := do(w, &r.job); err != nil {
			return err
		}
		w.release(id)
		if err := w.exec(`DELETE FROM responses WHERE seq = ?`, r.seq); err != nil {
			return err
		}
		changed = r.job
		return w.update(r, was)
	})
	return changed, err
}

// Purge is as in job.Store.
func (s *Store) Purge(ctx context.Context, f job.Filter) (int, error) {
	if len(f.States) == 0 {
		f.States = job.States
	}
	f.States = slices.DeleteFunc(slices.Clone(f.States), func(state job.State) bool { return !state.Ended() })
	if len(f.States) == 0 {
		return 0, nil
	}
	counts, err := s.Counts(ctx)
	if err != nil {
		return 0, err
	}
	purged := 0
	err = s.ask(ctx, true, 0, func(w *writer) error {
		found, err := match(w.store.conn, f, limitOf(f), counts)
		if err != nil {
			return err
		}
		for _, r := range found {
			if err := w.remove(r.seq); err != nil {
				return err
			}
			w.counted(&r.job, -1)
		}
		purged = len(found)
		return nil
	})
	return purged, err
}

// read lends out a connection for reading. It waits for one as long as ctx lasts.
func (s *Store) read(ctx context.Context, do func(*sqlite.Conn) error) error {
	conn, err := s.pool.Take(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return errClosed
	}
	defer s.pool.Put(conn)
	if err := do(conn); err != nil && err != io.EOF {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return s.explain(err)
	}
	return nil
}
