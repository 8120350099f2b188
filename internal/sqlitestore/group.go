package sqlitestore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/headgate/headgate/internal/job"
)

// Bounds of one group: steps, and bytes of what they bring.
const (
	maxGroup      = 1024
	maxGroupBytes = 8 << 20
)

// maxPatience is how long a group waits at most for those who were in the last.
const maxPatience = time.Millisecond

// step is what one caller asks the writer for.
type step struct {
	ctx    context.Context
	do     func(*writer) error // may be done again, if its group could not be committed
	synced bool                // it is to be on the disk before the caller hears of it
	size   int                 // bytes that it brings, about
	err    error
	done   chan struct{}
}

// errClosed is returned by a store that has been closed.
var errClosed = fmt.Errorf("%w: it was closed", job.ErrUnavailable)

// ask has the writer do a step, and waits until it is committed. A context that
// ends keeps a step from being done only as long as it has not begun: what
// becomes of it is known then.
func (s *Store) ask(ctx context.Context, synced bool, size int, do func(*writer) error) error {
	st := &step{ctx: ctx, do: do, synced: synced, size: size, done: make(chan struct{})}
	select {
	case s.steps <- st:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-s.closing:
		return errClosed
	}
	select {
	case <-st.done:
		return st.err
	case <-s.closing:
	}
	s.writing.Wait() // it ends what has begun
	select {
	case <-st.done:
		return st.err
	default:
		return errClosed
	}
}

// write commits groups of steps until the store closes: all that have come while
// the one before was being committed.
func (s *Store) write() {
	var last int           // steps of the group before
	var took time.Duration // to commit it
	for {
		var group []*step
		select {
		case <-s.closing:
			return
		case st := <-s.steps:
			group = s.gather(st, last, took/4)
		}
		began := time.Now()
		s.commit(group)
		last, took = len(group), time.Since(began)
	}
}

// gather returns a step and those that have come meanwhile. Who has just been
// answered may be about to ask again, and would have to wait for a whole commit:
// so it waits for as many as last time, if not for longer than a part of what that
// takes.
func (s *Store) gather(first *step, last int, patience time.Duration) []*step {
	group := append(make([]*step, 0, last), first)
	size := first.size
	var enough <-chan time.Time
	for len(group) < maxGroup && size < maxGroupBytes {
		select {
		case st := <-s.steps:
			group = append(group, st)
			size += st.size
			continue
		default:
		}
		if len(group) >= last {
			break
		}
		if enough == nil {
			timer := time.NewTimer(min(patience, maxPatience))
			defer timer.Stop()
			enough = timer.C
		}
		select {
		case st := <-s.steps:
			group = append(group, st)
			size += st.size
		case <-enough:
			return group
		}
	}
	return group
}

// commit does the steps of a group in one transaction. If that fails each is
// done in a transaction of its own, so that one does not fail for another.
func (s *Store) commit(group []*step) {
	now := s.now()
	var ready []*step
	synced := false
	for _, st := range group {
		if st.ctx.Err() != nil {
			st.err = context.Cause(st.ctx)
			close(st.done)
			continue
		}
		ready = append(ready, st)
		synced = synced || st.synced
	}
	w := &writer{store: s, now: now}
	do := func() error {
		for _, st := range ready {
			if st.err = st.do(w); st.err != nil && !isAnswer(st.err) {
				return st.err
			}
		}
		return nil
	}
	var err error
	if synced {
		err = s.inPlace()
	}
	if err == nil {
		err = w.transaction(synced, do)
	}
	if err != nil && len(ready) > 1 {
		for _, st := range ready {
			s.commit([]*step{st})
		}
		return
	}
	for _, st := range ready {
		if err != nil {
			st.err = s.explain(err)
		}
		close(st.done)
	}
}

// isAnswer says whether an error is what a caller is to know, and not a fault of
// the transaction.
func isAnswer(err error) bool {
	for _, kind := range []error{job.ErrNotFound, job.ErrFenced, job.ErrOtherCall, job.ErrEnded, job.ErrNotEnded} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}

// writer is one transaction. A step that returns an error which is an answer
// must not have changed anything.
type writer struct {
	store   *Store
	now     time.Time
	undo    []func() // what memory must forget if it fails; called with the store's mu held
	counts  map[job.State]int64
	notices []job.Notice
}

// transaction commits what do writes, or nothing.
func (w *writer) transaction(synced bool, do func() error) (err error) {
	w.counts = make(map[job.State]int64)
	defer func() { w.settle(err == nil) }()
	mode := `PRAGMA synchronous = full`
	if !synced {
		mode = `PRAGMA synchronous = normal`
	}
	if err := w.exec(mode); err != nil {
		return err
	}
	if err := w.exec(`BEGIN IMMEDIATE`); err != nil {
		return err
	}
	if err = do(); err == nil {
		err = w.exec(`COMMIT`)
	}
	if err != nil && !w.store.conn.AutocommitEnabled() {
		if rollback := w.exec(`ROLLBACK`); rollback != nil {
			return fmt.Errorf("%w, and then roll back: %w", err, rollback)
		}
	}
	return err
}

// settle has the memory of the store follow the file, and tells what happened.
func (w *writer) settle(committed bool) {
	w.remember(committed)
	if !committed {
		return
	}
	h := &w.store.hearing
	h.Lock()
	defer h.Unlock()
	for _, n := range w.notices {
		for hear := range h.hearers {
			(*hear)(n)
		}
	}
}

func (w *writer) remember(committed bool) {
	mu := &w.store.mu
	mu.Lock()
	defer mu.Unlock()
	if !committed {
		for i := len(w.undo) - 1; i >= 0; i-- {
			w.undo[i]()
		}
		return
	}
	for state, n := range w.counts {
		mu.counts[state] += n
	}
}

// exec runs a statement that returns nothing that matters.
func (w *writer) exec(query string, bind ...any) error {
	stmt, err := w.query(query, bind...)
	if err != nil {
		return err
	}
	for {
		if more, err := stmt.Step(); err != nil || !more {
			return err
		}
	}
}

// query returns a statement that is kept prepared, ready to be stepped. What it
// was bound to is not let go of before the new is there: the allocator would give
// the page to the system and ask for it again, each time.
func (w *writer) query(query string, bind ...any) (*sqlite.Stmt, error) {
	stmt := w.store.stmts[query]
	if stmt == nil {
		var err error
		if stmt, err = w.store.conn.Prepare(query); err != nil {
			return nil, err
		}
		w.store.stmts[query] = stmt
	} else if err := stmt.Reset(); err != nil {
		return nil, err
	}
	bindAll(stmt, bind)
	return stmt, nil
}

// bindAll binds the parameters of a statement.
func bindAll(stmt *sqlite.Stmt, bind []any) {
	for i, value := range bind {
		switch value := value.(type) {
		case string:
			stmt.BindText(i+1, value)
		case []byte:
			stmt.BindBytes(i+1, value)
		case int:
			stmt.BindInt64(i+1, int64(value))
		case int64:
			stmt.BindInt64(i+1, value)
		case *time.Time:
			if value == nil {
				stmt.BindNull(i + 1)
			} else {
				stmt.BindInt64(i+1, value.UnixMilli())
			}
		case time.Time:
			stmt.BindInt64(i+1, value.UnixMilli())
		case nil:
			stmt.BindNull(i + 1)
		default:
			panic(fmt.Sprintf("sqlitestore: a parameter of type %T", value))
		}
	}
}
