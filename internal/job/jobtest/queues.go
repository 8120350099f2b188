package jobtest

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/headgate/headgate/internal/job"
)

func takePrefersUrgentThenOld(s *suite) {
	var jobs []job.Job
	for _, priority := range []int{5, 0, 7, 5, 3, 0} {
		n := s.fresh("q")
		n.Job.Priority = priority
		jobs = append(jobs, s.put(n))
	}
	slices.SortStableFunc(jobs, func(a, b job.Job) int { return a.Priority - b.Priority })
	var got []string
	for _, n := range []int{1, 3, 10} {
		for _, taken := range s.take("w", "q", n, min(n, len(jobs)-len(got))) {
			got = append(got, taken.ID)
		}
	}
	if want := ids(jobs); !slices.Equal(got, want) {
		s.Errorf("taken %v\nwant  %v", got, want)
	}
}

func queuesAreApart(s *suite) {
	n := s.fresh(job.CallbackQueue("example.com"))
	n.Job.Kind, n.Job.Upstream = job.Callback, ""
	s.put(n)
	s.put(s.fresh("a"))
	s.put(s.fresh("b"))
	s.put(s.fresh("b"))
	for name, want := range map[string]struct {
		kind     job.Kind
		upstream string
	}{"a": {job.Call, "api"}, "b": {job.Call, "api"}, "callback/example.com": {job.Callback, ""}} {
		got := s.queue(name)
		if got.Kind != want.kind || got.Upstream != want.upstream || got.Ripe < 1 || got.Next != 0 {
			s.Errorf("queue %s = %+v, want %+v with something ripe", name, got, want)
		}
	}
	s.take("w", "a", 5, 1)
	if got := s.queue("a"); got.Ripe != 0 || got.Next != 0 {
		s.Errorf("queue of which all is taken = %+v, want nothing ripe and nothing next", got)
	}
	s.take("w", "a", 5, 0)
	s.take("w", "b", 5, 2)
}

func queuesTellWhatIsMostUrgent(s *suite) {
	for i, tt := range []struct {
		priority int
		delay    time.Duration
		want     int
	}{{6, 0, 6}, {0, time.Minute, 6}, {3, 0, 3}, {4, 0, 3}} {
		n := s.fresh("q")
		n.Job.Priority, n.Delay = tt.priority, tt.delay
		s.put(n)
		if got := s.queue("q"); got.Ripe < 1 || got.Priority != tt.want {
			s.Errorf("job %d of priority %d, after %v: queue = %+v, want priority %d", i, tt.priority, tt.delay, got, tt.want)
		}
	}
	s.take("w", "q", 1, 1)
	if got := s.queue("q"); got.Priority != 4 {
		s.Errorf("once the most urgent is taken: queue = %+v, want priority 4", got)
	}
	s.take("w", "q", 2, 2)
	s.Advance(61 * time.Second)
	if got := s.queue("q"); got.Ripe < 1 || got.Priority != 0 {
		s.Errorf("once the delay has ended of the last: queue = %+v, want priority 0", got)
	}
}

func nothingIsTakenTooEarly(s *suite) {
	n := s.fresh("q")
	n.Delay = 30 * time.Second
	j := s.put(n)
	if j.NotBefore == nil || j.NotBefore.Sub(j.CreatedAt) != n.Delay {
		s.Errorf("not before %v after %v, want %v later", j.NotBefore, j.CreatedAt, n.Delay)
	}
	s.take("w", "q", 1, 0)
	s.next("q", 30*time.Second)
	s.Advance(20 * time.Second)
	s.take("w", "q", 1, 0)
	s.next("q", 10*time.Second)
	s.put(s.fresh("q"))
	if got := s.queue("q"); got.Ripe < 1 || got.Next != 0 {
		s.Errorf("queue with one ripe and one delayed = %+v, want the ripe one", got)
	}
	s.take("w", "q", 5, 1)
	s.next("q", 10*time.Second)
	s.Advance(11 * time.Second)
	if got := s.queue("q"); got.Ripe < 1 || got.Next != 0 {
		s.Errorf("queue after the delay = %+v, want one ripe", got)
	}
	if got := s.takeOne("w", "q"); got.ID != j.ID {
		s.Errorf("taken %s, want the delayed %s", got.ID, j.ID)
	}
	if got := s.state(j.ID, job.Running); got.NotBefore != nil {
		s.Errorf("a running job is not before %v", got.NotBefore)
	}
}

// next wants nothing ripe in a queue, and the next of it after a time that may
// have passed in part.
func (s *suite) next(queue string, want time.Duration) {
	s.Helper()
	got := s.queue(queue)
	if got.Ripe != 0 || got.Next <= want-time.Second || got.Next > want {
		s.Errorf("queue %s = %+v, want nothing ripe until %v", queue, got, want)
	}
}

func takenIsAllThatIsToBeSent(s *suite) {
	n := s.rich("q")
	put := s.put(n)
	taken := s.take("w", "q", 1, 1)[0]
	if taken.ID != put.ID || plain(taken.Job) != plain(put) || !sameRequest(taken.Request, n.Request) {
		s.Errorf("taken %s %s %+v\nwant %s %+v", taken.ID, plain(taken.Job), taken.Request, plain(put), n.Request)
	}
	if got := s.state(put.ID, job.Waiting); plain(got) != plain(put) {
		s.Errorf("a job that is taken, and has no permit = %s\nwant %s", plain(got), plain(put))
	}
	s.must(s.Start(s.Context(), taken.Ref), "Start")
	if got := s.state(put.ID, job.Running); got.StartedAt == nil {
		s.Errorf("a job that runs = %s, want when it started", plain(got))
	}
	if err := s.Start(s.Context(), job.Ref{ID: put.ID, Fence: taken.Fence + 1}); !errors.Is(err, job.ErrFenced) {
		s.Errorf("Start with a fence that nobody has = %v, want ErrFenced", err)
	}

	bare := s.fresh("bare")
	bare.Request = job.Request{Method: http.MethodGet, Path: "/"}
	s.put(bare)
	if got := s.take("w", "bare", 1, 1)[0].Request; !sameRequest(got, bare.Request) {
		s.Errorf("taken %+v, want %+v", got, bare.Request)
	}
}

func endStoresTheResponse(s *suite) {
	id := s.put(s.fresh("q")).ID
	if _, err := s.Response(s.Context(), id); !errors.Is(err, job.ErrNotEnded) {
		s.Errorf("Response of a waiting job = %v, want ErrNotEnded", err)
	}
	taken := s.takeOne("w", "q")
	if _, err := s.Response(s.Context(), id); !errors.Is(err, job.ErrNotEnded) {
		s.Errorf("Response of a running job = %v, want ErrNotEnded", err)
	}
	want := job.Response{
		Status: 201, Header: http.Header{"Set-Cookie": {"a=1", "b=2"}, "X": {"ü"}},
		Body: append([]byte("\x00\x01\xfe"), bytes.Repeat([]byte("body "), 100_000)...),
	}
	s.end(job.End{
		Ref: taken.Ref, State: job.Done, Attempts: []job.Attempt{
			{At: T0, Status: 429, Reading: "throttled", Reason: "Retry-After: 1", DelayMS: 1000, TookMS: 20},
			{At: T0.Add(time.Second), Status: 201, Reading: "ok", TookMS: 30},
		}, Tried: 1, Response: &want, Keep: time.Hour,
	})
	got, err := s.Response(s.Context(), id)
	if err != nil || got.Status != want.Status || !sameHeader(got.Header, want.Header) || !bytes.Equal(got.Body, want.Body) {
		s.Errorf("Response = %d %v and %d bytes, error %v; want %d %v and %d bytes",
			got.Status, got.Header, len(got.Body), err, want.Status, want.Header, len(want.Body))
	}
	j := s.state(id, job.Done)
	if j.Status != 201 || len(j.Attempts) != 2 || j.Attempted != 2 || j.Tried != 1 || j.Attempts[0].DelayMS != 1000 ||
		j.EndedAt == nil || j.ExpiresAt == nil || j.ExpiresAt.Sub(*j.EndedAt).Round(time.Millisecond) != time.Hour {
		s.Errorf("done: %s", plain(j))
	}
	s.fenced(taken.Ref)

	id = s.put(s.fresh("q")).ID // of an empty answer, and one without
	s.end(job.End{Ref: s.takeOne("w", "q").Ref, State: job.Done, Response: &job.Response{Status: 204}})
	if got, err := s.Response(s.Context(), id); err != nil || got.Status != 204 || len(got.Header)+len(got.Body) != 0 {
		s.Errorf("Response = %+v, error %v; want an empty 204", got, err)
	}
	id = s.put(s.fresh("q")).ID
	s.end(job.End{Ref: s.take("w", "q", 1, 1)[0].Ref, State: job.Failed, Reason: "no route"})
	if _, err := s.Response(s.Context(), id); !errors.Is(err, job.ErrNoResponse) {
		s.Errorf("Response of a job that got none = %v, want ErrNoResponse", err)
	}
	if j := s.state(id, job.Failed); j.Reason != "no route" {
		s.Errorf("reason %q, want the one it ended with", j.Reason)
	}
}

func endKeepsTheLastAttempts(s *suite) {
	id := s.put(s.fresh("q")).ID
	for i := range 3 {
		attempts := make([]job.Attempt, job.AttemptsKept-1)
		for k := range attempts {
			attempts[k] = job.Attempt{At: T0, Status: 500 + i, TookMS: int64(k)}
		}
		s.end(job.End{Ref: s.takeOne("w", "q").Ref, State: job.Waiting, Attempts: attempts, Tried: 2})
	}
	j := s.get(id)
	if first, last := j.Attempts[0], j.Attempts[len(j.Attempts)-1]; len(j.Attempts) != job.AttemptsKept || j.Attempted != 3*(job.AttemptsKept-1) || j.Tried != 6 ||
		first.Status != 501 || first.TookMS != job.AttemptsKept-2 || last.Status != 502 || last.TookMS != job.AttemptsKept-2 {
		s.Errorf("after three times %d attempts: %s", job.AttemptsKept-1, plain(j))
	}
}

func endToWaitingIsTakenAgain(s *suite) {
	id := s.put(s.fresh("q")).ID
	first := s.takeOne("w", "q")
	s.end(job.End{Ref: first.Ref, State: job.Waiting, Delay: 20 * time.Second, Reason: "503", Tried: 1, Location: "/results/1"})
	s.state(id, job.Waiting)
	s.fenced(first.Ref)
	s.take("w", "q", 1, 0)
	s.next("q", 20*time.Second)
	s.Advance(21 * time.Second)
	second := s.takeOne("w", "q")
	if second.Job.Tried != 1 || second.Job.Location != "/results/1" || second.Job.Reason != "503" || second.Fence <= first.Fence {
		s.Errorf("taken again: %s, fence %d after %d", plain(second.Job), second.Fence, first.Fence)
	}
	s.fenced(first.Ref)
	s.end(job.End{Ref: second.Ref, State: job.Waiting, Tried: 1})
	third := s.takeOne("w", "q")
	if third.Job.Tried != 2 || third.Job.Location != "/results/1" {
		s.Errorf("taken a third time: %s, want its location as before", plain(third.Job))
	}
	s.end(job.End{Ref: third.Ref, State: job.Done})
}

func endStoresWhatFollows(s *suite) {
	call := s.put(s.fresh("q"))
	then := s.fresh(job.CallbackQueue("example.com"))
	then.Job.Kind, then.Job.Parent, then.Job.Upstream = job.Callback, call.ID, ""
	then.Request = job.Request{Method: http.MethodPost, Path: "https://example.com/hook", Body: []byte("ended")}
	then.Delay = 10 * time.Second
	late := s.takeOne("w", "q")
	s.pass(10 * time.Second)
	if err := s.End(s.Context(), job.End{Ref: late.Ref, State: job.Done, Then: &then}); !errors.Is(err, job.ErrFenced) {
		s.Errorf("End of a lost job = %v, want ErrFenced", err)
	}
	if _, err := s.Get(s.Context(), then.Job.ID); !errors.Is(err, job.ErrNotFound) {
		s.Errorf("Get of what follows an End that was refused = %v, want ErrNotFound", err)
	}
	s.end(job.End{Ref: s.takeOne("w", "q").Ref, State: job.Done, Then: &then})
	if got := s.state(then.Job.ID, job.Waiting); got.Kind != job.Callback || got.Parent != call.ID || got.NotBefore == nil {
		s.Errorf("what follows: %s", plain(got))
	}
	s.Advance(11 * time.Second)
	taken := s.takeOne("w", then.Job.Queue)
	if taken.ID != then.Job.ID || !sameRequest(taken.Request, then.Request) {
		s.Errorf("taken %s %+v, want %s %+v", taken.ID, taken.Request, then.Job.ID, then.Request)
	}
}

func endTellsWhenItStarted(s *suite) {
	id := s.put(s.fresh("q")).ID
	s.Advance(time.Minute)
	sent := func(after time.Duration) []job.Attempt {
		return []job.Attempt{{At: T0.Add(after)}, {At: T0.Add(after + time.Second)}}
	}
	for _, tt := range []struct {
		attempts []job.Attempt
		want     time.Time // zero: none
	}{
		{nil, time.Time{}},
		{sent(20 * time.Second), T0.Add(20 * time.Second)},
		{nil, T0.Add(20 * time.Second)},
		{sent(30 * time.Second), T0.Add(30 * time.Second)},
	} {
		s.end(job.End{Ref: s.take("w", "q", 1, 1)[0].Ref, State: job.Waiting, Attempts: tt.attempts})
		var got time.Time
		if j := s.get(id); j.StartedAt != nil {
			got = *j.StartedAt
		}
		if !got.Equal(tt.want) {
			s.Errorf("taken, not marked as started, and sent at %v: started at %v, want %v", tt.attempts, got, tt.want)
		}
	}
	running := s.takeOne("w", "q")
	before := s.get(id).StartedAt
	s.end(job.End{Ref: running.Ref, State: job.Done, Attempts: sent(40 * time.Second)})
	if got := s.get(id).StartedAt; got == nil || !got.Equal(*before) {
		s.Errorf("marked as started at %v, and in the end at %v", before, got)
	}
}

// fenced wants that r counts for nothing any more, and changes nothing.
func (s *suite) fenced(r job.Ref) {
	s.Helper()
	before := s.get(r.ID)
	if err := s.Start(s.Context(), r); !errors.Is(err, job.ErrFenced) {
		s.Errorf("Start by who holds the job no more = %v, want ErrFenced", err)
	}
	for _, state := range []job.State{job.Waiting, job.Done} {
		e := job.End{Ref: r, State: state, Reason: "late", Response: &job.Response{Status: 299}, Attempts: []job.Attempt{{At: T0}}}
		if err := s.End(s.Context(), e); !errors.Is(err, job.ErrFenced) {
			s.Errorf("End by who holds the job no more = %v, want ErrFenced", err)
		}
	}
	if after := s.get(r.ID); plain(after) != plain(before) {
		s.Errorf("a refused worker made of %s\n%s", plain(before), plain(after))
	}
}

func lateWorkersAreFenced(s *suite) {
	id := s.put(s.fresh("q")).ID
	dead := s.takeOne("dead", "q")
	s.pass(10 * time.Second)
	s.fenced(dead.Ref)
	alive := s.takeOne("alive", "q")
	s.fenced(dead.Ref)
	s.end(job.End{Ref: alive.Ref, State: job.Done, Response: &job.Response{Status: 200}})
	s.fenced(dead.Ref)
	if got, err := s.Response(s.Context(), id); err != nil || got.Status != 200 {
		s.Errorf("Response = %d, error %v; want the 200 of who held it", got.Status, err)
	}
}

func onlyWhatRanIsLost(s *suite) {
	ran, held := s.put(s.fresh("q")), s.put(s.fresh("q"))
	taken := s.take("w", "q", 2, 2)
	s.must(s.Start(s.Context(), taken[0].Ref), "Start")
	s.pass(10 * time.Second)
	if got := s.state(ran.ID, job.Waiting); got.Losses != 1 || got.Attempted != 0 || got.Tried != 0 || got.Reason == "" {
		s.Errorf("what ran: %s, want one loss, with its reason, and no attempt", plain(got))
	}
	if got := s.state(held.ID, job.Waiting); plain(got) != plain(held) {
		s.Errorf("what was only taken = %s\nwant %s", plain(got), plain(held))
	}
	s.fenced(taken[0].Ref)
	s.fenced(taken[1].Ref)
	s.take("other", "q", 5, 2)
}

func keepHoldsOffLoss(s *suite) {
	for range 2 {
		s.put(s.fresh("q"))
	}
	kept, left := s.takeOne("kept", "q"), s.takeOne("left", "q")
	s.pass(20*time.Second, "kept")
	s.state(kept.ID, job.Running)
	s.state(left.ID, job.Waiting)
	s.end(job.End{Ref: kept.Ref, State: job.Done})
}

func lossesAreCounted(s *suite) {
	id := s.put(s.fresh("q")).ID
	for i := range 3 {
		if got := s.state(id, job.Waiting); got.Losses != i {
			s.Fatalf("%d losses after %d", got.Losses, i)
		}
		s.takeOne(fmt.Sprint("w", i), "q")
		s.pass(10 * time.Second)
	}
	taken := s.take("w", "q", 1, 1)[0]
	if taken.Job.Losses != 3 || taken.Job.Reason != job.LostReason {
		s.Errorf("lost three times: %s", plain(taken.Job))
	}
	s.end(job.End{Ref: taken.Ref, State: job.Failed, Reason: "lost too often"})
	j, err := s.Retry(s.Context(), id)
	if err != nil || j.Losses != 0 {
		s.Errorf("Retry = %s, error %v; want no losses", plain(j), err)
	}
}

func leaveIsNoLoss(s *suite) {
	for range 3 {
		s.put(s.fresh("q"))
	}
	taken := s.take("w", "q", 2, 2)
	other := s.takeOne("other", "q")
	s.must(s.Start(s.Context(), taken[0].Ref), "Start")
	s.must(s.Leave(s.Context(), "w"), "Leave")
	for _, x := range taken {
		if got := s.state(x.ID, job.Waiting); got.Losses != 0 {
			s.Errorf("given back: %s, want no loss", plain(got))
		}
		s.fenced(x.Ref)
	}
	s.state(other.ID, job.Running)
	s.take("third", "q", 5, 2)
}
