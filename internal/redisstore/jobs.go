package redisstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/headgate/headgate/internal/job"
)

const (
	// insist is for how long what the server does not answer is asked again. A
	// server that restarts is back in a second or two.
	insist = 5 * time.Second

	// askFor bounds the wait for one answer.
	askFor = 5 * time.Second

	// How long to wait before asking again.
	askAgain     = 20 * time.Millisecond
	askAgainMost = 300 * time.Millisecond
)

// theJobScript is the step of jobs.
var theJobScript = newScript(jobLua(), "step")

func jobLua() string {
	return readLua("jobs/record", "jobs/store", "jobs/work", "jobs/keep", "jobs/look", "jobs/step")
}

// Jobs is jobs in Redis: a job.Store. What it has said is stored is as durable as
// the server keeps what it has written; see Durability.
//
// # Keys
//
// All keys of a namespace begin with
//
//	headgate:1:{NAMESPACE/jobs}:
//
// and so lie on one node of a cluster. Behind it stand
//
//	job:ID         string: a record of the job, packed
//	request:ID     string: what it sends, until it is done
//	response:ID    string: what came back
//	queue:QUEUE    sorted set: IDs that may be taken, by priority and age
//	later:QUEUE    sorted set: IDs that wait, by when they may be taken
//	held:WORKER    set: IDs that a worker has taken
//	leases         sorted set: workers, by when their lease lapses
//	KIND:STATE     sorted set: IDs of all calls and callbacks, by age
//	expires        sorted set: IDs of what has ended, by when it is deleted
//	queues         hash: what each queue with waiting jobs is for
//	key:CLIENT:KEY string: the ID that an Idempotency-Key stands for
//	take:TOKEN     string: what a Take was answered, for a minute
//
// The record is the truth: a job is where its state says, and all else is changed
// in the same step. Why sorted sets keep the queues, and no streams, says
// docs/adr/0010. A job takes some 0.8 KB besides its bodies.
//
// What has ended is deleted by Sweep. Its response goes an hour later even if
// nobody sweeps. The server must not evict: maxmemory-policy noeviction.
//
// # Faults
//
// Each call is one step of the server. A call whose answer is lost is made again
// for 5 s, in a form that takes effect once. Then it fails with
// job.ErrUnavailable; it may have taken effect. What several goroutines store,
// start or end at the same time is sent as one step. When the server's memory is
// used up it takes no new jobs, job.ErrFull, and those that there are go on.
//
// # Messages
//
// Notices are published to headgate:1:NAMESPACE/jobs, with @DB behind it for
// another database than 0, in the step that they tell of.
//
// The user needs what the package comment says, and +@set +@sortedset +get +set
// +mget +mset +del +exists +persist.
type Jobs struct {
	store     *Store
	prefix    string
	retention time.Duration
	puts      collector // what is refused when memory is used up
	works     collector // what is not
}

var _ job.Store = (*Jobs)(nil)

// OpenJobs returns the jobs that are kept where o says. Like Open it does not
// need the server.
func OpenJobs(o Options) (*Jobs, error) {
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("open job store: %w", err)
	}
	return newJobs(o, theJobScript), nil
}

func newJobs(o Options, script *script) *Jobs {
	j := &Jobs{prefix: "headgate:1:{" + o.Namespace + "/jobs}:", retention: cmp.Or(o.Retention, job.Retention)}
	o.Namespace += "/jobs"
	j.store = newStore(o, script)
	j.store.options.ReadBufferEachConn = 256 << 10
	j.store.options.WriteBufferEachConn = 256 << 10
	j.puts = collector{jobs: j, function: script.name, operation: "put"}
	j.works = collector{jobs: j, function: script.oomName(), operation: "work"}
	return j
}

// Close ends what is under way and lets go of all connections. It may be called
// twice.
func (j *Jobs) Close() error {
	j.store.Close()
	return nil
}

// ask has the server do an operation, and returns its answer. It asks again
// while that may help; arguments says what to ask, and whether it is again.
func (j *Jobs) ask(ctx context.Context, operation string, arguments func(again bool) []string) (m rueidis.RedisMessage, err error) {
	end := time.Now().Add(insist)
	for again := false; ; again = true {
		m, err = j.once(ctx, j.store.script.oomName(), operation, arguments(again))
		if err == nil {
			return m, nil
		}
		retry, told := j.reading(err)
		if !retry || !j.pause(ctx, again, end) {
			return m, fmt.Errorf("%s: %w", operation, told)
		}
	}
}

// asked is ask for what is the same each time.
func (j *Jobs) asked(ctx context.Context, operation string, arguments ...string) (rueidis.RedisMessage, error) {
	return j.ask(ctx, operation, func(bool) []string { return arguments })
}

// once asks the server once.
func (j *Jobs) once(ctx context.Context, function, operation string, arguments []string) (rueidis.RedisMessage, error) {
	args := make([]string, 3, 3+len(arguments)) // the first is the time
	args[1], args[2] = j.store.channel, operation
	args = append(args, arguments...)
	return within(ctx, j.store, func(ctx context.Context, client rueidis.Client) (rueidis.RedisMessage, error) {
		answer, err := j.store.call(ctx, client, function, j.prefix, args)
		if err == nil && len(answer) != 1 {
			err = fmt.Errorf("not an answer: %v", answer)
		}
		if err != nil {
			return rueidis.RedisMessage{}, err
		}
		return answer[0], nil
	})
}

// within calls f with a client, for askFor at most.
func within[T any](ctx context.Context, s *Store, f func(context.Context, rueidis.Client) (T, error)) (result T, err error) {
	ctx, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	got := make(chan T, 1) // f may outlive this call
	err = s.do(ctx, func(ctx context.Context, client rueidis.Client) error {
		one, err := f(ctx, client)
		if err == nil {
			got <- one
		}
		return err
	})
	if err != nil {
		return result, err
	}
	return <-got, nil
}

// pause waits before the server is asked again, and returns whether it may be.
func (j *Jobs) pause(ctx context.Context, again bool, end time.Time) bool {
	wait := askAgain
	if again {
		wait = askAgainMost
	}
	wait = wait/2 + rand.N(wait/2)
	if time.Now().Add(wait).After(end) {
		return false
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
	case <-j.store.ctx.Done():
	}
	return false
}

// refusals are the beginnings of errors by which a server says that it does not
// do what it is asked, and what that means.
var refusals = []struct {
	begin string
	retry bool
	kind  error
	means string
}{
	{"OOM ", false, job.ErrFull, "its memory is used up: raise maxmemory, or keep results for less time"},
	{"LOADING ", true, job.ErrUnavailable, "it is starting"},
	{"READONLY ", true, job.ErrUnavailable, "it is a replica: name the master, or its Sentinels"},
	{"MASTERDOWN ", true, job.ErrUnavailable, "it is a replica without its master"},
	{"MISCONF ", true, job.ErrUnavailable, "it cannot write to its disk: see its log"},
	{"NOREPLICAS ", true, job.ErrUnavailable, "it has fewer replicas than min-replicas-to-write"},
	{"CLUSTERDOWN ", true, job.ErrUnavailable, "its cluster lacks a node"},
	{"TRYAGAIN ", true, job.ErrUnavailable, "its cluster is moving keys"},
	{"BUSY ", true, job.ErrUnavailable, "it is busy with a script of somebody's"},
	{"NOAUTH ", false, job.ErrUnavailable, "it wants a password"},
	{"WRONGPASS ", false, job.ErrUnavailable, "user or password are wrong"},
	{"NOPERM ", false, job.ErrUnavailable, "the user lacks a right: see what package redisstore needs"},
}

// reading says whether it may help to ask again after an error, and what it
// means.
func (j *Jobs) reading(err error) (retry bool, told error) {
	var re *rueidis.RedisError
	if !errors.As(err, &re) {
		if errors.Is(err, ErrClosed) {
			return false, fmt.Errorf("%w: %w", job.ErrUnavailable, err)
		}
		return true, fmt.Errorf("%w: redis at %s: %w", job.ErrUnavailable, j.store.addr, err)
	}
	text := strings.TrimPrefix(re.Error(), "ERR ")
	for _, r := range refusals {
		if strings.HasPrefix(text, r.begin) || strings.Contains(text, ": -"+r.begin) { // within a script, before 7.0
			return r.retry, fmt.Errorf("%w: redis at %s: %s (%w)", r.kind, j.store.addr, r.means, err)
		}
	}
	return false, fmt.Errorf("redis at %s: %w", j.store.addr, err)
}
