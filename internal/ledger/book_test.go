package ledger

import (
	"testing"
	"time"

	"github.com/headgate/headgate/internal/limit"
)

// ruleOf reads a rule as "limit", "upstream limit" or "/path limit".
func ruleOf(t testing.TB, scope Scope, path, text string) Rule {
	t.Helper()
	l, err := limit.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return Rule{Limit: l, Scope: scope, Path: path}
}

func rulesOf(t testing.TB, texts ...string) (rules []Rule) {
	t.Helper()
	for _, text := range texts {
		rules = append(rules, ruleOf(t, PerCredential, "", text))
	}
	return rules
}

func newBook(t testing.TB, opts Options, texts ...string) *Book {
	t.Helper()
	return New(rulesOf(t, texts...), opts, t0).Book("key", t0)
}

// mustGrant takes n permits that have to be ready.
func mustGrant(t testing.TB, b *Book, now time.Time, ask Ask, n int) (ids []ID) {
	t.Helper()
	for i := range n {
		if wait, ok := b.Ready(now, &ask); !ok {
			t.Fatalf("after %v: permit %d of %d not ready: %v, %q", now.Sub(t0), i+1, n, wait.At, wait.Limit)
		}
		ids = append(ids, b.Grant(now, &ask))
	}
	return ids
}

// wantWait asks for a permit that has to be held back until after d.
func wantWait(t testing.TB, b *Book, now time.Time, ask Ask, d time.Duration, limit string) {
	t.Helper()
	wait, ok := b.Ready(now, &ask)
	if got := wait.At.Sub(now); ok || got < d || got > d+d/1000+2*ms || wait.Limit != limit {
		t.Errorf("after %v: ready %v, in %v by %q, want in %v by %q", now.Sub(t0), ok, got, wait.Limit, d, limit)
	}
}

// wantUnknown asks for a permit that something in flight has to stand in the
// way of.
func wantUnknown(t testing.TB, b *Book, now time.Time, ask Ask, limit string) {
	t.Helper()
	if wait, ok := b.Ready(now, &ask); ok || !wait.At.IsZero() || wait.Limit != limit {
		t.Errorf("after %v: ready %v, %+v, want it held back by what is in flight under %q", now.Sub(t0), ok, wait, limit)
	}
}

func wantUsed(t testing.TB, b *Book, now time.Time, want ...int64) {
	t.Helper()
	for i, s := range b.Status(now) {
		if s.Used != want[i] {
			t.Errorf("after %v: %d of %s used, want %d", now.Sub(t0), s.Used, s.Rule.Limit, want[i])
		}
	}
}

func TestReleaseIsAWindowAfterWrittenAndTheSpread(t *testing.T) {
	b := newBook(t, Options{}, "2/10s") // a spread of 250 ms, four times that in a burst
	ids := mustGrant(t, b, t0, Ask{}, 2)
	wantUnknown(t, b, t0.Add(time.Hour), Ask{}, "2/10s")
	now := t0.Add(time.Hour)
	b.Written(now, ids[0])
	wantWait(t, b, now, Ask{}, 11000*ms, "2/10s")
	b.Answered(now.Add(100*ms), ids[0])
	wantWait(t, b, now.Add(100*ms), Ask{}, 10000*ms, "2/10s")
	b.End(now, ids[1])
	mustGrant(t, b, now, Ask{}, 1)
}

func TestLateAnswerDoesNotHoldLonger(t *testing.T) {
	for _, text := range []string{"1/10s", "1/10s fixed"} {
		b := newBook(t, Options{}, text)
		id := mustGrant(t, b, t0, Ask{}, 1)[0]
		b.Written(t0, id)
		b.Answered(t0.Add(9*time.Second), id)
		b.Answered(t0.Add(15*time.Second), id)
		mustGrant(t, b, t0.Add(11010*ms), Ask{}, 1)
	}
}

func TestStrictHoldsUntilAnswered(t *testing.T) {
	b := newBook(t, Options{Strict: true}, "1/1s")
	id := mustGrant(t, b, t0, Ask{}, 1)[0]
	b.Written(t0, id)
	wantUnknown(t, b, t0.Add(time.Hour), Ask{}, "1/1s")
	b.Answered(t0.Add(time.Hour), id)
	wantWait(t, b, t0.Add(time.Hour), Ask{}, time.Second, "1/1s")
}

func TestStrictHoldsWhatWasWrittenAndNeverAnswered(t *testing.T) {
	b := newBook(t, Options{Strict: true}, "1/1s") // a spread of 30 ms, four times that in a burst
	id := mustGrant(t, b, t0, Ask{}, 1)[0]
	b.Written(t0, id)
	b.End(t0.Add(10*ms), id) // it may still be on its way
	wantWait(t, b, t0.Add(10*ms), Ask{}, 1110*ms, "1/1s")

	ledger := New(rulesOf(t, "1/1s"), Options{Strict: true}, t0)
	b = ledger.Book("key", t0)
	id = mustGrant(t, b, t0, Ask{}, 1)[0]
	b.Written(t0, id)
	ledger.Configure(rulesOf(t, "1/1s"), Options{}, t0)
	b.End(t0, id)
	wantWait(t, b, t0, Ask{}, 1120*ms, "1/1s")
}

func TestRefusalByOneLimitTakesNothingFromAnother(t *testing.T) {
	b := newBook(t, Options{}, "10/1s", "tokens:5/1m", "concurrent:3")
	heavy := Ask{Cost: Cost{limit.Tokens: 5}}
	b.Written(t0, mustGrant(t, b, t0, heavy, 1)[0])
	for range 3 {
		wantWait(t, b, t0, heavy, 61000*ms, "tokens:5/1m")
	}
	wantUsed(t, b, t0, 1, 5, 1)
}

func TestWaitNamesTheLimitThatHoldsLongest(t *testing.T) {
	b := newBook(t, Options{}, "1/1s", "1/1m", "1/3s")
	b.Written(t0, mustGrant(t, b, t0, Ask{}, 1)[0])
	wantWait(t, b, t0, Ask{}, 61000*ms, "1/1m")
	wait, _ := b.Ready(t0, &Ask{})
	if !wait.Shares(b, &Ask{}) {
		t.Error("a wait for a limit does not share it with the same ask")
	}
	if wait.Shares(b, &Ask{Cost: Cost{limit.Requests: 0}}) {
		t.Error("a wait for a limit shares it with an ask that takes nothing of it")
	}
	if (Wait{At: t0}).Shares(b, &Ask{}) {
		t.Error("a pause shares a limit")
	}
}

func TestSettledWeightIsDebtOrRefund(t *testing.T) {
	b := newBook(t, Options{}, "tokens:100/10s")
	now := t0
	id := mustGrant(t, b, now, Ask{Cost: Cost{limit.Tokens: 60}}, 1)[0]
	b.Settle(now, id, Cost{limit.Tokens: 20})
	wantUsed(t, b, now, 20)
	b.Answered(now, id)
	b.Settle(now, id, Cost{limit.Tokens: 150, "other": 9})
	wantUsed(t, b, now, 150)
	b.Settle(now, id, Cost{limit.Tokens: -1})
	wantUsed(t, b, now, 150)
	wantWait(t, b, now, Ask{}, 10*time.Second, "tokens:100/10s")
	b.Settle(now, id, Cost{limit.Tokens: 1 << 62}) // no overflow, whatever the answer says
	b.Settle(now, mustNotReady(t, b, now, id), Cost{limit.Tokens: 1 << 62})
	b.End(now, id)
	wantUsed(t, b, now, maxDebt)
}

func mustNotReady(t testing.TB, b *Book, now time.Time, id ID) ID {
	t.Helper()
	if _, ok := b.Ready(now, &Ask{}); ok {
		t.Error("ready in debt")
	}
	return id
}

func TestAttemptEstimatedAtNothingIsSettledAllTheSame(t *testing.T) {
	b := newBook(t, Options{}, "tokens:100/10s")
	id := mustGrant(t, b, t0, Ask{Cost: Cost{limit.Tokens: 0}}, 1)[0]
	b.Answered(t0, id)
	b.Settle(t0, id, Cost{limit.Tokens: 100})
	wantWait(t, b, t0, Ask{}, 10*time.Second, "tokens:100/10s")
	mustGrant(t, b, t0, Ask{Cost: Cost{limit.Tokens: -50}}, 1)
	wantUsed(t, b, t0, 100) // a weight below 0 is none
}

func TestModestAttemptsLeaveTheReserve(t *testing.T) {
	for _, text := range []string{"10/1s", "10/1s fixed", "1/1s burst 10", "concurrent:10"} {
		b := newBook(t, Options{Reserve: 0.2}, text)
		mustGrant(t, b, t0, Ask{Modest: true}, 8)
		wantUnknown(t, b, t0, Ask{Modest: true}, text)
		mustGrant(t, b, t0, Ask{}, 2)
		wantUnknown(t, b, t0, Ask{}, text)
	}
	b := newBook(t, Options{Reserve: 0.5}, "tokens:10/1s")
	mustGrant(t, b, t0, Ask{Modest: true, Cost: Cost{limit.Tokens: 10}}, 1) // else it would wait for ever
}

func TestTooHeavyNamesTheLimit(t *testing.T) {
	for text, most := range map[string]int64{"tokens:10/1s": 10, "tokens:10/1s fixed": 10, "tokens:10/1s burst 4": 4, "tokens:4/1s burst 10": 10, "concurrent:3": 3} {
		b := newBook(t, Options{}, text)
		dimension := b.tallies[0].rule.Limit.Dimension
		for w, want := range map[int64]string{most: "", most + 1: text} {
			ask := Ask{Cost: Cost{dimension: w}}
			if got := b.TooHeavy(&ask); got != want {
				t.Errorf("%s: TooHeavy(%d) = %q, want %q", text, w, got, want)
			}
			if want == "" {
				b.End(t0, mustGrant(t, b, t0, ask, 1)[0])
			}
		}
	}
}

func TestForecastCountsThoseAhead(t *testing.T) {
	b := newBook(t, Options{}, "10/1s", "tokens:100/1m")
	for ahead, want := range map[int]time.Duration{0: 0, 9: 0, 10: time.Second, 19: time.Second, 20: 2 * time.Second, 99: 9 * time.Second, 100: time.Minute} {
		if got := b.Forecast(t0, &Ask{}, ahead); got.At.Sub(t0) != want {
			t.Errorf("%d ahead: %v by %q, want %v", ahead, got.At.Sub(t0), got.Limit, want)
		}
	}
	light := Ask{Cost: Cost{limit.Tokens: 0}}
	if got := b.Forecast(t0, &light, 100); got.At.Sub(t0) != 10*time.Second || got.Limit != "10/1s" {
		t.Errorf("100 ahead, without tokens: %v by %q, want 10s by 10/1s", got.At.Sub(t0), got.Limit)
	}
	b.Pause(t0.Add(time.Hour))
	if got := b.Forecast(t0, &Ask{}, 0); got.At.Sub(t0) != time.Hour || got.Limit != "" {
		t.Errorf("paused: %v by %q, want 1h by none", got.At.Sub(t0), got.Limit)
	}
}

func TestPermitEndsOnceWhateverComesTwice(t *testing.T) {
	b := newBook(t, Options{}, "10/10s", "concurrent:10")
	id := mustGrant(t, b, t0, Ask{}, 1)[0]
	b.End(t0, ID{})
	for range 3 {
		b.Answered(t0, id)
		b.Written(t0, id)
	}
	wantUsed(t, b, t0, 1, 1)
	for range 3 {
		b.End(t0, id)
	}
	wantUsed(t, b, t0, 1, 0)
	other := mustGrant(t, b, t0, Ask{}, 1)[0]
	b.End(t0, id) // the slot is used again, its name is not
	b.Answered(t0, id)
	if b.Ended(other) || b.InFlight() != 1 || !b.Ended(id) {
		t.Errorf("in flight %d, want the second permit alone", b.InFlight())
	}
	wantUsed(t, b, t0, 2, 1)
}

// TestSteadyStateNeedsNoMemory pins what BenchmarkPermit measures.
func TestSteadyStateNeedsNoMemory(t *testing.T) {
	b, ask, now := steady(t)
	if n := testing.AllocsPerRun(1000, func() { now = pass(b, ask, now) }); n != 0 {
		t.Errorf("%v allocations for a permit, want none", n)
	}
}

func BenchmarkPermit(b *testing.B) {
	book, ask, now := steady(b)
	b.ReportAllocs()
	for b.Loop() {
		now = pass(book, ask, now)
	}
}

func steady(t testing.TB) (*Book, *Ask, time.Time) {
	b := newBook(t, Options{}, "500/1s", "tokens:100000/1m", "100/1s burst 50", "200/1s fixed", "concurrent:64")
	ask := &Ask{Cost: Cost{limit.Tokens: 12}}
	now := t0
	for range 100 {
		now = pass(b, ask, now)
	}
	return b, ask, now
}

func pass(b *Book, ask *Ask, now time.Time) time.Time {
	wait, ok := b.Ready(now, ask)
	if !ok {
		now = wait.At
	}
	id := b.Grant(now, ask)
	b.Written(now, id)
	now = now.Add(20 * ms)
	b.Answered(now, id)
	b.Accepted(now, id)
	b.End(now, id)
	return now
}
