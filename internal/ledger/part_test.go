package ledger

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/limit"
)

// newShared returns a book of limits that others use too, and its parts.
func newShared(t testing.TB, texts ...string) (*Book, Parts) {
	t.Helper()
	b := newBook(t, Options{Shared: true}, texts...)
	return b, b.Parts()
}

var everyKind = []string{"10/1s", "10/1s fixed", "10/1s burst 10", "concurrent:10"}

func TestNothingMayBeUsedBeforeItIsHeld(t *testing.T) {
	for _, text := range everyKind {
		b, parts := newShared(t, text)
		for _, now := range []time.Time{t0, t0.Add(time.Hour)} {
			wantUnknown(t, b, now, Ask{}, text)
			wantUsed(t, b, now, 0)
		}
		parts.Set(0, 3, 0, 10) // held, and none of it may be taken
		wantUnknown(t, b, t0.Add(time.Hour), Ask{}, text)
	}
}

// A part that was not there must not have gathered anything.
func TestTokensComeOnlyWithTheirPart(t *testing.T) {
	b, parts := newShared(t, "10/1s burst 10")
	now := t0.Add(time.Minute)
	parts.Set(0, 5, 5, 10)
	wantWait(t, b, now, Ask{}, 200*ms, "10/1s burst 10")
	parts.Refill(now, 0, 3)
	mustGrant(t, b, now, Ask{}, 3)
	wantUnknown(t, b, now, Ask{Times: 3}, "10/1s burst 10") // in flight, and of a part of 5
	wantWait(t, b, now, Ask{}, 200*ms, "10/1s burst 10")
}

func TestTargetBoundsNewAttempts(t *testing.T) {
	for _, text := range everyKind {
		b, parts := newShared(t, text)
		parts.Set(0, 8, 8, 10)
		parts.Refill(t0, 0, 8)
		ids := mustGrant(t, b, t0, Ask{}, 5)
		if got := parts.Used(t0, 0); got != 5 || parts.Short(t0, 0, 3) || !parts.Short(t0, 0, 4) {
			t.Errorf("%s: %d used, want 5, and room for 3 of 8 and no more", text, got)
		}
		parts.Set(0, 8, 4, 10)
		wantUnknown(t, b, t0, Ask{}, text)
		if got := parts.Used(t0, 0); got != 5 {
			t.Errorf("%s: %d used after the target was lowered, want the 5 in flight", text, got)
		}
		if !parts.Short(t0, 0, 0) {
			t.Errorf("%s: not short with 5 of a target of 4 in use", text)
		}
		b.End(t0, ids[0])
		wantUnknown(t, b, t0, Ask{}, text)
		b.End(t0, ids[1])
		mustGrant(t, b, t0, Ask{}, 1)
		wantUnknown(t, b, t0, Ask{}, text)
		parts.Set(0, 6, 9, 10) // a target above what is held is no leave
		mustGrant(t, b, t0, Ask{}, 2)
		wantUnknown(t, b, t0, Ask{}, text)
		if share := b.Status(t0)[0].Share; share == nil || *share != 6 {
			t.Errorf("%s: the status shows a share of %v, want 6", text, share)
		}
	}
}

func TestShareIsOfSharedLimitsOnly(t *testing.T) {
	if share := newBook(t, Options{}, "10/1s").Status(t0)[0].Share; share != nil {
		t.Errorf("a share of %d of a limit that is used alone, want none", *share)
	}
}

func TestPartsAreToldApartByScope(t *testing.T) {
	l := New([]Rule{ruleOf(t, PerUpstream, "", "10/1s"), ruleOf(t, PerCredential, "", "20/1s"), ruleOf(t, PerPath, "/a", "30/1s")}, Options{Shared: true}, t0)
	b := l.Book("key", t0)
	for _, test := range []struct {
		parts Parts
		want  []int64
	}{{l.Parts(), []int64{10}}, {b.Parts(), []int64{20, 30}}} {
		var got []int64
		for i := range test.parts {
			got = append(got, test.parts.Rule(i).Limit.N)
			test.parts.Set(i, 3, 3, 3)
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("parts of limits of %v, want %v", got, test.want)
		}
	}
	mustGrant(t, b, t0, Ask{Paths: 1}, 3)
	wantUnknown(t, b, t0, Ask{}, "10/1s")
	if got := b.Parts().Weight(1, &Ask{Times: 4}); got != 0 {
		t.Errorf("weight %d under the rule of another path, want 0", got)
	}
	if got := b.Parts().Weight(0, &Ask{Times: 4}); got != 4 {
		t.Errorf("weight %d of 4 attempts, want 4", got)
	}
}

func TestLingerIsAsLongAsAnAttemptMayCount(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"10/1s": 1120 * ms, "10/1s fixed": 2120 * ms, "10/1s burst 20": 120 * ms, "concurrent:10": 0, "10/1h": time.Hour + time.Second,
	} {
		_, parts := newShared(t, text)
		if got := parts.Linger(0); got != want {
			t.Errorf("%s: lingers for %v, want %v", text, got, want)
		}
	}
}

func TestTooHeavyIsWhatTheWholeLimitCannotHold(t *testing.T) {
	for _, text := range everyKind {
		b, parts := newShared(t, text)
		parts.Set(0, 2, 2, 2)
		parts.Refill(t0, 0, 2)
		dimension := parts.Rule(0).Limit.Dimension
		for w, want := range map[int64]string{3: "", 10: "", 11: text} {
			if got := b.TooHeavy(&Ask{Cost: Cost{dimension: w}}); got != want {
				t.Errorf("%s: TooHeavy(%d) = %q, want %q", text, w, got, want)
			}
		}
		wantUnknown(t, b, t0, Ask{Cost: Cost{dimension: 3}}, text)
	}
}

func TestReserveIsAShareOfThePart(t *testing.T) {
	for _, text := range everyKind {
		b := newBook(t, Options{Shared: true, Reserve: 0.2}, text)
		b.Parts().Set(0, 5, 5, 10)
		b.Parts().Refill(t0, 0, 5)
		mustGrant(t, b, t0, Ask{Modest: true}, 4)
		wantUnknown(t, b, t0, Ask{Modest: true}, text)
		mustGrant(t, b, t0, Ask{}, 1)
	}
}

func TestForecastLooksAtTheMostThatMayBeHeld(t *testing.T) {
	for _, text := range []string{"10/1s", "10/1s fixed"} {
		b, parts := newShared(t, text)
		parts.Set(0, 2, 2, 6)
		for ahead, want := range map[int]time.Duration{0: 0, 5: 0, 6: time.Second, 11: time.Second, 12: 2 * time.Second} {
			if got := b.Forecast(t0, &Ask{}, ahead).At.Sub(t0); got != want {
				t.Errorf("%s: %d ahead: in %v, want %v", text, ahead, got, want)
			}
		}
		heavy := Ask{Cost: Cost{limit.Requests: 8}} // gets what it needs once
		if got := b.Forecast(t0, &heavy, 0).At; !got.Equal(t0) {
			t.Errorf("%s: 8 of a most of 6: in %v, want now", text, got.Sub(t0))
		}
		mustGrant(t, b, t0, Ask{}, 2) // the part in force is what it was
		wantUnknown(t, b, t0, Ask{}, text)
	}
	b, parts := newShared(t, "10/1s burst 10")
	parts.Set(0, 1, 1, 1)
	if got := b.Forecast(t0, &Ask{}, 1000).At; !got.Equal(t0) {
		t.Errorf("a bucket's forecast is in %v, want now: tokens may come with a part", got.Sub(t0))
	}
}

// A window that ends owes what its part could not pay, whoever asks first.
func TestForecastForgivesNoDebt(t *testing.T) {
	for _, forecasts := range []bool{false, true} {
		b, parts := newShared(t, "tokens:40/1s fixed")
		parts.Set(0, 5, 5, 40)
		id := mustGrant(t, b, t0, Ask{Cost: Cost{limit.Tokens: 5}}, 1)[0]
		b.Answered(t0, id)
		b.Settle(t0, id, Cost{limit.Tokens: 35})
		now := t0.Add(time.Second)
		if forecasts {
			b.Forecast(now, &Ask{}, 0)
		}
		if got := parts.Used(now, 0); got != 30 {
			t.Errorf("forecast %v: %d used of a part of 5 a window after 35 were, want 30", forecasts, got)
		}
	}
}

// TestForecastOfAPartIsNeverLaterThanTheTruth has all that can be had come at
// once.
func TestForecastOfAPartIsNeverLaterThanTheTruth(t *testing.T) {
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 5))
		text := everyKind[rnd.IntN(2)]
		b, parts := newShared(t, text)
		now := t0
		var hold, most int64
		ask := Ask{}
		if rnd.IntN(2) == 0 {
			ask.Pressed = t0.Add(-time.Minute)
		}
		for range 20 {
			most = 1 + rnd.Int64N(10)
			hold = max(parts.Used(now, 0), rnd.Int64N(most+1))
			most = max(most, hold)
			parts.Set(0, hold, hold, most)
			if _, ok := b.Ready(now, &ask); ok {
				b.Answered(now, b.Grant(now, &ask))
			}
			now = now.Add(time.Duration(rnd.Int64N(int64(200 * ms))))
		}
		ahead := rnd.IntN(20)
		forecast := b.Forecast(now, &ask, ahead).At
		parts.Set(0, most, most, most)
		start := now
		for range ahead + 1 {
			wait, ok := b.Ready(now, &ask)
			if !ok {
				now = wait.At
			}
			b.Answered(now, b.Grant(now, &ask))
		}
		if forecast.After(now) {
			t.Errorf("seed %d, %s, pressed %v: %d ahead, forecast in %v, came in %v", seed, text, !ask.Pressed.IsZero(), ahead, forecast.Sub(start), now.Sub(start))
		}
	}
}

func TestUsesFollowTheClasses(t *testing.T) {
	b, parts := newShared(t, "tokens:1000/10s")
	parts.Set(0, 1000, 1000, 1000)
	grant := func(now time.Time, class int, w int64) {
		b.Answered(now, mustGrant(t, b, now, Ask{Class: class, Cost: Cost{limit.Tokens: w}}, 1)[0])
	}
	uses := func(when string, now time.Time, want [Classes]int64) {
		t.Helper()
		var got [Classes]int64
		if parts.Uses(now, 0, &got); got != want {
			t.Errorf("%s: uses %v, want %v", when, got, want)
		}
	}
	uses("nothing used", t0, [Classes]int64{})
	grant(t0, 1, 100)
	grant(t0, 5, 300)
	uses("at once", t0, [Classes]int64{1: 100, 5: 300})
	grant(t0.Add(6*time.Second), 3, 400)
	grant(t0.Add(6*time.Second), -1, 1) // below the most urgent
	grant(t0.Add(6*time.Second), 9, 99)
	uses("in the half after", t0.Add(6*time.Second), [Classes]int64{0: 1, 1: 100, 3: 400, 5: 300, 7: 99})
	uses("the first ones have left", t0.Add(10500*ms), [Classes]int64{0: 0, 1: 55, 3: 222, 5: 166, 7: 57}) // 500 by what was granted
	uses("long after", t0.Add(time.Minute), [Classes]int64{})
	all := [Classes]int64{2: 7}
	parts.Uses(t0.Add(time.Minute), 0, &all)
	if all != [Classes]int64{2: 7} {
		t.Errorf("adds to what was there: %v, want 7 of class 2", all)
	}
}

func TestUsesOfUnknownClassAreTheLeastUrgent(t *testing.T) {
	b, parts := newShared(t, "concurrent:10")
	parts.Set(0, 10, 10, 10)
	mustGrant(t, b, t0, Ask{Class: 1}, 4)
	var got [Classes]int64
	if parts.Uses(t0.Add(time.Hour), 0, &got); got != [Classes]int64{7: 4} {
		t.Errorf("uses %v of what has been in flight for an hour, want 4 of the last class", got)
	}
}

func TestUsesSumUpToWhatIsUsed(t *testing.T) {
	for seed := range uint64(50) {
		rnd := rand.New(rand.NewPCG(seed, 6))
		text := []string{"tokens:1000/1s", "tokens:1000/1s fixed", "concurrent:1000"}[rnd.IntN(3)]
		b, parts := newShared(t, text)
		parts.Set(0, 1000, 1000, 1000)
		dimension := parts.Rule(0).Limit.Dimension
		var open []ID
		now := t0
		for range 200 {
			ask := Ask{Class: rnd.IntN(Classes), Cost: Cost{dimension: rnd.Int64N(40)}}
			if _, ok := b.Ready(now, &ask); ok {
				open = append(open, b.Grant(now, &ask))
			}
			if len(open) > 0 && rnd.IntN(2) == 0 {
				i := rnd.IntN(len(open))
				if rnd.IntN(2) == 0 {
					b.Answered(now, open[i])
				}
				b.End(now, open[i])
				open = slices.Delete(open, i, i+1)
			}
			now = now.Add(time.Duration(rnd.Int64N(int64(100 * ms))))
			var classes [Classes]int64
			var sum int64
			parts.Uses(now, 0, &classes)
			for _, n := range classes {
				sum += n
			}
			if used := parts.Used(now, 0); sum != used || slices.Min(classes[:]) < 0 {
				t.Fatalf("seed %d, %s: uses %v, want a sum of %d", seed, text, classes, used)
			}
		}
	}
}

func TestFreesSaysWhenSomeFallsFree(t *testing.T) {
	for text, want := range map[string]time.Duration{"10/1s": 1001 * ms, "10/1s fixed": time.Second, "10/1s burst 10": 1001 * ms, "concurrent:10": 0} {
		b, parts := newShared(t, text)
		frees := func(when string, now time.Time, want time.Duration) {
			t.Helper()
			got := parts.Frees(now, 0)
			if want == 0 && !got.IsZero() || want != 0 && (got.Sub(now) > want || got.Sub(now) < want-2*ms) {
				t.Errorf("%s, %s: frees in %v, want %v (0: not known)", text, when, got.Sub(now), want)
			}
		}
		frees("nothing held", t0, 0)
		parts.Set(0, 8, 8, 8)
		parts.Refill(t0, 0, 8)
		frees("nothing used", t0, 0)
		ids := mustGrant(t, b, t0, Ask{}, 6)
		frees("in flight", t0, 0)
		b.Answered(t0, ids[0])
		parts.Set(0, 8, 2, 8)
		frees("one was answered", t0, want)
	}
}

func TestConfigureKeepsShares(t *testing.T) {
	rules := []Rule{ruleOf(t, PerCredential, "", "10/1s"), ruleOf(t, PerUpstream, "", "10/1s"), ruleOf(t, PerCredential, "", "concurrent:10")}
	l := New(rules, Options{Shared: true}, t0)
	b := l.Book("key", t0)
	for _, parts := range []Parts{b.Parts(), l.Parts()} {
		for i := range parts {
			parts.Set(i, 6, 5, 7)
		}
	}
	mustGrant(t, b, t0, Ask{}, 2)
	rules = []Rule{ruleOf(t, PerCredential, "", "concurrent:20"), ruleOf(t, PerUpstream, "", "20/1s"), ruleOf(t, PerCredential, "", "20/1s")}
	l.Configure(rules, Options{Shared: true}, t0)
	wantUsed(t, b, t0, 2, 2, 2)
	for i, s := range b.Status(t0) {
		if s.Share == nil || *s.Share != 5 {
			t.Errorf("limit %d has a share of %v after a reload, want 5 as before", i, s.Share)
		}
	}
	mustGrant(t, b, t0, Ask{}, 3)
	wantUnknown(t, b, t0, Ask{}, "concurrent:20")

	l.Configure(append(rules, ruleOf(t, PerCredential, "", "5/1m")), Options{Shared: true}, t0)
	for _, id := range []int{0, 1, 2} {
		if share := b.Status(t0)[id].Share; *share != 5 {
			t.Errorf("limit %d has a share of %d beside a limit that came, want 5", id, *share)
		}
	}
	if share := b.Status(t0)[3].Share; *share != 0 {
		t.Errorf("a limit that came has a share of %d, want 0 until it is set", *share)
	}
}

func TestConfigureSharedHoldsNothingYet(t *testing.T) {
	l := New(rulesOf(t, "10/1s"), Options{}, t0)
	b := l.Book("key", t0)
	l.Configure(rulesOf(t, "10/1s"), Options{Shared: true}, t0)
	wantUnknown(t, b, t0, Ask{}, "10/1s")
	l.Configure(rulesOf(t, "10/1s"), Options{}, t0)
	mustGrant(t, b, t0, Ask{}, 10)
}

func TestConfigureLowersSharesToTheLimit(t *testing.T) {
	l := New(rulesOf(t, "10/1s"), Options{Shared: true}, t0)
	b := l.Book("key", t0)
	b.Parts().Set(0, 8, 6, 10)
	l.Configure(rulesOf(t, "4/1s"), Options{Shared: true}, t0)
	mustGrant(t, b, t0, Ask{}, 4)
	wantUnknown(t, b, t0, Ask{}, "4/1s")
}

func TestAttemptsInFlightOutliveTheirPart(t *testing.T) {
	for _, text := range everyKind {
		b, parts := newShared(t, text)
		parts.Set(0, 6, 6, 6)
		parts.Refill(t0, 0, 6)
		ids := mustGrant(t, b, t0, Ask{}, 4)
		parts.Set(0, 4, 1, 4)
		parts.Set(0, 0, 0, 0) // the lease has ended
		for _, id := range ids {
			b.Written(t0, id)
			b.Answered(t0, id)
		}
		if got := parts.Used(t0, 0); got < 4 {
			t.Errorf("%s: %d used, want the 4 that were answered", text, got)
		}
		for _, id := range ids {
			b.End(t0, id)
		}
		now := t0.Add(time.Minute)
		if got := parts.Used(now, 0); got != 0 && text != "10/1s burst 10" { // whose debt no part pays
			t.Errorf("%s: %d used a minute later, want 0", text, got)
		}
		wantUnknown(t, b, now, Ask{}, text)
	}
}
