package mock

import (
	"fmt"
	"math/big"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/limit"
)

// t0 is 10 s into a minute of the clock.
var t0 = time.Date(2026, 3, 10, 12, 0, 10, 0, time.UTC)

func parseLimits(t testing.TB, texts ...string) []limit.Limit {
	t.Helper()
	var limits []limit.Limit
	for _, text := range texts {
		l, err := limit.Parse(text)
		if err != nil {
			t.Fatalf("Parse(%q) = %v", text, err)
		}
		limits = append(limits, l)
	}
	return limits
}

const ms, sec = time.Millisecond, time.Second

func TestJudgeCountsOnBothSidesOfEachThreshold(t *testing.T) {
	type step struct {
		at     time.Duration // since t0
		weight int64
		ok     bool
		wait   time.Duration
		leave  int // requests that leave before this one arrives
	}
	for _, test := range []struct {
		name   string
		limits []string
		rules  Rules
		steps  []step
	}{
		{"sliding frees a place exactly one window after its arrival", []string{"2/1s"}, Rules{}, []step{
			{at: 0, ok: true},
			{at: 300 * ms, ok: true},
			{at: 400 * ms, wait: 600 * ms},
			{at: sec - 1, wait: 1},
			{at: sec, ok: true},
			{at: 1300*ms - 1, wait: 1},
			{at: 1300 * ms, ok: true},
		}},
		{"sliding weighs", []string{"tokens:10/1s"}, Rules{}, []step{
			{at: 0, weight: 4, ok: true},
			{at: 100 * ms, weight: 6, ok: true},
			{at: 200 * ms, weight: 4, wait: 800 * ms},
			{at: 200 * ms, weight: 5, wait: 900 * ms},
			{at: 200 * ms, weight: 11},
			{at: sec, weight: 5, wait: 100 * ms},
			{at: sec, weight: 4, ok: true},
		}},
		{"sliding with refused ones counted holds off who keeps asking", []string{"2/1s"}, Rules{CountRefused: true}, []step{
			{at: 0, ok: true},
			{at: 0, ok: true},
			{at: 900 * ms, wait: 100 * ms},
			{at: 950 * ms, wait: 950 * ms},
			{at: 1800 * ms, wait: 150 * ms},
			{at: 2800*ms - 1, ok: true},
			{at: 2800*ms - 1, wait: sec},
		}},
		{"fixed begins anew on the clock", []string{"2/1m fixed"}, Rules{}, []step{
			{at: 0, ok: true},
			{at: 40 * sec, ok: true},
			{at: 50*sec - 1, wait: 1},
			{at: 50 * sec, ok: true},
			{at: 50 * sec, ok: true},
			{at: 51 * sec, wait: 59 * sec},
			{at: 110 * sec, ok: true},
		}},
		{"fixed of its own phase begins with a request", []string{"2/1m fixed"}, Rules{OwnPhase: true}, []step{
			{at: 0, ok: true},
			{at: 55 * sec, ok: true},
			{at: 60*sec - 1, wait: 1},
			{at: 65 * sec, ok: true},
			{at: 65 * sec, ok: true},
			{at: 125*sec - 1, wait: 1},
			{at: 125 * sec, ok: true},
		}},
		{"fixed with refused ones counted still begins anew", []string{"1/1m fixed"}, Rules{CountRefused: true}, []step{
			{at: 0, ok: true},
			{at: 1 * sec, wait: 49 * sec},
			{at: 50*sec - 1, wait: 1},
			{at: 50 * sec, ok: true},
		}},
		{"bucket refills evenly up to its depth", []string{"3/1s burst 2"}, Rules{}, []step{
			{at: 0, ok: true},
			{at: 0, ok: true},
			{at: 0, wait: 333333334},
			{at: 333333333, wait: 1},
			{at: 333333334, ok: true},
			{at: 666666666, wait: 1},
			{at: 666666667, ok: true},
			{at: 10 * sec, ok: true},
			{at: 10 * sec, ok: true},
			{at: 10 * sec, wait: 333333334},
		}},
		{"bucket with refused ones counted stays drained", []string{"10/1s burst 1"}, Rules{CountRefused: true}, []step{
			{at: 0, ok: true},
			{at: 99 * ms, wait: 100 * ms},
			{at: 198 * ms, wait: 100 * ms},
			{at: 298*ms - 1, wait: 100 * ms},
			{at: 398*ms - 1, ok: true},
		}},
		{"bucket refuses for good what is deeper than itself", []string{"tokens:10/1s burst 5"}, Rules{}, []step{
			{at: 0, weight: 6},
			{at: 0, weight: 5, ok: true},
			{at: 0, weight: 5, wait: 500 * ms},
		}},
		{"concurrency lets in who comes after one has left", []string{"concurrent:2"}, Rules{CountRefused: true}, []step{
			{at: 0, weight: 9, ok: true},
			{at: 0, ok: true},
			{at: 0},
			{at: time.Hour},
			{at: time.Hour, leave: 1, ok: true},
			{at: time.Hour},
			{at: time.Hour, leave: 2, ok: true},
		}},
		{"all limits must fit, and a refusal takes from none", []string{"2/1s", "tokens:10/1m"}, Rules{}, []step{
			{at: 0, weight: 9, ok: true},
			{at: 0, weight: 2, wait: 60 * sec},
			{at: 0, weight: 1, ok: true},
			{at: 0, weight: 1, wait: 60 * sec},
			{at: 60 * sec, weight: 1, ok: true},
		}},
		{"refused ones counted take from the limits that had room", []string{"1/1s", "tokens:10/1m"}, Rules{CountRefused: true}, []step{
			{at: 0, weight: 1, ok: true},
			{at: 0, weight: 9, wait: 60 * sec},
			{at: 2 * sec, weight: 1, wait: 58 * sec},
		}},
		{"a moment that lies before the last one is the last one", []string{"1/1s"}, Rules{}, []step{
			{at: sec, ok: true},
			{at: 0, wait: sec},
			{at: 2 * sec, ok: true},
		}},
		{"no limits refuse nobody", nil, Rules{}, []step{{at: 0, ok: true}, {at: 0, weight: 1e9, ok: true}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.rules.Limits = parseLimits(t, test.limits...)
			j := NewJudge(test.rules)
			for i, s := range test.steps {
				for range s.leave {
					j.Leave()
				}
				ok, wait := j.Arrive(t0.Add(s.at), s.weight)
				if ok != s.ok || wait != s.wait {
					t.Fatalf("step %d: Arrive(t0+%v, %d) = %v, %v; want %v, %v", i, s.at, s.weight, ok, wait, s.ok, s.wait)
				}
			}
		})
	}
}

// past is one arrival of a history.
type past struct {
	at     time.Time
	weight int64
	ok     bool
}

// fitsAfter is the oracle: it decides from the whole history, in the words of
// each limit's definition.
func fitsAfter(history []past, r Rules, l limit.Limit, at time.Time, weight int64) bool {
	if l.Dimension == limit.Requests {
		weight = 1
	}
	weigh := func(p past) int64 {
		if l.Dimension == limit.Requests {
			return 1
		}
		return p.weight
	}
	var used int64
	switch {
	case l.Kind == limit.Sliding:
		for _, p := range history {
			if (p.ok || r.CountRefused) && p.at.After(at.Add(-l.Window)) {
				used += weigh(p)
			}
		}
	case l.Kind == limit.Fixed && !r.OwnPhase:
		window := func(t time.Time) int64 { return t.UnixNano() / int64(l.Window) }
		for _, p := range history {
			if (p.ok || r.CountRefused) && window(p.at) == window(at) {
				used += weigh(p)
			}
		}
	case l.Kind == limit.Fixed:
		var end time.Time
		for _, p := range history {
			if !p.ok && !r.CountRefused {
				continue
			}
			if !p.at.Before(end) {
				used, end = 0, p.at.Add(l.Window)
			}
			used += weigh(p)
		}
		if !at.Before(end) {
			used = 0
		}
	case l.Kind == limit.Bucket:
		level := new(big.Rat).SetInt64(l.Burst)
		last := at
		if len(history) > 0 {
			last = history[0].at
		}
		refill := func(now time.Time) {
			level.Add(level, new(big.Rat).SetFrac(
				new(big.Int).Mul(big.NewInt(int64(now.Sub(last))), big.NewInt(l.N)), big.NewInt(int64(l.Window))))
			if full := new(big.Rat).SetInt64(l.Burst); level.Cmp(full) > 0 {
				level = full
			}
			last = now
		}
		for _, p := range history {
			refill(p.at)
			if p.ok || r.CountRefused {
				level.Sub(level, new(big.Rat).SetInt64(weigh(p)))
				if level.Sign() < 0 {
					level.SetInt64(0)
				}
			}
		}
		refill(at)
		return level.Cmp(new(big.Rat).SetInt64(weight)) >= 0
	}
	return used+weight <= l.N
}

// checkHistory drives a judge through a history drawn from seed and compares
// each verdict, and each wait on both sides, with the oracle.
func checkHistory(t *testing.T, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 1))
	all := []string{"3/1s", "5/1s fixed", "4/1s burst 2", "tokens:20/2s", "tokens:20/3s fixed", "tokens:7/1s burst 12", "1/300ms"}
	random.Shuffle(len(all), func(i, k int) { all[i], all[k] = all[k], all[i] })
	r := Rules{
		Limits:       parseLimits(t, all[:1+random.IntN(3)]...),
		OwnPhase:     random.IntN(2) == 0,
		CountRefused: random.IntN(2) == 0,
	}
	about := fmt.Sprintf("seed %d, limits %v, own phase %v, count refused %v", seed, r.Limits, r.OwnPhase, r.CountRefused)
	fits := func(history []past, at time.Time, weight int64) bool {
		for _, l := range r.Limits {
			if !fitsAfter(history, r, l, at, weight) {
				return false
			}
		}
		return true
	}

	j := NewJudge(r)
	var history []past
	now := t0
	for range 60 {
		switch random.IntN(4) {
		case 0:
			now = now.Add(time.Duration(random.IntN(int(sec))))
		case 1:
			now = now.Add(100 * ms)
		case 2:
			now = now.Add(time.Duration(random.IntN(int(20 * ms))))
		}
		weight := 1 + random.Int64N(8)
		want := fits(history, now, weight)
		ok, wait := j.Arrive(now, weight)
		if ok != want {
			t.Fatalf("%s: after %v Arrive(t0+%v, %d) = %v, want %v", about, history, now.Sub(t0), weight, ok, want)
		}
		history = append(history, past{now, weight, ok})
		if ok {
			continue
		}
		never := false
		for _, l := range r.Limits {
			never = never || l.Dimension == limit.Tokens && weight > capacity(l)
		}
		switch {
		case never && wait != 0:
			t.Fatalf("%s: wait %v for weight %d that never fits, want 0", about, wait, weight)
		case !never && (fits(history, now.Add(wait-1), weight) || !fits(history, now.Add(wait), weight)):
			t.Fatalf("%s: after %v Arrive(t0+%v, %d) says wait %v, which is not the first moment with room", about, history, now.Sub(t0), weight, wait)
		}
	}
}

func TestJudgeAgreesWithOracleOnRandomHistories(t *testing.T) {
	for seed := range uint64(40) {
		checkHistory(t, seed)
	}
}

func FuzzJudge(f *testing.F) {
	f.Add(uint64(1 << 40))
	f.Fuzz(checkHistory)
}

// A moment of the real clock has two readings, which drift against each other;
// those of a test's t0 or of a synctest bubble do not.
func TestJudgeKeepsAFixedWindowOnTheRealClock(t *testing.T) {
	j := NewJudge(Rules{Limits: parseLimits(t, "5/1h fixed")})
	accepted := 0
	for range 1000 {
		if ok, _ := j.Arrive(time.Now(), 1); ok {
			accepted++
		}
	}
	if accepted != 5 && accepted != 10 { // 10 if an hour of the clock ended meanwhile
		t.Errorf("1000 arrivals in a moment at 5/1h fixed: %d accepted, want 5", accepted)
	}
}

func TestJudgeForgetsRefusedArrivalsThatDoNotMatter(t *testing.T) {
	j := NewJudge(Rules{Limits: parseLimits(t, "10/1d"), CountRefused: true})
	for i := range 10_000 {
		j.Arrive(t0.Add(time.Duration(i)*ms), 1)
	}
	if kept := len(j.counters[0].(*sliding).kept); kept != 10 {
		t.Errorf("after 10000 arrivals at 10/1d %d are kept, want 10", kept)
	}
}
