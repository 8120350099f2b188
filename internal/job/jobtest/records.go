package jobtest

import (
	"bytes"
	"errors"
	"net/http"
	"reflect"
	"slices"
	"time"

	"github.com/headgate/headgate/internal/job"
)

// rich is a call with something in each field.
func (s *suite) rich(queue string) job.New {
	n := s.fresh(queue)
	n.Job.Client, n.Job.Priority, n.Job.Callback = "büro", 2, "https://example.com/hook"
	n.Job.Key, n.Job.Fingerprint = "key-1", "f1"
	n.Request = job.Request{
		Method: http.MethodPut, Path: "/v1/ä?b=%20c&d",
		Header: http.Header{"Content-Type": {"application/json"}, "X-Two": {"a", "b, c"}, "X-Empty": {""}},
		Body:   []byte("\x00\xff{\"a\": 1}\r\n"),
	}
	return n
}

func putStoresAllOfAJob(s *suite) {
	n := s.rich("q")
	put := s.put(n)
	want := job.Stored(n, put.CreatedAt)
	for what, got := range map[string]job.Job{"Put": put, "Get": s.get(n.Job.ID)} {
		if plain(got) != plain(want) {
			s.Errorf("%s = %s\nwant %s", what, plain(got), plain(want))
		}
	}
	unnamed, _, err := s.Put(s.Context(), job.New{Job: job.Job{Queue: "q"}, Request: job.Request{Method: "GET", Path: "/"}})
	if err != nil || !job.IsID(unnamed.ID) || unnamed.Kind != job.Call {
		s.Errorf("Put without ID and kind = %+v, error %v; want a call with an ID", unnamed, err)
	}
	s.state(unnamed.ID, job.Waiting)
}

func putReturnsTheJobOfItsKey(s *suite) {
	keyed := func(client, key, fingerprint string) job.New {
		n := s.fresh("q")
		n.Job.Client, n.Job.Key, n.Job.Fingerprint = client, key, fingerprint
		return n
	}
	first := s.put(keyed("web", "k", "f"))
	if again, existed, err := s.Put(s.Context(), keyed("web", "k", "f")); err != nil || !existed || plain(again) != plain(first) {
		s.Errorf("Put again = %s, %v, %v\nwant %s, true", plain(again), existed, err, plain(first))
	}
	if _, _, err := s.Put(s.Context(), keyed("web", "k", "g")); !errors.Is(err, job.ErrOtherCall) {
		s.Errorf("Put of another call with the same key = %v, want ErrOtherCall", err)
	}
	s.put(keyed("app", "k", "g"))
	s.put(keyed("", "k", "h"))
	s.put(keyed("web", "K", "f"))
	s.put(keyed("web", "", "f"))
	s.put(keyed("web", "", "f"))
	taken := s.takeOne("w", "q")
	s.end(job.End{Ref: taken.Ref, State: job.Done, Response: &job.Response{Status: 200}})
	again, existed, err := s.Put(s.Context(), keyed("web", "k", "f"))
	if err != nil || !existed || again.ID != first.ID || again.State != job.Done {
		s.Errorf("Put after its job was done = %s, %v, %v; want %s, done", plain(again), existed, err, first.ID)
	}
}

func putForgetsKeysOfDeletedJobs(s *suite) {
	keyed := func() job.New {
		n := s.fresh("q")
		n.Job.Key, n.Job.Fingerprint = "k", "f"
		return n
	}
	purged := s.put(keyed())
	_, err := s.Cancel(s.Context(), purged.ID, "", nil)
	s.must(err, "Cancel")
	_, err = s.Purge(s.Context(), job.Filter{})
	s.must(err, "Purge")
	expired := s.put(keyed())
	s.end(job.End{Ref: s.takeOne("w", "q").Ref, State: job.Done, Keep: time.Minute})
	s.Advance(2 * time.Minute)
	s.sweep()
	if third := s.put(keyed()); third.ID == expired.ID {
		s.Errorf("Put with the key of an expired job = %s, the same", third.ID)
	}
}

func whatIsNotThereIsNotFound(s *suite) {
	s.put(s.fresh("q"))
	for _, id := range []string{job.NewID(T0), "", "nonsense"} {
		_, get := s.Get(s.Context(), id)
		_, response := s.Response(s.Context(), id)
		_, cancel := s.Cancel(s.Context(), id, "", nil)
		_, retry := s.Retry(s.Context(), id)
		for what, err := range map[string]error{"Get": get, "Response": response, "Cancel": cancel, "Retry": retry} {
			if !errors.Is(err, job.ErrNotFound) {
				s.Errorf("%s(%q) = %v, want ErrNotFound", what, id, err)
			}
		}
		if err := s.Start(s.Context(), job.Ref{ID: id}); !errors.Is(err, job.ErrFenced) {
			s.Errorf("Start(%q) = %v, want ErrFenced", id, err)
		}
		if err := s.End(s.Context(), job.End{Ref: job.Ref{ID: id}, State: job.Done}); !errors.Is(err, job.ErrFenced) {
			s.Errorf("End(%q) = %v, want ErrFenced", id, err)
		}
	}
	s.must(s.Keep(s.Context(), "nobody"), "Keep")
	s.must(s.Leave(s.Context(), "stranger"), "Leave")
	s.take("w", "no such queue", 3, 0)
}

func cancelEndsInAnyState(s *suite) {
	for _, tt := range []struct {
		name    string
		prepare func(queue string) job.Ref
		err     error
	}{
		{"waiting", func(string) job.Ref { return job.Ref{} }, nil},
		{"taken", func(q string) job.Ref { return s.take("w", q, 1, 1)[0].Ref }, nil},
		{"running", func(q string) job.Ref { return s.takeOne("w", q).Ref }, nil},
		{"done", func(q string) job.Ref {
			r := s.takeOne("w", q).Ref
			s.end(job.End{Ref: r, State: job.Done})
			return r
		}, job.ErrEnded},
	} {
		id := s.put(s.fresh(tt.name)).ID
		ref := tt.prepare(tt.name)
		before := s.get(id)
		j, err := s.Cancel(s.Context(), id, "no longer wanted", nil)
		if !errors.Is(err, tt.err) {
			s.Errorf("Cancel of a %s job = %v, want %v", tt.name, err, tt.err)
			continue
		}
		if err != nil {
			if after := s.get(id); plain(after) != plain(before) {
				s.Errorf("refused Cancel made of %s\n%s", plain(before), plain(after))
			}
			continue
		}
		if j.State != job.Cancelled || j.Reason != "no longer wanted" || j.EndedAt == nil || j.ExpiresAt == nil {
			s.Errorf("Cancel of a %s job = %s", tt.name, plain(j))
		}
		if got := s.get(id); plain(got) != plain(j) {
			s.Errorf("Get after Cancel = %s\nwant %s", plain(got), plain(j))
		}
		if ref.ID != "" {
			s.fenced(ref)
		}
		s.take("other", tt.name, 1, 0)
		if _, err := s.Cancel(s.Context(), id, "", nil); !errors.Is(err, job.ErrEnded) {
			s.Errorf("Cancel of a cancelled job = %v, want ErrEnded", err)
		}
	}
}

func cancelStoresWhatFollows(s *suite) {
	n := s.fresh("q")
	n.Job.Callback = "https://example.com/hook"
	call := s.put(n)
	running := s.takeOne("w", "q")
	follows := s.fresh(job.CallbackQueue("example.com"))
	follows.Job.Kind, follows.Job.Parent, follows.Job.Upstream = job.Callback, call.ID, ""
	var told job.Job
	then := func(j job.Job) *job.New {
		told = j
		return &follows
	}
	_, err := s.Cancel(s.Context(), call.ID, "enough", then)
	s.must(err, "Cancel")
	if told.ID != call.ID || told.State != job.Cancelled || told.Reason != "enough" || told.EndedAt == nil || told.Callback != n.Job.Callback || told.StartedAt == nil {
		s.Errorf("what follows is made of %s, want the job as it is once cancelled", plain(told))
	}
	s.fenced(running.Ref)
	taken := s.takeOne("w", follows.Job.Queue)
	if taken.ID != follows.Job.ID || taken.Job.Kind != job.Callback || taken.Job.Parent != call.ID || !sameRequest(taken.Request, follows.Request) {
		s.Errorf("taken %s %+v, want %s %+v", plain(taken.Job), taken.Request, follows.Job.ID, follows.Request)
	}
	follows = s.fresh("late")
	if _, err := s.Cancel(s.Context(), call.ID, "enough", then); !errors.Is(err, job.ErrEnded) {
		s.Errorf("Cancel of a cancelled job = %v, want ErrEnded", err)
	}
	s.take("w", "late", 1, 0)
	other := s.put(s.fresh("q"))
	_, err = s.Cancel(s.Context(), other.ID, "enough", func(job.Job) *job.New { return nil })
	s.must(err, "Cancel")
	s.state(other.ID, job.Cancelled)
}

func retryRunsAgain(s *suite) {
	id := s.put(s.fresh("q")).ID
	taken := s.takeOne("w", "q")
	s.end(job.End{
		Ref: taken.Ref, State: job.Failed, Attempts: []job.Attempt{{At: T0, Status: 500}}, Tried: 1,
		Reason: "500", Response: &job.Response{Status: 500}, Location: "/result",
	})
	j, err := s.Retry(s.Context(), id)
	s.must(err, "Retry")
	if j.State != job.Waiting || j.Attempted != 1 || len(j.Attempts) != 1 || j.Tried != 0 || j.Status != 0 ||
		j.Reason != "" || j.Location != "" || j.EndedAt != nil || j.ExpiresAt != nil || plain(j) != plain(s.get(id)) {
		s.Errorf("Retry = %s\nGet   = %s", plain(j), plain(s.get(id)))
	}
	if _, err := s.Response(s.Context(), id); !errors.Is(err, job.ErrNotEnded) {
		s.Errorf("Response of a retried job = %v, want ErrNotEnded", err)
	}
	s.fenced(taken.Ref)
	again := s.takeOne("w", "q")
	if again.Fence <= taken.Fence {
		s.Errorf("fence %d after %d, want it to grow", again.Fence, taken.Fence)
	}
	s.end(job.End{Ref: again.Ref, State: job.Failed})
	if _, err := s.Response(s.Context(), id); !errors.Is(err, job.ErrNoResponse) {
		s.Errorf("Response of a job that failed the second time without one = %v, want ErrNoResponse", err)
	}
	s.Advance(job.Retention / 2)
	_, err = s.Retry(s.Context(), id)
	s.must(err, "Retry")
	s.Advance(job.Retention)
	s.sweep()
	s.state(id, job.Waiting) // what it would have expired at has passed
}

func retryRefuses(s *suite) {
	waiting, running, done := s.put(s.fresh("a")).ID, s.put(s.fresh("b")).ID, s.put(s.fresh("c")).ID
	s.takeOne("w", "b")
	s.end(job.End{Ref: s.takeOne("w", "c").Ref, State: job.Done})
	for id, want := range map[string]error{waiting: job.ErrNotEnded, running: job.ErrNotEnded, done: job.ErrEnded} {
		before := s.get(id)
		if _, err := s.Retry(s.Context(), id); !errors.Is(err, want) {
			s.Errorf("Retry of a %s job = %v, want %v", before.State, err, want)
		}
		if after := s.get(id); plain(after) != plain(before) {
			s.Errorf("refused Retry made of %s\n%s", plain(before), plain(after))
		}
	}
}

func purgeDeletesOnlyWhatEnded(s *suite) {
	waiting := s.put(s.fresh("keep")).ID
	s.put(s.fresh("run"))
	running := s.takeOne("w", "run").ID
	var ended []string
	for range 5 {
		ended = append(ended, s.put(s.fresh("q")).ID)
		s.end(job.End{Ref: s.takeOne("w", "q").Ref, State: job.Done, Response: &job.Response{Status: 200}})
	}
	for _, tt := range []struct {
		filter job.Filter
		want   int
	}{
		{job.Filter{States: []job.State{job.Failed, job.Waiting, job.Running}}, 0},
		{job.Filter{Upstream: "other"}, 0},
		{job.Filter{Kind: job.Callback}, 0},
		{job.Filter{Text: ended[0]}, 1},
		{job.Filter{Limit: 3}, 3},
		{job.Filter{Limit: 3}, 1},
		{job.Filter{}, 0},
	} {
		if got, err := s.Purge(s.Context(), tt.filter); err != nil || got != tt.want {
			s.Errorf("Purge(%+v) = %d, %v; want %d", tt.filter, got, err, tt.want)
		}
	}
	if got, want := s.list(job.Filter{}), []string{running, waiting}; !slices.Equal(got, want) {
		s.Errorf("left after Purge: %v, want %v", got, want)
	}
	if _, err := s.Response(s.Context(), ended[0]); !errors.Is(err, job.ErrNotFound) {
		s.Errorf("Response of a purged job = %v, want ErrNotFound", err)
	}
}

func purgeSparesWhatEndedLater(s *suite) {
	waiting := s.put(s.fresh("keep")).ID
	var ended []job.Job
	for range 3 {
		s.put(s.fresh("q"))
		taken := s.takeOne("w", "q")
		s.pass(2*time.Second, "w")
		s.end(job.End{Ref: taken.Ref, State: job.Failed})
		ended = append(ended, s.get(taken.ID))
	}
	old := job.Filter{EndedBefore: *ended[2].EndedAt}
	if got, want := s.list(old), []string{ended[1].ID, ended[0].ID}; !slices.Equal(got, want) {
		s.Errorf("List of what ended before %v = %v, want %v", old.EndedBefore, got, want)
	}
	if got, err := s.Purge(s.Context(), old); err != nil || got != 2 {
		s.Errorf("Purge of what ended before %v = %d, %v; want 2", old.EndedBefore, got, err)
	}
	if got, want := s.list(job.Filter{}), []string{ended[2].ID, waiting}; !slices.Equal(got, want) {
		s.Errorf("left after Purge: %v, want %v", got, want)
	}
}

func endedJobsExpire(s *suite) {
	short, long, waiting := s.put(s.fresh("a")).ID, s.put(s.fresh("b")).ID, s.put(s.fresh("c")).ID
	s.end(job.End{Ref: s.takeOne("w", "a").Ref, State: job.Done, Keep: time.Minute, Response: &job.Response{Status: 200, Body: []byte("x")}})
	s.end(job.End{Ref: s.takeOne("w", "b").Ref, State: job.Failed})
	s.pass(50 * time.Second)
	s.state(short, job.Done)
	s.pass(20 * time.Second)
	if _, err := s.Get(s.Context(), short); !errors.Is(err, job.ErrNotFound) {
		s.Errorf("Get of an expired job = %v, want ErrNotFound", err)
	}
	if _, err := s.Response(s.Context(), short); !errors.Is(err, job.ErrNotFound) {
		s.Errorf("Response of an expired job = %v, want ErrNotFound", err)
	}
	s.state(long, job.Failed)
	s.Advance(job.Retention)
	s.sweep()
	if got := s.list(job.Filter{}); !slices.Equal(got, []string{waiting}) {
		s.Errorf("left after the retention: %v, want what waits: %v", got, waiting)
	}
	s.counts(map[job.State]int64{job.Waiting: 1})
}

func noticesTellOfEachState(s *suite) {
	heard := s.hear()
	expect := func(id string, want job.State) {
		s.Helper()
		timeout := time.After(10 * time.Second)
		for {
			select {
			case n := <-heard:
				if n.ID != id {
					continue
				}
				if n.State != want || n.Queue != "q" || n.Upstream != "api" {
					s.Fatalf("notice %+v, want %s in q of api", n, want)
				}
				s.state(id, want) // what is told is there to be seen
				return
			case <-timeout:
				s.Fatalf("no notice that %s is %s", id, want)
			}
		}
	}
	id := s.put(s.fresh("q")).ID
	expect(id, job.Waiting)
	taken := s.takeOne("w", "q")
	expect(id, job.Running)
	s.end(job.End{Ref: taken.Ref, State: job.Failed})
	expect(id, job.Failed)
	_, err := s.Retry(s.Context(), id)
	s.must(err, "Retry")
	expect(id, job.Waiting)
	s.takeOne("w", "q")
	expect(id, job.Running)
	s.pass(10 * time.Second)
	expect(id, job.Waiting) // lost
	s.end(job.End{Ref: s.take("w", "q", 1, 1)[0].Ref, State: job.Done})
	expect(id, job.Done)
	other := s.put(s.fresh("q")).ID
	expect(other, job.Waiting)
	_, err = s.Cancel(s.Context(), other, "", nil)
	s.must(err, "Cancel")
	expect(other, job.Cancelled)
}

func sameRequest(a, b job.Request) bool {
	return a.Method == b.Method && a.Path == b.Path && bytes.Equal(a.Body, b.Body) && sameHeader(a.Header, b.Header)
}

func sameHeader(a, b http.Header) bool {
	return len(a) == 0 && len(b) == 0 || reflect.DeepEqual(a, b)
}
