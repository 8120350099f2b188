// Package jobtest is what a job.Store must do, as tests, and the plainest store
// that does it.
package jobtest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/job"
)

// T0 is a moment at which the clock of a store may start.
var T0 = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// Subject is an empty store that is to be tested, with a clock of its own.
type Subject struct {
	job.Store

	// Advance has time pass for the store, and for it alone. If time also passes
	// by itself, then by less than half a second in a test.
	Advance func(d time.Duration)
}

// Run tests the stores that open returns, each of which it is to close at the
// end of its test.
func Run(t *testing.T, open func(t *testing.T) Subject) {
	for _, part := range []struct {
		name string
		test func(*suite)
	}{
		{"PutStoresAllOfAJob", putStoresAllOfAJob},
		{"PutReturnsTheJobOfItsKey", putReturnsTheJobOfItsKey},
		{"PutForgetsKeysOfDeletedJobs", putForgetsKeysOfDeletedJobs},
		{"WhatIsNotThereIsNotFound", whatIsNotThereIsNotFound},
		{"ListFilters", listFilters},
		{"ListPages", listPages},
		{"CountsAreOfCalls", countsAreOfCalls},
		{"CancelEndsInAnyState", cancelEndsInAnyState},
		{"CancelStoresWhatFollows", cancelStoresWhatFollows},
		{"RetryRunsAgain", retryRunsAgain},
		{"RetryRefuses", retryRefuses},
		{"PurgeDeletesOnlyWhatEnded", purgeDeletesOnlyWhatEnded},
		{"PurgeSparesWhatEndedLater", purgeSparesWhatEndedLater},
		{"EndedJobsExpire", endedJobsExpire},
		{"NoticesTellOfEachState", noticesTellOfEachState},
		{"TakePrefersUrgentThenOld", takePrefersUrgentThenOld},
		{"QueuesAreApart", queuesAreApart},
		{"QueuesTellWhatIsMostUrgent", queuesTellWhatIsMostUrgent},
		{"NothingIsTakenTooEarly", nothingIsTakenTooEarly},
		{"TakenIsAllThatIsToBeSent", takenIsAllThatIsToBeSent},
		{"EndStoresTheResponse", endStoresTheResponse},
		{"EndKeepsTheLastAttempts", endKeepsTheLastAttempts},
		{"EndToWaitingIsTakenAgain", endToWaitingIsTakenAgain},
		{"EndStoresWhatFollows", endStoresWhatFollows},
		{"EndTellsWhenItStarted", endTellsWhenItStarted},
		{"LateWorkersAreFenced", lateWorkersAreFenced},
		{"OnlyWhatRanIsLost", onlyWhatRanIsLost},
		{"KeepHoldsOffLoss", keepHoldsOffLoss},
		{"LossesAreCounted", lossesAreCounted},
		{"LeaveIsNoLoss", leaveIsNoLoss},
		{"ManyAtOnceEndEachJobOnce", manyAtOnceEndEachJobOnce},
		{"ManyAtOnceStoreAKeyOnce", manyAtOnceStoreAKeyOnce},
		{"HistoriesAgreeWithMemory", historiesAgreeWithMemory},
	} {
		t.Run(part.name, func(t *testing.T) { part.test(&suite{T: t, Subject: open(t)}) })
	}
}

// suite is one test of one store.
type suite struct {
	*testing.T
	Subject
	made int
}

// fresh returns a call to be stored, later and with a later ID than those before.
func (s *suite) fresh(queue string) job.New {
	s.made++
	s.Advance(time.Millisecond)
	return job.New{
		Job: job.Job{
			ID: job.NewID(T0.Add(time.Duration(s.made) * time.Millisecond)), Kind: job.Call,
			Upstream: "api", Client: "web", Priority: 5, Queue: queue,
		},
		Request: job.Request{Method: http.MethodPost, Path: fmt.Sprintf("/v1/%d?q=1", s.made), Body: []byte("{}")},
	}
}

func (s *suite) put(n job.New) job.Job {
	s.Helper()
	j, existed, err := s.Put(s.Context(), n)
	if err != nil || existed {
		s.Fatalf("Put(%s) existed = %v, error %v; want a new job", n.Job.ID, existed, err)
	}
	return j
}

func (s *suite) get(id string) job.Job {
	s.Helper()
	j, err := s.Get(s.Context(), id)
	if err != nil {
		s.Fatalf("Get(%s): %v", id, err)
	}
	return j
}

// take has worker w take up to n jobs of a queue, and wants that many.
func (s *suite) take(w, queue string, n, want int) []job.Taken {
	s.Helper()
	taken, err := s.Take(s.Context(), w, queue, n)
	if err != nil || len(taken) != want {
		s.Fatalf("Take(%s, %s, %d) = %d jobs, error %v; want %d", w, queue, n, len(taken), err, want)
	}
	return taken
}

// takeOne has worker w take a job of a queue, and start it.
func (s *suite) takeOne(w, queue string) job.Taken {
	s.Helper()
	taken := s.take(w, queue, 1, 1)[0]
	s.must(s.Start(s.Context(), taken.Ref), "Start")
	return taken
}

func (s *suite) end(e job.End) {
	s.Helper()
	s.must(s.End(s.Context(), e), "End")
}

func (s *suite) must(err error, what string) {
	s.Helper()
	if err != nil {
		s.Fatalf("%s: %v", what, err)
	}
}

// sweep sweeps until there is no more to do.
func (s *suite) sweep() {
	s.Helper()
	for range 10_000 {
		next, err := s.Sweep(s.Context())
		s.must(err, "Sweep")
		if next > 0 {
			return
		}
	}
	s.Fatal("Sweep finds more to do, without end")
}

// pass has time pass in steps in which those who are named keep their leases.
func (s *suite) pass(d time.Duration, keep ...string) {
	s.Helper()
	for step := 2 * time.Second; d > 0; d -= step {
		for _, w := range keep {
			s.must(s.Keep(s.Context(), w), "Keep")
		}
		s.Advance(min(d, step))
		s.sweep()
	}
}

func (s *suite) state(id string, want job.State) job.Job {
	s.Helper()
	j := s.get(id)
	if j.State != want {
		s.Fatalf("job %s is %s (%s), want %s", id, j.State, j.Reason, want)
	}
	return j
}

// list returns the IDs of all pages.
func (s *suite) list(f job.Filter) []string {
	s.Helper()
	return ids(s.pages(f))
}

func (s *suite) pages(f job.Filter) []job.Job {
	s.Helper()
	var all []job.Job
	for range 10_000 {
		p, err := s.List(s.Context(), f)
		s.must(err, "List")
		if most := limitOf(f); len(p.Jobs) > most {
			s.Fatalf("List(%+v) = %d jobs, want %d at most", f, len(p.Jobs), most)
		}
		all = append(all, p.Jobs...)
		if p.Next == "" {
			return all
		}
		f.After = p.Next
	}
	s.Fatal("List has pages without end")
	return nil
}

func ids(jobs []job.Job) []string {
	all := make([]string, 0, len(jobs))
	for _, j := range jobs {
		all = append(all, j.ID)
	}
	return all
}

func (s *suite) queue(name string) job.QueueStatus {
	s.Helper()
	all, err := s.Queues(s.Context())
	s.must(err, "Queues")
	return named(all, name)
}

// named returns how a queue stands: nothing waits in one that is not told of.
func named(all []job.QueueStatus, name string) job.QueueStatus {
	for _, q := range all {
		if q.Name == name {
			return q
		}
	}
	return job.QueueStatus{}
}

// hear returns a channel of the notices from now on.
func (s *suite) hear() <-chan job.Notice {
	s.Helper()
	heard := make(chan job.Notice, 10_000)
	ctx, stop := context.WithCancel(s.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Store.Run(ctx, func(n job.Notice) { heard <- n }) }()
	s.Cleanup(func() {
		stop()
		if err := <-ended; err != context.Canceled {
			s.Errorf("Run = %v after its context was cancelled, want its cause", err)
		}
	})
	for { // until it listens
		probe := s.put(s.fresh("probe"))
		timeout := time.After(20 * time.Millisecond)
		for waiting := true; waiting; {
			select {
			case n := <-heard:
				if n.ID == probe.ID {
					return heard
				}
			case <-timeout:
				waiting = false
			}
		}
	}
}

// plain is a job as text, for comparison: times to the millisecond, in UTC.
func plain(j job.Job) string {
	for _, t := range []**time.Time{&j.NotBefore, &j.StartedAt, &j.EndedAt, &j.ExpiresAt} {
		if *t != nil {
			ms := plainTime(**t)
			*t = &ms
		}
	}
	j.CreatedAt = plainTime(j.CreatedAt)
	attempts := make([]job.Attempt, 0, len(j.Attempts))
	for _, a := range j.Attempts {
		a.At = plainTime(a.At)
		attempts = append(attempts, a)
	}
	j.Attempts = attempts
	text, err := json.Marshal(j)
	if err != nil {
		panic(err)
	}
	return fmt.Sprintf("%s queue=%s key=%s/%s tried=%d location=%s", text, j.Queue, j.Key, j.Fingerprint, j.Tried, j.Location)
}

func plainTime(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }
