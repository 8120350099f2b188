package worker

import (
	"errors"
	"maps"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/headgate/headgate/config"
	"github.com/headgate/headgate/internal/job"
)

func TestJobEndsWithItsAnswer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		u := &upstream{latency: 20 * time.Millisecond}
		store := newStore()
		start(t, store, openGate(t, u, map[string]config.Upstream{"api": {}}), Options{Retention: time.Hour})
		began := time.Now()
		id := put(t, store, "api", 1)[0]
		time.Sleep(5 * time.Millisecond)
		synctest.Wait()
		if got := get(t, store, id); got.State != job.Running || got.StartedAt == nil {
			t.Errorf("5 ms after it came: %+v, want it running", got)
		}
		time.Sleep(20 * time.Millisecond)
		synctest.Wait()
		got := get(t, store, id)
		if got.State != job.Done || got.Status != 200 || got.Attempted != 1 || got.EndedAt.Sub(began) != 20*time.Millisecond {
			t.Errorf("got %+v, want it done by one attempt after 20 ms", got)
		}
		if keep := got.ExpiresAt.Sub(*got.EndedAt); keep != time.Hour {
			t.Errorf("kept for %v, want 1h", keep)
		}
		r, err := store.Response(t.Context(), id)
		if err != nil || r.Status != 200 || string(r.Body) != "{}" {
			t.Errorf("response %+v, %v; want that of the upstream", r, err)
		}
		if calls := sorted(u.calls()); len(calls) != 1 || calls[0] != "/base/api/0" {
			t.Errorf("upstream saw %q", calls)
		}
	})
}

// A job whose moment comes later is not forgotten, and neither is one that
// nobody told of.
func TestJobsOfALaterMomentAreRun(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := newStore()
		id := put(t, store, "api", 1, func(n *job.New) { n.Delay = 90 * time.Second })[0]
		start(t, store, openGate(t, &upstream{}, map[string]config.Upstream{"api": {}}), Options{})
		time.Sleep(89 * time.Second)
		if got := get(t, store, id); got.State != job.Waiting {
			t.Errorf("early: %+v", got)
		}
		time.Sleep(1100 * time.Millisecond)
		if got := get(t, store, id); got.State != job.Done {
			t.Errorf("late: %+v", got)
		}
	})
}

func TestQuotaIsUsedInFull(t *testing.T) {
	bubble(t, func(t *testing.T) {
		u := &upstream{latency: 20 * time.Millisecond}
		store := newStore()
		put(t, store, "api", 600)
		start(t, store, openGate(t, u, map[string]config.Upstream{"api": {Limits: limits("50/1s")}}), Options{})
		time.Sleep(10 * time.Second)
		if done := states(t, store)[job.Done]; done < 480 || done > 551 {
			t.Errorf("%d done after 10 s at 50/1s, want about 500", done)
		}
		time.Sleep(5 * time.Second)
		if counts := states(t, store); counts[job.Done] != 600 {
			t.Errorf("after 15 s %v, want 600 done", counts)
		}
	})
}

func TestCancelledJobIsCutOff(t *testing.T) {
	bubble(t, func(t *testing.T) {
		u := &upstream{latency: time.Hour}
		store := newStore()
		var ended []JobEnded
		w := start(t, store, openGate(t, u, map[string]config.Upstream{"api": {}}),
			Options{Events: Events{JobEnded: func(e JobEnded) { ended = append(ended, e) }}})
		id := put(t, store, "api", 1)[0]
		time.Sleep(time.Second)
		if _, err := store.Cancel(t.Context(), id, "not wanted", nil); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if len(ended) != 1 || ended[0].State != job.Cancelled || ended[0].Err != nil {
			t.Errorf("events %+v, want the job cut off at once, and no error of it", ended)
		}
		if got := get(t, store, id); got.State != job.Cancelled || got.Reason != "not wanted" {
			t.Errorf("got %+v, want it cancelled", got)
		}
		if n := w.held.room(heldMost); n != heldMost {
			t.Errorf("the worker still holds %d jobs", heldMost-n)
		}
	})
}

func TestStopGivesBackWhatHasNoPermitAndLetsTheRestEnd(t *testing.T) {
	bubble(t, func(t *testing.T) {
		u := &upstream{latency: 10 * time.Second}
		store := newStore()
		put(t, store, "api", 50)
		w := start(t, store, openGate(t, u, map[string]config.Upstream{"api": {Limits: limits("concurrent:4")}}), Options{})
		time.Sleep(time.Second)
		w.stop(errStopped)
		synctest.Wait()
		if counts := states(t, store); counts[job.Running] != 4 || counts[job.Waiting] != 46 {
			t.Errorf("once stopped %v, want 4 running and 46 waiting", counts)
		}
		if taken, err := store.Take(t.Context(), "another", job.Queue("api", "", ""), 100); len(taken) != 46 || err != nil {
			t.Errorf("another worker can take %d, %v; want 46", len(taken), err)
		}
		store.Leave(t.Context(), "another")
		time.Sleep(9*time.Second + time.Millisecond)
		select {
		case err := <-w.stopped:
			if err != nil {
				t.Errorf("Run = %v", err)
			}
		default:
			t.Error("Run goes on although the last call has ended")
		}
		if counts := states(t, store); counts[job.Done] != 4 {
			t.Errorf("at the end %v, want 4 done", counts)
		}
	})
}

func TestEndOfWorkingCutsOffAndLosesNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := newStore()
		ids := put(t, store, "api", 3)
		w := start(t, store, openGate(t, &upstream{latency: time.Hour}, map[string]config.Upstream{"api": {}}), Options{})
		time.Sleep(time.Second)
		w.stop(errStopped)
		w.cut(errStopped)
		if err := <-w.stopped; err != nil {
			t.Errorf("Run = %v", err)
		}
		for _, id := range ids {
			got := get(t, store, id)
			if got.State != job.Waiting || got.Losses != 0 || got.Attempted != 1 || got.Tried != 0 {
				t.Errorf("got %+v, want it waiting, with no loss and nothing tried", got)
			}
		}
	})
}

// Redis may restart in the moment when a call has been answered.
func TestResultsOutliveAStoreThatIsAway(t *testing.T) {
	bubble(t, func(t *testing.T) {
		u := &upstream{latency: time.Second}
		store := &faulty{Memory: newStore()}
		var changes []bool
		start(t, store, openGate(t, u, map[string]config.Upstream{"api": {}}),
			Options{Events: Events{StoreChanged: func(c StoreChanged) { changes = append(changes, c.Err == nil) }}})
		ids := put(t, store, "api", 20)
		time.Sleep(500 * time.Millisecond)
		store.away.Store(true)
		time.Sleep(2 * time.Second)
		store.away.Store(false)
		time.Sleep(2 * time.Second)
		for _, id := range ids {
			if got := get(t, store, id); got.State != job.Done || got.Attempted != 1 || got.Losses != 0 {
				t.Errorf("got %+v, want it done by its one attempt", got)
			}
		}
		if n := u.total(); n != 20 {
			t.Errorf("the upstream saw %d calls, want 20", n)
		}
		if len(changes) != 2 || changes[0] || !changes[1] {
			t.Errorf("told of %v, want that the store went and came back", changes)
		}
	})
}

// An answer that the store can never take must not hold the job for ever; one for
// which there is no room now may come in later.
func TestAnswerThatCannotBeStoredFailsTheJob(t *testing.T) {
	for _, test := range []struct {
		err    error
		state  job.State
		reason string
	}{
		{errors.New("row too big"), job.Failed, "what became of it could not be stored: row too big"},
		{job.ErrFull, job.Running, ""},
	} {
		bubble(t, func(t *testing.T) {
			store := &faulty{Memory: newStore(), refuse: func(e job.End) error {
				if e.Response != nil {
					return test.err
				}
				return nil
			}}
			u := &upstream{latency: time.Second}
			start(t, store, openGate(t, u, map[string]config.Upstream{"api": {}}), Options{})
			id := put(t, store, "api", 1)[0]
			time.Sleep(30 * time.Second)
			if got := get(t, store, id); got.State != test.state || got.Reason != test.reason || u.total() != 1 {
				t.Errorf("%v: got %+v after %d calls, want it %s (%q) after one", test.err, got, u.total(), test.state, test.reason)
			}
		})
	}
}

// What the worker holds by a lease that has lapsed may be another's by now.
func TestNothingIsSentUnderALapsedLease(t *testing.T) {
	bubble(t, func(t *testing.T) {
		u := &upstream{latency: 10 * time.Second}
		store := &faulty{Memory: newStore()}
		start(t, store, openGate(t, u, map[string]config.Upstream{"api": {Limits: limits("concurrent:1")}}), Options{})
		put(t, store, "api", 3)
		time.Sleep(5 * time.Second)
		store.away.Store(true)
		time.Sleep(15 * time.Second) // the first call ends, and its permit comes to the next
		if n := u.total(); n != 1 {
			t.Errorf("the upstream saw %d calls while the lease had lapsed, want only the one before", n)
		}
		store.away.Store(false)
		time.Sleep(time.Minute)
		if counts := states(t, store); counts[job.Done] != 3 {
			t.Errorf("at the end %v, want 3 done", counts)
		}
		if n := u.total(); n > 4 { // the first one may have been given up for lost
			t.Errorf("the upstream saw %d calls, want 3 or 4", n)
		}
	})
}

// A Take whose answer is lost leaves jobs in the hands of a worker that does not
// know of them.
func TestTakeWithALostAnswerIsGivenBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := &faulty{Memory: newStore()}
		store.take.Store(true)
		ids := put(t, store, "api", 1)
		start(t, store, openGate(t, &upstream{}, map[string]config.Upstream{"api": {}}), Options{})
		time.Sleep(4 * time.Second)
		if got := get(t, store, ids[0]); got.State != job.Done || got.Losses != 0 {
			t.Errorf("got %+v, want it done", got)
		}
	})
}

func TestDeadWorkersAreTakenOverWithinSeconds(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := newStore()
		put(t, store, "api", 5)
		if _, err := store.Take(t.Context(), "dead", job.Queue("api", "", ""), 5); err != nil {
			t.Fatal(err)
		}
		start(t, store, openGate(t, &upstream{}, map[string]config.Upstream{"api": {}}), Options{})
		time.Sleep(5 * time.Second)
		if counts := states(t, store); counts[job.Done] != 5 {
			t.Errorf("5 s after the other died %v, want 5 done", counts)
		}
	})
}

// A paused upstream: its backlog stays in the store, and others go on.
func TestPausedUpstreamHoldsUpNoOther(t *testing.T) {
	bubble(t, func(t *testing.T) {
		u := &upstream{answer: func(r *http.Request) *http.Response {
			if r.URL.Host == "dead.test" {
				return reply(429, "Retry-After", "3600")
			}
			return reply(200)
		}}
		store := &faulty{Memory: newStore()}
		start(t, store, openGate(t, u, map[string]config.Upstream{"dead": {}, "api": {Limits: limits("1000/1s")}}), Options{})
		put(t, store, "dead", 200)
		time.Sleep(time.Minute)
		before := store.taken()
		put(t, store, "api", 500)
		time.Sleep(2 * time.Second)
		done := 0
		for path, n := range u.calls() {
			if path[:10] == "/base/api/" {
				done += n
			}
		}
		if done != 500 {
			t.Errorf("%d calls to the other upstream, want 500", done)
		}
		time.Sleep(10 * time.Minute)
		if n := store.taken() - before; n > 150 { // some ten are for the other
			t.Errorf("%d Takes in ten minutes of pause, want few", n)
		}
		if n := u.total() - 500; n > 20 {
			t.Errorf("the paused upstream saw %d calls, want few", n)
		}
		if counts := states(t, store); counts[job.Waiting] != 200 {
			t.Errorf("of the backlog %v, want 200 waiting", counts)
		}
	})
}

func TestUnknownUpstreamMayComeBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := &faulty{Memory: newStore()}
		g := openGate(t, &upstream{}, map[string]config.Upstream{"other": {}})
		start(t, store, g, Options{})
		put(t, store, "api", 100)
		time.Sleep(time.Minute)
		page, err := store.List(t.Context(), job.Filter{Text: `unknown upstream "api"`, States: []job.State{job.Waiting}})
		if len(page.Jobs) == 0 || err != nil || page.Jobs[0].Attempted != 0 {
			t.Errorf("got %+v, %v; want some waiting that say why", page, err)
		}
		if n := store.taken(); n > 100 {
			t.Errorf("%d Takes in a minute, want few", n)
		}
		if err := g.Reload(config.Config{Upstreams: map[string]config.Upstream{"api": {URL: "http://api.test", Limits: limits("1000/1s")}}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(11 * time.Second)
		if counts := states(t, store); counts[job.Done] != 100 {
			t.Errorf("after a reload %v, want 100 done", counts)
		}
	})
}

// Modal hands out the address of a result that takes long.
func TestAnswerElsewhereIsPolled(t *testing.T) {
	bubble(t, func(t *testing.T) {
		began := time.Now()
		u := &upstream{answer: func(r *http.Request) *http.Response {
			switch {
			case r.Method == "POST":
				return reply(303, "Location", "/base/result?id=7")
			case time.Since(began) < 30*time.Second:
				return reply(303, "Location", "http://api.test/base/result?id=7")
			default:
				return reply(200)
			}
		}}
		store := newStore()
		start(t, store, openGate(t, u, map[string]config.Upstream{"api": {}}), Options{})
		id := put(t, store, "api", 1)[0]
		time.Sleep(40 * time.Second)
		got := get(t, store, id)
		if got.State != job.Done || got.Status != 200 || got.EndedAt.Sub(began) > 36*time.Second {
			t.Errorf("got %+v, want it done soon after 30 s", got)
		}
		if calls := u.calls(); calls["/base/api/0"] != 1 || calls["/base/result?id=7"] < 7 || calls["/base/result?id=7"] > 12 {
			t.Errorf("the upstream saw %v, want the request once and about nine polls", calls)
		}
	})
}

func TestRequestIsSentAsItWasStored(t *testing.T) {
	bubble(t, func(t *testing.T) {
		stored := http.Header{"Content-Type": {"application/json"}, "Priority": {"u=0"}, "X-Stainless-Timeout": {"1"}, "X": {"y"}}
		u := &upstream{answer: func(r *http.Request) *http.Response {
			want := http.Header{"X": {"y"}, "Priority": {"u=6"}}
			if r.Method == "PUT" {
				want.Set("Content-Type", "application/json")
			}
			if !maps.EqualFunc(r.Header, want, slices.Equal) {
				t.Errorf("%s sent with %v, want %v", r.Method, r.Header, want)
			}
			if r.Method == "PUT" {
				return reply(303, "Location", "/base/result")
			}
			return reply(200)
		}}
		store := newStore()
		start(t, store, openGate(t, u, map[string]config.Upstream{"api": {}}), Options{})
		put(t, store, "api", 1, func(n *job.New) {
			n.Job.Priority = 6
			n.Request = job.Request{Method: "PUT", Path: "//a%2Fb?c=%20d", Header: stored, Body: []byte("{}")}
		})
		time.Sleep(5 * time.Second)
		if calls := sorted(u.calls()); !slices.Equal(calls, []string{"/base//a%2Fb?c=%20d", "/base/result"}) {
			t.Errorf("the upstream saw %q, want the path as it was stored, and then the result's", calls)
		}
		if len(stored) != 4 {
			t.Errorf("what the store handed out was changed to %v", stored)
		}
	})
}
