package job

import (
	"context"
	"errors"
	"time"
)

var (
	// ErrNotFound is returned for a job that there is not, or not any more.
	ErrNotFound = errors.New("there is no such job")

	// ErrFenced is returned to who holds a job no more: its lease ended and
	// another has taken it, or it was cancelled.
	ErrFenced = errors.New("the job is held by somebody else, or by nobody")

	// ErrOtherCall is returned for an idempotency key that stands for another
	// call.
	ErrOtherCall = errors.New("this Idempotency-Key came with another request")

	// ErrEnded and ErrNotEnded are returned for what comes too late or too
	// early.
	ErrEnded    = errors.New("the job has ended")
	ErrNotEnded = errors.New("the job has not ended")

	// ErrNoResponse is returned for a job that ended without one.
	ErrNoResponse = errors.New("the job has no response")

	// ErrFull is returned when the store has no room left. What it holds is
	// safe.
	ErrFull = errors.New("the job store is full")

	// ErrUnavailable is returned when the store cannot be asked now.
	ErrUnavailable = errors.New("the job store is away")
)

// Store keeps jobs. Its methods may be called by many goroutines at once; what
// several ask for at the same time is done in one group. What a method has
// returned nil for is stored: as durably as the store promises, which its
// package says.
type Store interface {
	Records
	Queues

	// Run tells of what happens to jobs until ctx ends, and returns its cause.
	// hear must not block. A notice may be lost while the store is away.
	Run(ctx context.Context, hear func(Notice)) error

	// Close lets go of the store. It may be called twice.
	Close() error
}

// Records is a store to who stores jobs and looks after them.
type Records interface {
	// Put stores a job. If its client has one with the same key, that is
	// returned instead, and existed is true; if the fingerprints differ the
	// error is ErrOtherCall.
	Put(ctx context.Context, n New) (j Job, existed bool, err error)

	// Get returns a job; ErrNotFound if there is none.
	Get(ctx context.Context, id string) (Job, error)

	// Response returns what a job's upstream answered: ErrNotFound,
	// ErrNotEnded or ErrNoResponse if it has not.
	Response(ctx context.Context, id string) (Response, error)

	// List returns jobs, latest first.
	List(ctx context.Context, f Filter) (Page, error)

	// Counts returns how many calls there are in each state.
	Counts(ctx context.Context) (map[State]int64, error)

	// Cancel ends a job that has not ended, and returns it: ErrNotFound or
	// ErrEnded. Who runs it is told by a notice. What then makes of the job as
	// it will stand is stored in the same step, unless it is nil. then may be
	// called more than once and must not ask the store; it may be nil itself.
	Cancel(ctx context.Context, id, reason string, then func(Job) *New) (Job, error)

	// Retry has a failed or cancelled job wait again, as if it were new but
	// for its attempts, and returns it: ErrNotFound or ErrNotEnded. A job that
	// is done is ErrEnded.
	Retry(ctx context.Context, id string) (Job, error)

	// Purge deletes ended jobs that match, at most f.Limit, and returns how
	// many it did.
	Purge(ctx context.Context, f Filter) (int, error)
}

// Queues is a store to who runs jobs.
type Queues interface {
	// Queues returns the queues that hold waiting jobs.
	Queues(ctx context.Context) ([]QueueStatus, error)

	// Take has a worker hold up to n jobs of a queue that may be run now: the
	// most urgent first, and of these the oldest. They are its own as long as
	// it keeps its lease; see Keep.
	Take(ctx context.Context, worker, queue string, n int) ([]Taken, error)

	// Start marks a job as running: it has its permit. The error is ErrFenced
	// if it is not the caller's any more; it must not be sent then.
	Start(ctx context.Context, r Ref) error

	// End says what became of a job that was taken, started or not: ErrFenced
	// if that does not count any more. One that has attempts and was not
	// marked as running has started with the first of them.
	End(ctx context.Context, e End) error

	// Keep renews a worker's lease of all that it holds. If it had lapsed, what
	// the worker held may be another's, and its Start and End fail.
	Keep(ctx context.Context, worker string) error

	// Leave gives back what a worker holds, as it was: no loss.
	Leave(ctx context.Context, worker string) error

	// Sweep takes from workers whose lease has lapsed what they held: what ran
	// counts as lost. It also deletes what has expired. It says how long it may
	// be put off; 0: there is more to do at once.
	Sweep(ctx context.Context) (next time.Duration, err error)
}

// Notice tells of a job that changed its state, or that may be taken.
type Notice struct {
	ID       string
	Queue    string
	Upstream string
	State    State
}

// QueueStatus is how a queue stands.
type QueueStatus struct {
	Name     string
	Kind     Kind
	Upstream string
	Ripe     int           // jobs that may be taken now; a store may say 1 for any number
	Priority int           // if Ripe > 0: of the most urgent; one whose delay has just ended may not count yet
	Next     time.Duration // until another one may be; 0 if Ripe > 0 or there is none
}

// Filter says which jobs are meant. Its zero value means all calls.
type Filter struct {
	Kind     Kind // "": Call
	States   []State
	Upstream string
	Client   *string // nil: any; "" are calls of nobody
	Text     string  // is part of the ID, path or reason

	// EndedBefore leaves out what ended then or later, and what has not. Zero:
	// nothing is left out.
	EndedBefore time.Time

	After string // the cursor of the page before; "": from the latest on
	Limit int    // 0 means 100; at most 1000
}

// Page is a part of a list.
type Page struct {
	Jobs []Job
	Next string // cursor of the page behind; "" if there is none
}
