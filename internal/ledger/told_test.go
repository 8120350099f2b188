package ledger

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/limit"
)

// learning returns a book that was configured without limits.
func learning(opts Options) *Book {
	opts.Learn = true
	return New(nil, opts, t0).Book("key", t0)
}

// fact returns what an answer tells of requests.
func fact(n, remaining int64, reset, window time.Duration) Fact {
	return Fact{Dimension: limit.Requests, N: n, Remaining: remaining, Reset: reset, Window: window}
}

func wantLimits(t *testing.T, b *Book, now time.Time, want ...string) {
	t.Helper()
	var got []string
	for _, s := range b.Status(now) {
		got = append(got, s.Text)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("limits %q, want %q", got, want)
	}
}

func TestLimitThatIsToldReplacesTheGuess(t *testing.T) {
	b := learning(Options{})
	wantLimits(t, b, t0, "learned")
	if b.Tell(t0, nil) || !b.Tell(t0, []Fact{fact(80, -1, -1, 2*time.Second)}) || b.Tell(t0, []Fact{fact(80, -1, -1, 2*time.Second)}) {
		t.Error("Tell says that limits have changed before they are told or again, or does not when they are")
	}
	wantLimits(t, b, t0, "80/2s")
	b.Tell(t0, []Fact{fact(120, -1, -1, 2*time.Second), {Dimension: limit.Tokens, N: 5000, Remaining: -1, Reset: -1, Window: time.Minute}})
	wantLimits(t, b, t0, "120/2s", "tokens:5000/1m")
	now := t0.Add(time.Minute)
	mustGrant(t, b, t0, Ask{}, 1) // it opens
	mustGrant(t, b, now, Ask{}, 119)
	wantUnknown(t, b, now, Ask{}, "120/2s")
}

func TestLimitWhoseDimensionNamesItsWindowIsTaken(t *testing.T) {
	b := learning(Options{})
	b.Tell(t0, []Fact{
		{Dimension: "requests_per_day", N: 14400, Remaining: -1, Reset: -1, Window: 24 * time.Hour},
		{Dimension: "tokens_per_minute:project", N: 5000, Remaining: -1, Reset: -1, Window: time.Minute},
		{Dimension: "input_tokens", N: 5000, Remaining: -1, Reset: -1, Window: time.Minute}, // of which nobody knows the weight
	})
	wantLimits(t, b, t0, "learned", "14400/1d", "tokens:5000/1m")
	if room, counts := b.Room(limit.Tokens); room != 5000 || !counts {
		t.Errorf("Room = %d, %t, want 5000", room, counts)
	}
	if room, counts := b.Room("images"); counts {
		t.Errorf("Room of what nobody counts = %d, want none", room)
	}
}

func TestGuessStaysBesideALongWindow(t *testing.T) {
	b := learning(Options{})
	b.Tell(t0, []Fact{fact(5000, -1, -1, time.Hour)})
	wantLimits(t, b, t0, "learned", "5000/1h")
	b.Tell(t0, []Fact{fact(100, -1, -1, time.Minute)})
	wantLimits(t, b, t0, "5000/1h", "100/1m")
}

func TestWhatIsInFlightCountsUnderALimitThatIsTold(t *testing.T) {
	b := learning(Options{})
	var ids []ID
	now := t0
	for range 3 {
		ids = append(ids, mustGrant(t, b, now, Ask{}, 1)...)
		now = now.Add(20 * ms)
	}
	b.Written(now, ids[1])
	b.Written(now, ids[2])
	b.Answered(now, ids[2])
	b.Tell(now, []Fact{fact(10, -1, -1, time.Second)})
	wantUsed(t, b, now, 2)
	b.Answered(now, ids[1])
	b.End(now, ids[0]) // never written
	wantUsed(t, b, now, 1)
	b.End(now, ids[1])
	b.End(now, ids[2])
	wantUsed(t, b, now.Add(1100*ms), 0)
}

func TestNoMoreIsLeftThanTheUpstreamSays(t *testing.T) {
	for name, test := range map[string]struct {
		fact Fact
		used int64 // of 100/10s, of which this instance knows of 10
		free time.Duration
	}{
		"less left":               {fact(100, 60, 4*time.Second, 10*time.Second), 40, 4 * time.Second},
		"as much left as we know": {fact(100, 90, 4*time.Second, 10*time.Second), 10, 0},
		"more left":               {fact(100, 95, 4*time.Second, 10*time.Second), 10, 0},
		"none left":               {fact(100, 0, 4*time.Second, 10*time.Second), 100, 4 * time.Second},
		"no reset":                {fact(100, 60, -1, 10*time.Second), 40, 10 * time.Second},
		"reset after the window":  {fact(100, 60, time.Hour, 10*time.Second), 40, 10 * time.Second},
		"reset now":               {fact(100, 60, 0, 10*time.Second), 40, ms},
		"more left than there is": {fact(100, 101, 4*time.Second, 10*time.Second), 10, 0},
		"no number":               {fact(-1, 60, 4*time.Second, 10*time.Second), 40, 4 * time.Second},
		"no remaining":            {fact(100, -1, 4*time.Second, 10*time.Second), 10, 0},
		"another window":          {fact(100, 0, 4*time.Second, 20*time.Second), 10, 0},
	} {
		b := newBook(t, Options{}, "100/10s")
		for _, id := range mustGrant(t, b, t0, Ask{}, 10) {
			b.Answered(t0, id)
		}
		now := t0.Add(time.Second)
		b.Tell(now, []Fact{test.fact})
		if got := b.Status(now)[0].Used; got != test.used {
			t.Errorf("%s: %d used, want %d", name, got, test.used)
		}
		if test.free > 0 {
			b.Ready(now.Add(test.free+50*ms), &Ask{})
			if got := b.Status(now.Add(test.free + 50*ms))[0].Used; got > 10 {
				t.Errorf("%s: %d used after %v, want no more than our own", name, got, test.free)
			}
		}
	}
}

func TestConfiguredLimitFollowsALowerOneThatIsTold(t *testing.T) {
	b := newBook(t, Options{Learn: false}, "100/10s")
	for _, step := range []struct{ told, want int64 }{{50, 50}, {80, 80}, {500, 100}, {0, 100}, {-1, 100}, {20, 20}, {100, 100}} {
		b.Tell(t0, []Fact{fact(step.told, -1, -1, 10*time.Second)})
		if got := b.Status(t0)[0].InForce; got != step.want {
			t.Errorf("told %d: %d in force, want %d", step.told, got, step.want)
		}
	}
	wantLimits(t, b, t0, "100/10s")
}

func TestPresetGivesWayToWhatAnswersTell(t *testing.T) {
	rules := rulesOf(t, "100/1s", "10/1s burst 20", "concurrent:5")
	for i := range rules {
		rules[i].Source = Told
	}
	l := New(rules, Options{Learn: true}, t0)
	b := l.Book("key", t0)
	if got := b.Status(t0)[0].Confidence; got != Low {
		t.Errorf("confidence in a preset %v, want low", got)
	}
	b.Tell(t0, []Fact{{Dimension: "requests:live", N: 400, Remaining: -1, Reset: -1, Window: time.Second}})
	wantLimits(t, b, t0, "400/1s", "10/1s burst 20", "concurrent:5")
	if got := b.Status(t0)[0].Confidence; got != High {
		t.Errorf("confidence in what answers tell %v, want high", got)
	}
	l.Configure(rules, Options{Learn: true}, t0)
	wantLimits(t, b, t0, "400/1s", "10/1s burst 20", "concurrent:5")
}

func TestWindowIsConcludedFromResets(t *testing.T) {
	b := learning(Options{})
	now := t0
	mustGrant(t, b, now, Ask{}, 1)
	for _, step := range []struct {
		reset time.Duration
		want  string
	}{
		{-1, "learned"}, {0, "learned"}, {700 * ms, "60/1s"}, {9 * time.Second, "60/10s"}, {2 * time.Second, "60/10s"}, {47 * time.Minute, "60/1h"}, {ms, "60/1h"}, {25 * time.Hour, "60/1h"},
	} {
		b.Tell(now, []Fact{{Dimension: limit.Requests, N: 60, Remaining: 50, Reset: step.reset}})
		if got := b.Status(now); got[len(got)-1].Text != step.want || got[len(got)-1].Confidence != Low {
			t.Errorf("reset in %v: %s with confidence %v, want %s with low", step.reset, got[len(got)-1].Text, got[len(got)-1].Confidence, step.want)
		}
	}
	if got := b.Status(now)[0].Used; got < 10 {
		t.Errorf("%d of 60 used, want the 10 that the upstream has counted", got)
	}
}

func TestGarbageIsNotBelieved(t *testing.T) {
	b := learning(Options{})
	for _, f := range []Fact{
		{},
		{Dimension: limit.Requests},
		{Dimension: "images", N: 5, Remaining: 5, Reset: 5, Window: time.Second},
		{Dimension: limit.InFlight, N: 5, Remaining: 5, Reset: 5, Window: time.Second},
		fact(0, 0, 0, time.Second),
		fact(-5, -5, -5, -5),
		fact(10, -5, -5, -time.Hour),
		fact(10, 5, 5, 999*ms),
		fact(10, 5, 5, 367*24*time.Hour),
		fact(math.MaxInt64, math.MaxInt64, math.MaxInt64, time.Second),
		fact(math.MinInt64, math.MinInt64, math.MinInt64, math.MinInt64),
	} {
		if b.Tell(t0, []Fact{f}) {
			t.Errorf("Tell(%+v) took a limit over", f)
		}
	}
	wantLimits(t, b, t0, "learned")
	var many []Fact
	for i := range 1000 {
		many = append(many, Fact{Dimension: fmt.Sprint("requests:", i), N: 100, Remaining: 100, Reset: -1, Window: time.Minute})
	}
	b.Tell(t0, many)
	if got := len(b.Status(t0)); got != mostTold {
		t.Errorf("%d limits of 1000 that were told, want %d", got, mostTold)
	}
	mustGrant(t, b, t0, Ask{}, 100)
}

func TestHeavyCallPassesALimitThatWasLowered(t *testing.T) {
	b := newBook(t, Options{}, "tokens:1000/1s")
	b.Tell(t0, []Fact{{Dimension: limit.Tokens, N: 100, Remaining: -1, Reset: -1, Window: time.Second}})
	ask := Ask{Cost: Cost{limit.Tokens: 900}}
	if got := b.TooHeavy(&ask); got != "" {
		t.Errorf("too heavy for %q, want to pass once", got)
	}
	mustGrant(t, b, t0, ask, 1)
}

func TestNewsIsToldOnceAMinute(t *testing.T) {
	b := learning(Options{})
	now := t0
	if got := b.News(now); got != nil {
		t.Errorf("news of a guess that has not settled: %v", got)
	}
	b.Tell(now, []Fact{fact(80, -1, -1, 2*time.Second)})
	for _, step := range []struct {
		after time.Duration
		told  int64
		want  int
	}{{0, 80, 1}, {0, 80, 0}, {time.Second, 90, 0}, {quiet, 90, 1}, {quiet, 90, 0}, {quiet, 91, 1}} {
		now = now.Add(step.after)
		b.Tell(now, []Fact{fact(step.told, -1, -1, 2*time.Second)})
		if got := b.News(now); len(got) != step.want {
			t.Errorf("after %v, told %d: %d news, want %d", now.Sub(t0), step.told, len(got), step.want)
		}
	}
}

func TestNewsTellsOfAGuessThatHasSettled(t *testing.T) {
	b := learning(Options{})
	l := &b.tallies[0].learn
	now := t0
	for i, want := range []int{0, 1, 0} {
		(learnStep{after: 70 * time.Second, do: "accept", rate: 100}).drive(l, now)
		now = now.Add(70 * time.Second)
		l.n = 1000
		l.strike(now, true)
		got := b.News(now)
		if len(got) != want {
			t.Errorf("refusal %d: %d news, want %d", i, len(got), want)
		}
	}
	for _, step := range []struct {
		after time.Duration
		want  Confidence
	}{{0, High}, {11 * time.Minute, Medium}, {61 * time.Minute, Low}} {
		if got := b.Status(now.Add(step.after))[0].Confidence; got != step.want {
			t.Errorf("confidence %v after the last refusal: %v, want %v", step.after, got, step.want)
		}
	}
}

// TestToldHistories tells a book anything, grants what it lets through, and
// holds that to what was told: never more in a window than the most that was in
// force in it, and never more taken than the upstream said was left.
func TestToldHistories(t *testing.T) {
	for seed := range uint64(600) {
		toldHistory(t, seed)
	}
}

func toldHistory(t *testing.T, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 11))
	b := learning(Options{Strict: rnd.IntN(4) == 0})
	windows := [...]time.Duration{time.Second, 10 * time.Second, time.Minute}
	var most [len(windows)]int64
	var arrivals [len(windows)][]arrival
	var open []*arrival
	ids := map[*arrival]ID{}
	now := t0
	for range 500 {
		now = now.Add(time.Duration(rnd.ExpFloat64() * float64(30*ms)))
		switch rnd.IntN(6) {
		case 0:
			w, n := rnd.IntN(len(windows)), 1+rnd.Int64N(30)
			most[w] = max(most[w], n)
			left := rnd.Int64N(n+2) - 1
			b.Tell(now, []Fact{fact(n, left, time.Duration(rnd.Int64N(int64(windows[w]))), windows[w])})
			for _, tl := range b.tallies {
				room := tl.capacity() - tl.meter.Used(now)
				if tl.rule.Limit.Window == windows[w] && tl.rule.Source == Told && left >= 0 && room > left+1 {
					t.Fatalf("seed %d, after %v: room for %d, and the upstream says %d", seed, now.Sub(t0), room, left)
				}
			}
		case 1, 2, 3:
			ask := Ask{}
			if rnd.IntN(2) == 0 {
				ask.Pressed = t0
			}
			if _, ok := b.Ready(now, &ask); !ok {
				continue
			}
			a := &arrival{from: now, weight: 1}
			ids[a] = b.Grant(now, &ask)
			open = append(open, a)
		default:
			if len(open) == 0 {
				continue
			}
			i := rnd.IntN(len(open))
			a := open[i]
			open = append(open[:i], open[i+1:]...)
			id := ids[a]
			b.Written(now, id)
			b.Answered(now, id)
			if rnd.IntN(10) == 0 {
				b.Throttled(now, id, 0)
			} else {
				b.Accepted(now, id)
			}
			b.End(now, id)
			a.to = now
			for w := range windows {
				arrivals[w] = append(arrivals[w], *a)
			}
		}
	}
	for _, a := range open {
		b.End(now, ids[a])
	}
	for _, tl := range b.tallies {
		for w, window := range windows {
			if tl.rule.Source != Told || tl.rule.Limit.Window != window {
				continue
			}
			if got := mostInAnyWindow(window, since(arrivals[w], tl)); got > most[w] {
				t.Fatalf("seed %d: %d could have arrived in %v, told at most %d", seed, got, window, most[w])
			}
		}
	}
	// What is told at last is what there is, when nothing is refused any more.
	now = now.Add(24 * time.Hour)
	for _, s := range b.Status(now) {
		if s.Rule.Source == Told && s.InForce != s.Rule.Limit.N || s.Used != 0 {
			t.Fatalf("seed %d: %d of %s in force, and %d used, after a day", seed, s.InForce, s.Text, s.Used)
		}
	}
}

// since leaves out what was answered before the limit was heard of.
func since(all []arrival, t *tally) (counted []arrival) {
	for _, a := range all {
		if !a.to.Before(t.told.since) {
			counted = append(counted, a)
		}
	}
	return counted
}
