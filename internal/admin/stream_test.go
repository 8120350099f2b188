package admin

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/headgate/headgate"
	"github.com/headgate/headgate/internal/dialect"
	"github.com/headgate/headgate/internal/job"
)

func TestStreamBeginsWithASnapshotAndWhatCameBefore(t *testing.T) {
	feed := new(Feed)
	feed.Events().Retried(headgate.Retried{Upstream: "openai", Attempt: 1, Of: 5, Delay: 2 * time.Second, Reason: "too many", Status: 429, RetryAfter: "2"})
	s := openStream(t, feed, &fakeGate{status: headgate.Status{Upstreams: []headgate.UpstreamStatus{{Name: "openai", Line: headgate.LineStatus{Length: 3}}}}})
	var first tick
	s.read(t, "snapshot", &first)
	if len(first.Status.Upstreams) != 1 || first.Status.Upstreams[0].Line.Length != 3 || first.History == nil {
		t.Errorf("snapshot = %+v, want status and history", first)
	}
	var n note
	s.read(t, "retry", &n)
	if n.Upstream != "openai" || n.Status != 429 || n.RetryAfter != "2" || *n.DelayMS != 2000 || n.Seq != 1 {
		t.Errorf("retry = %+v, want what was told before", n)
	}
	feed.Events().Paused(headgate.Paused{Upstream: "openai", Until: time.Now(), Reason: "by hand"})
	s.read(t, "pause", &n)
	feed.Events().BreakerChanged(headgate.BreakerChanged{Upstream: "openai", Reason: "by hand"})
	s.read(t, "breaker", &n)
	s.admin.Hear(job.Notice{ID: "job_1", State: job.Done})
	if s.read(t, "job", &n); n.Job != "job_1" || n.State != "done" {
		t.Errorf("job = %+v, want job_1 done", n)
	}
	send(s.admin, "POST", "/api/v1/upstreams/openai/resume", "")
	if s.read(t, "change", &n); n.Request != "POST /api/v1/upstreams/openai/resume" {
		t.Errorf("change = %+v, want the request", n)
	}
	var second tick
	if s.read(t, "status", &second); second.History != nil || len(second.Status.Upstreams) != 1 {
		t.Errorf("status = %+v, want the status alone", second)
	}
}

func TestStreamEndsWithTheInstance(t *testing.T) {
	s := openStream(t, new(Feed), &fakeGate{})
	s.read(t, "snapshot", new(tick))
	s.stop()
	for s.lines.Scan() {
	}
	if w := get(s.admin, "/api/v1/events"); w.Code != http.StatusServiceUnavailable {
		t.Errorf("events of an instance that stops = %d, want 503", w.Code)
	}
}

func TestSlowListenersAreDropped(t *testing.T) {
	f := new(Feed)
	slow, _ := f.listen(0)
	quick, _ := f.listen(0)
	for range listenerBehind + 1 {
		f.send([]byte("x"))
		<-quick.messages
	}
	select {
	case <-slow.lost:
	default:
		t.Error("who reads nothing is still told")
	}
	select {
	case <-quick.lost:
		t.Error("who reads is dropped")
	default:
	}
	f.leave(slow)
	f.leave(quick)
	if listened, _ := f.listened(); listened {
		t.Error("somebody listens still")
	}
}

func TestListenersAreBounded(t *testing.T) {
	f := new(Feed)
	for range listenersMost {
		if l, _ := f.listen(0); l == nil {
			t.Fatal("refused below the bound")
		}
	}
	if l, _ := f.listen(0); l != nil {
		t.Errorf("let in number %d", listenersMost+1)
	}
}

func TestLateComersGetTheLastNotes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := new(Feed)
		for i := range notesKept + 50 {
			f.Events().Paused(headgate.Paused{Upstream: fmt.Sprint(i)})
			time.Sleep(time.Second)
		}
		l, late := f.listen(0)
		if len(late) != notesKept || late[0].Upstream != "50" || late[notesKept-1].Upstream != fmt.Sprint(notesKept+49) {
			t.Errorf("%d notes from %s, want the last %d in order", len(late), late[0].Upstream, notesKept)
		}
		f.leave(l)
		if _, late := f.listen(late[notesKept-3].Seq); len(late) != 2 {
			t.Errorf("behind the last but two come %d notes, want 2", len(late))
		}
		if _, late := f.listen(1 << 40); len(late) != notesKept {
			t.Errorf("behind a note of another process come %d, want all", len(late))
		}
	})
}

func TestNotesThatComeTooFastAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := new(Feed)
		for range notesPerSecond + 30 {
			f.Events().Retried(headgate.Retried{})
			f.hear(job.Notice{ID: "x"})
		}
		if _, skipped := f.listened(); skipped != 30 {
			t.Errorf("%d skipped, want 30", skipped)
		}
	})
}

func TestNothingIsMadeWhileNobodyListens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &countingJobs{}
		a := New(Options{Listen: "127.0.0.1:1", Gate: &fakeGate{}, Metrics: http.NotFoundHandler(), Jobs: g})
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { a.Run(ctx) })
		time.Sleep(10*time.Second + 500*time.Millisecond) // between two seconds
		if n := g.asked.Load(); n != 0 {
			t.Errorf("the store of jobs was asked %d times for nobody", n)
		}
		l, _ := a.options.Feed.listen(0)
		other, _ := a.options.Feed.listen(0)
		time.Sleep(3 * time.Second)
		if n := g.asked.Load(); n != 3 || len(l.messages) != 3 || len(other.messages) != 3 {
			t.Errorf("asked %d times for %d and %d messages in 3 s, want 3 each", n, len(l.messages), len(other.messages))
		}
		stop()
		running.Wait()
		<-l.lost
	})
}

// countingJobs counts how often it is asked for numbers.
type countingJobs struct {
	job.Records
	asked atomic.Int64
}

func (c *countingJobs) Counts(context.Context) (map[job.State]int64, error) {
	c.asked.Add(1)
	return nil, nil
}

func TestHistoryKeepsTenMinutes(t *testing.T) {
	var h history
	f := new(Feed)
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	status := func(used int64, names ...string) *headgate.Status {
		var s headgate.Status
		for _, name := range names {
			s.Upstreams = append(s.Upstreams, headgate.UpstreamStatus{
				Name: name, Line: headgate.LineStatus{Length: int(used)},
				Credentials: []headgate.CredentialStatus{{Limits: []headgate.LimitStatus{{Limit: "50/1m", Used: used, InForce: 50}}}},
			})
		}
		return &s
	}
	for i := range int64(700) {
		names := []string{"a"}
		if i >= 690 {
			names = append(names, "late")
		}
		f.attemptEnded(headgate.AttemptEnded{Upstream: "a", Reading: dialect.Reading{Class: dialect.Throttled}})
		h.add(at.Add(time.Duration(i)*time.Second), status(i, names...), f)
	}
	r := h.report()
	if !r.End.Equal(at.Add(699*time.Second)) || len(r.Upstreams) != 2 {
		t.Fatalf("history ends at %v with %d upstreams, want the last step and 2", r.End, len(r.Upstreams))
	}
	a, late := r.Upstreams[0], r.Upstreams[1]
	if used := a.Limits[0].Used; len(used) != historySteps || used[0] != 100 || used[historySteps-1] != 699 || a.Limits[0].InForce[0] != 50 {
		t.Errorf("used = %d steps from %d to %d, want 600 from 100 to 699", len(used), used[0], used[len(used)-1])
	}
	if n := a.Attempts["throttled"]; len(n) != historySteps || n[5] != 1 || a.Attempts["ok"][5] != 0 {
		t.Errorf("throttled = %v …, want one each second", n[:6])
	}
	if len(late.Line) != 10 || late.Line[0] != 690 {
		t.Errorf("line of the late one = %v, want its own 10 steps", late.Line)
	}
}

// The largest history and status that are shown stay below a megabyte.
func TestSnapshotIsBounded(t *testing.T) {
	var s headgate.Status
	for u := range 3 {
		x := headgate.UpstreamStatus{Name: fmt.Sprint("upstream", u), URL: "https://api.example.com"}
		for c := range 500 { // callers bring credentials of their own
			x.Credentials = append(x.Credentials, headgate.CredentialStatus{
				Credential: fmt.Sprintf("caller's %x", c), Waiting: c,
				Limits: []headgate.LimitStatus{{Limit: "500/1m", Scope: "credential", Used: 499}, {Limit: "tokens:200000/1m", Used: 199_999, InForce: 200_000}, {Limit: "concurrent:64"}},
			})
		}
		s.Upstreams = append(s.Upstreams, x)
	}
	a := New(Options{Listen: "127.0.0.1:1", Gate: &fakeGate{status: s}, Metrics: http.NotFoundHandler()})
	for i := range 600 {
		a.history.add(time.Unix(int64(i), 0), &s, a.options.Feed)
	}
	start := time.Now()
	message := a.first(t.Context())
	t.Logf("%d bytes in %v", len(message), time.Since(start))
	if len(message) > 1<<20 {
		t.Errorf("snapshot of %d bytes, want at most 1 MiB", len(message))
	}
	var first tick
	if err := json.Unmarshal([]byte(strings.TrimPrefix(string(message), "event: snapshot\ndata: ")), &first); err != nil {
		t.Fatal(err)
	}
	if c := first.Status.Upstreams[0].Credentials; len(c) != credentialsShown || c[0].Waiting != 499 {
		t.Errorf("%d credentials, the first with %d waiting, want the %d with most to do", len(c), c[0].Waiting, credentialsShown)
	}
}

// eventStream is a stream that is being read.
type eventStream struct {
	admin *Admin
	lines *bufio.Scanner
	stop  func() // the instance
}

func openStream(t *testing.T, feed *Feed, g Gate) *eventStream {
	t.Helper()
	a := New(Options{Listen: "127.0.0.1:0", Gate: g, Feed: feed, Metrics: http.NotFoundHandler()})
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { a.Run(ctx) })
	server := httptest.NewServer(a)
	req, err := http.NewRequestWithContext(ctx, "GET", server.URL+"/api/v1/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := server.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(); resp.Body.Close(); running.Wait(); server.Close() })
	if kind := resp.Header.Get("Content-Type"); kind != "text/event-stream" {
		t.Fatalf("events are %s, want text/event-stream", kind)
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	return &eventStream{a, lines, func() { stop(); running.Wait() }}
}

// read reads up to the next event of a kind.
func (s *eventStream) read(t *testing.T, kind string, into any) {
	t.Helper()
	for event := ""; s.lines.Scan(); {
		if name, ok := strings.CutPrefix(s.lines.Text(), "event: "); ok {
			event = name
		}
		if data, ok := strings.CutPrefix(s.lines.Text(), "data: "); ok && event == kind {
			if err := json.Unmarshal([]byte(data), into); err != nil {
				t.Fatalf("%s: %v\n%s", kind, err, data)
			}
			return
		}
	}
	t.Fatalf("the stream ended before %s", kind)
}
