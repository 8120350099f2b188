// Package sqlitestore keeps jobs in an SQLite file: a job.Store for one process,
// embedded, with nothing to run beside it.
//
// What Put, End, Cancel, Retry and Purge have returned nil for is committed, and
// synced to the disk: it outlives a killed process and a power cut. Take, Keep
// and Leave only change the memory of the process, with which a hold ends anyway;
// that a job has started is committed and not synced, so that after a power cut,
// not after a kill, a run may be missing among its losses.
//
// One goroutine writes. Whatever callers ask for while it commits goes into the
// next commit, so that many share one sync of the disk. Readers have connections
// of their own and wait for nobody.
//
// # Files
//
// Beside the file at PATH are PATH-wal and PATH-shm, which belong to it, and
// PATH-lock, which keeps a second process out. What is deleted leaves room in the
// file for what comes; the file does not shrink by itself. A copy is made by
// Backup, or by
//
//	sqlite3 PATH ".backup COPY"
//
// while the store is open. Copying the file alone, without the -wal, is no backup.
package sqlitestore

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/gofrs/flock"
	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/headgate/headgate/internal/job"
)

// Options are settings of a Store. Their zero value is sensible.
type Options struct {
	// Retention is how long jobs are kept that were cancelled; how long others
	// are says who ends them. 0 means job.Retention.
	Retention time.Duration

	// Now is what the time is; nil means time.Now. Moments are kept to the
	// millisecond.
	Now func() time.Time
}

// readers is how many can be answered at once. Their work is short.
const readers = 4

// Store is a job.Store in an SQLite file.
type Store struct {
	path      string
	retention time.Duration
	clock     func() time.Time
	lock      *flock.Flock
	conn      *sqlite.Conn // the writer's
	stmts     map[string]*sqlite.Stmt
	pool      *sqlitex.Pool
	files     map[string]os.FileInfo // what is written to, by path

	steps   chan *step
	closing chan struct{}  // closed when no more steps are taken
	writing sync.WaitGroup // the writer
	close   sync.Once
	closed  error

	mu struct {
		sync.Mutex
		held   map[string]*hold     // by ID
		leases map[string]time.Time // when they end, by worker
		fences int64
		counts map[job.State]int64 // of calls, as committed
	}

	hearing struct {
		sync.Mutex
		hearers map[*func(job.Notice)]bool
	}
}

// hold is a job that a worker has taken, and which nobody else changes but by
// taking it out of its hands.
type hold struct {
	worker string
	fence  int64
	row    row
}

// Open opens the file at path, and makes it if there is none. Jobs that the
// process before held when it ended wait again; for those that ran it counts as
// a loss. The error names the file and what would mend it.
func Open(path string, o Options) (*Store, error) {
	lock := flock.New(path + "-lock")
	switch ok, err := lock.TryLock(); {
	case err != nil:
		return nil, fmt.Errorf("jobs %s: %w: its directory must exist and be writable", path, err)
	case !ok:
		return nil, fmt.Errorf("jobs %s: another process has it open: stop that one, or give this one a file of its own; for jobs that several instances share use redis://", path)
	}
	s := &Store{
		path: path, retention: cmp.Or(o.Retention, job.Retention), clock: o.Now, lock: lock,
		stmts: make(map[string]*sqlite.Stmt), steps: make(chan *step, maxGroup), closing: make(chan struct{}),
	}
	if s.clock == nil {
		s.clock = time.Now
	}
	s.mu.held = make(map[string]*hold)
	s.mu.leases = make(map[string]time.Time)
	s.mu.counts = make(map[job.State]int64)
	s.hearing.hearers = make(map[*func(job.Notice)]bool)
	if err := s.openFile(); err != nil {
		_ = s.closeFile()
		return nil, fmt.Errorf("jobs %s: %w", path, s.explain(err))
	}
	s.writing.Go(s.write)
	return s, nil
}

// openFile opens the connections, sees that the file is one of ours, and takes
// back what was held.
func (s *Store) openFile() (err error) {
	// Callers' credentials are in it. What belongs to it gets its mode.
	f, err := os.OpenFile(s.path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("%w: it and its directory must be writable", err)
	}
	if err := f.Close(); err != nil {
		return err
	}
	if s.conn, err = openConn(s.path); err != nil {
		return err
	}
	if err := migrate(s.conn); err != nil {
		return err
	}
	if err := s.count(); err != nil {
		return err
	}
	s.pool, err = sqlitex.NewPool(uri(s.path), sqlitex.PoolOptions{
		Flags: sqlite.OpenReadWrite | sqlite.OpenURI, PoolSize: readers, PrepareConn: prepareReader,
	})
	if err != nil {
		return err
	}
	w := &writer{store: s, now: s.now()}
	if err := w.transaction(true, func() error { return w.loseRunning() }); err != nil {
		return err
	}
	s.files = make(map[string]os.FileInfo)
	for _, path := range []string{s.path, s.path + "-wal"} {
		if s.files[path], err = os.Stat(path); err != nil {
			return err
		}
	}
	return nil
}

// inPlace returns an error unless the files are still where they were: what is
// written to one that was deleted is gone with the process.
func (s *Store) inPlace() error {
	for path, was := range s.files {
		if is, err := os.Stat(path); err != nil || !os.SameFile(is, was) {
			return fmt.Errorf("%w: %s was deleted, moved or replaced while it was in use: put it back, or restart to begin with what is there", job.ErrUnavailable, path)
		}
	}
	return nil
}

// count counts calls by state.
func (s *Store) count() error {
	return sqlitex.Execute(s.conn, `SELECT iif(state = 'delayed', 'waiting', state), count(*) FROM jobs WHERE kind = 'call' GROUP BY 1`, &sqlitex.ExecOptions{
		ResultFunc: func(stmt *sqlite.Stmt) error {
			s.mu.counts[job.State(stmt.ColumnText(0))] = stmt.ColumnInt64(1)
			return nil
		},
	})
}

// now is the moment as it is kept.
func (s *Store) now() time.Time { return s.clock().UTC().Truncate(time.Millisecond) }

// Run is as in job.Store. hear is called by who writes, before the caller whose
// step it tells of is answered: it may ask for what is read, and must not have
// anything written.
func (s *Store) Run(ctx context.Context, hear func(job.Notice)) error {
	h := &s.hearing
	h.Lock()
	h.hearers[&hear] = true
	h.Unlock()
	<-ctx.Done()
	h.Lock()
	defer h.Unlock()
	delete(h.hearers, &hear)
	return context.Cause(ctx)
}

// Close waits for what is being written, and lets go of the file.
func (s *Store) Close() error {
	s.close.Do(func() {
		close(s.closing)
		s.writing.Wait()
		s.closed = s.closeFile()
	})
	return s.closed
}

// closeFile closes what is open.
func (s *Store) closeFile() error {
	var first error
	keep := func(err error) {
		if first == nil && err != nil {
			first = fmt.Errorf("close jobs %s: %w", s.path, err)
		}
	}
	if s.pool != nil {
		keep(s.pool.Close())
	}
	if s.conn != nil {
		keep(s.conn.Close())
	}
	keep(s.lock.Close())
	return first
}

// Backup writes a copy of the store, as it is at one moment, to a file that there
// must not be yet, and syncs it. The store goes on meanwhile; its -wal grows by
// what is written until the copy is done.
func (s *Store) Backup(ctx context.Context, path string) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("back up jobs to %s: %w", path, err)
		}
	}()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	conn, err := openConn(s.path)
	if err != nil {
		return s.explain(err)
	}
	defer conn.Close()
	conn.SetInterrupt(ctx.Done())
	err = sqlitex.ExecuteTransient(conn, `VACUUM INTO ?`, &sqlitex.ExecOptions{Args: []any{path}})
	switch {
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	case err == nil:
		err = f.Sync()
	}
	if err != nil {
		_ = os.Remove(path)
	}
	return err
}
