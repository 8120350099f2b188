package limit

import (
	"testing"
	"time"
)

const ms = time.Millisecond

var t0 = time.Unix(1_700_000_000, 0).Truncate(time.Minute)

// step is what is done to a meter, at a time counted from t0.
type step struct {
	at  time.Duration
	op  op
	w   int64
	arg time.Duration // see op

	// Of ready and forecast: how long the wait has to be.
	wait time.Duration
}

// op says what a step does.
type op string

const (
	ready    op = "ready"    // arg: as many nanoseconds as have to be kept
	unknown  op = "unknown"  // ready must know no moment; arg as in ready
	take     op = "take"     // granted
	give     op = "give"     // back: never written
	write    op = "write"    // what was in flight was written; arg: the spread
	count    op = "count"    // arg: how long ago it was written, without a spread
	answer   op = "answer"   // what was written with a spread of arg at this moment less 10 ms was answered now
	resize   op = "resize"   // to n = w
	part     op = "part"     // of the limit becomes w
	refill   op = "refill"   // with w tokens
	spread   op = "spread"   // is arg from now on
	used     op = "used"     // must be w
	forecast op = "forecast" // of w
)

func run(t *testing.T, text string, maxSpread time.Duration, steps []step) {
	t.Helper()
	l := mustParse(t, text)
	m := NewMeter(l, t0, maxSpread)
	for i, s := range steps {
		now := t0.Add(s.at)
		switch s.op {
		case ready:
			if at, known := m.Ready(now, s.w, int64(s.arg)); !known || at.Sub(now) != s.wait {
				t.Errorf("%s: step %d %+v: ready in %v, %v, want in %v", text, i, s, at.Sub(now), known, s.wait)
			}
		case unknown:
			if at, known := m.Ready(now, s.w, int64(s.arg)); known {
				t.Errorf("%s: step %d %+v: ready in %v, want no moment known", text, i, s, at.Sub(now))
			}
		case forecast:
			if got := m.Forecast(now, s.w).Sub(now); got != s.wait {
				t.Errorf("%s: step %d %+v: forecast in %v, want in %v", text, i, s, got, s.wait)
			}
		case used:
			if got := m.Used(now); got != s.w {
				t.Errorf("%s: step %d %+v: used %d, want %d", text, i, s, got, s.w)
			}
		case take:
			m.Take(now, s.w)
		case give:
			m.Take(now, -s.w)
		case write:
			m.Take(now, -s.w)
			m.Count(now, Span{now, now.Add(s.arg)}, s.w)
		case count:
			at := now.Add(-s.arg)
			m.Count(now, Span{at, at}, s.w)
		case answer:
			from := now.Add(-10 * ms)
			m.Move(now, Span{from, from.Add(s.arg)}, Span{from, now}, s.w)
		case resize:
			l.N = s.w
			m.Resize(l, l.Capacity())
		case part:
			m.Resize(l, s.w)
		case refill:
			m.Refill(now, float64(s.w))
		case spread:
			m.SetSpread(s.arg)
		default:
			t.Fatalf("no such step: %+v", s)
		}
	}
}

// A window of 2 s with a spread of up to 46 ms is kept in buckets of 1 ms.
func TestSlidingSteps(t *testing.T) {
	tests := map[string][]step{
		"a quota at once, then a window's wait": {
			{0, ready, 10, 0, 0}, {0, take, 10, 0, 0}, {0, unknown, 1, 0, 0}, {0, used, 10, 0, 0},
			{0, write, 10, 0, 0}, {0, ready, 1, 0, 2000 * ms},
			{1999 * ms, ready, 1, 0, ms}, {2000*ms - 1, used, 10, 0, 0}, {2000 * ms, used, 0, 0, 0}, {2000 * ms, ready, 10, 0, 0},
		},
		"held for the spread, and the time in flight": {
			{0, take, 10, 0, 0}, {500 * ms, write, 10, 25 * ms, 0}, {500 * ms, ready, 1, 0, 2025 * ms},
			{2525*ms - 1, ready, 1, 0, 1}, {2525 * ms, ready, 1, 0, 0},
		},
		"in flight across the window's end": {
			{0, take, 10, 0, 0}, {time.Hour, unknown, 1, 0, 0}, {time.Hour, used, 10, 0, 0},
			{time.Hour, write, 10, 0, 0}, {time.Hour + 2000*ms, ready, 10, 0, 0},
		},
		"rounded to the later": {
			{0, take, 10, 0, 0}, {1, write, 10, 0, 0}, {1, ready, 1, 0, 2001*ms - 1},
		},
		"weights leave one after another": {
			{0, take, 4, 0, 0}, {0, write, 4, 0, 0}, {100 * ms, take, 6, 0, 0}, {100 * ms, write, 6, 0, 0},
			{100 * ms, ready, 4, 0, 1900 * ms}, {100 * ms, ready, 5, 0, 2000 * ms}, {2000 * ms, ready, 4, 0, 0}, {2000 * ms, ready, 5, 0, 100 * ms},
		},
		"keep": {
			{0, take, 6, 0, 0}, {0, write, 6, 0, 0}, {0, ready, 2, 2, 0}, {0, ready, 2, 3, 2000 * ms}, {0, ready, 3, 2, 2000 * ms}, {0, ready, 4, 0, 0},
		},
		"given back": {
			{0, take, 10, 0, 0}, {50 * ms, give, 3, 0, 0}, {50 * ms, ready, 3, 0, 0}, {50 * ms, unknown, 4, 0, 0},
		},
		"an answer moves it to sooner": {
			{0, take, 10, 0, 0}, {0, write, 10, 40 * ms, 0}, {0, ready, 1, 0, 2040 * ms},
			{10 * ms, answer, 10, 40 * ms, 0}, {10 * ms, ready, 1, 0, 2000 * ms}, {10 * ms, used, 10, 0, 0}, {2010 * ms, used, 0, 0, 0},
		},
		"debt, and its repayment": {
			{0, take, 10, 0, 0}, {0, write, 10, 0, 0}, {500 * ms, count, 15, 500 * ms, 0}, {500 * ms, used, 25, 0, 0},
			{500 * ms, ready, 1, 0, 1500 * ms}, {2000 * ms, ready, 10, 0, 0},
		},
		"a refund": {
			{0, take, 10, 0, 0}, {0, write, 10, 0, 0}, {500 * ms, count, -9, 500 * ms, 0}, {500 * ms, ready, 9, 0, 0}, {500 * ms, ready, 10, 0, 1500 * ms},
		},
		"corrections after the window do nothing": {
			{0, take, 10, 0, 0}, {0, write, 10, 0, 0}, {2000 * ms, count, -9, 2000 * ms, 0}, {2000 * ms, used, 0, 0, 0}, {2000 * ms, count, 9, 2000 * ms, 0}, {2000 * ms, used, 0, 0, 0},
		},
		"resized": {
			{0, take, 10, 0, 0}, {0, write, 5, 0, 0}, {100 * ms, write, 5, 0, 0}, {100 * ms, resize, 12, 0, 0}, {100 * ms, ready, 2, 0, 0},
			{100 * ms, resize, 5, 0, 0}, {100 * ms, ready, 1, 0, 2000 * ms}, {2000 * ms, used, 5, 0, 0}, {2000 * ms, ready, 1, 0, 100 * ms},
		},
		"a part, and back": {
			{0, part, 4, 0, 0}, {0, unknown, 5, 0, 0}, {0, take, 4, 0, 0}, {0, write, 4, 0, 0}, {0, ready, 1, 0, 2000 * ms}, {0, refill, 4, 0, 0}, {0, ready, 1, 0, 2000 * ms},
			{500 * ms, part, 10, 0, 0}, {500 * ms, used, 4, 0, 0}, {500 * ms, ready, 6, 0, 0}, {500 * ms, ready, 7, 0, 1500 * ms},
			{500 * ms, take, 6, 0, 0}, {500 * ms, write, 6, 0, 0}, {500 * ms, part, 4, 0, 0}, {500 * ms, used, 10, 0, 0}, {500 * ms, ready, 1, 0, 2000 * ms},
			{2000 * ms, used, 6, 0, 0}, {2000 * ms, ready, 1, 0, 500 * ms}, {2500 * ms, ready, 4, 0, 0}, {2500 * ms, unknown, 5, 0, 0},
		},
		"a smaller part, with some in flight": {
			{0, take, 6, 0, 0}, {0, part, 4, 0, 0}, {0, used, 6, 0, 0}, {0, unknown, 1, 0, 0}, {0, give, 3, 0, 0}, {0, ready, 1, 0, 0}, {0, unknown, 2, 0, 0},
		},
		"the ring goes round": {
			{2040 * ms, take, 10, 0, 0}, {2040 * ms, write, 10, 46 * ms, 0}, {4085 * ms, used, 10, 0, 0}, {4086*ms - 1, ready, 1, 0, 1}, {4086 * ms, used, 0, 0, 0},
			{4086 * ms, take, 10, 0, 0}, {4086 * ms, write, 10, 46 * ms, 0}, {6132*ms - 1, ready, 10, 0, 1}, {6132 * ms, ready, 10, 0, 0},
		},
		"a long idle": {
			{0, take, 10, 0, 0}, {0, write, 10, 0, 0}, {20000 * time.Hour, used, 0, 0, 0}, {20000 * time.Hour, ready, 10, 0, 0},
			{20000 * time.Hour, take, 10, 0, 0}, {20000 * time.Hour, write, 10, 0, 0}, {20000*time.Hour + 1999*ms, ready, 1, 0, ms},
		},
		"an earlier moment is the latest": {
			{1000 * ms, take, 10, 0, 0}, {1000 * ms, write, 10, 0, 0}, {0, used, 10, 0, 0}, {3000 * ms, used, 0, 0, 0}, {0, ready, 10, 0, 0},
		},
		"forecasts": {
			{0, forecast, 10, 0, 0}, {0, forecast, 11, 0, 2000 * ms}, {0, forecast, 20, 0, 2000 * ms}, {0, forecast, 21, 0, 4000 * ms},
			{0, take, 4, 0, 0}, {0, forecast, 6, 0, 0}, {0, forecast, 7, 0, 2000 * ms},
			{0, write, 4, 40 * ms, 0}, {0, forecast, 6, 0, 0}, {0, forecast, 7, 0, 2000 * ms}, {100 * ms, forecast, 7, 0, 1940 * ms},
			{0, forecast, maxN, 0, maxWindow},
		},
	}
	for name, steps := range tests {
		t.Run(name, func(t *testing.T) { run(t, "10/2s", 46*ms, steps) })
	}
}

func TestFixedSteps(t *testing.T) {
	tests := map[string][]step{
		"a quota in each window": {
			{0, ready, 10, 0, 0}, {0, take, 10, 0, 0}, {0, unknown, 1, 0, 0}, {300 * ms, write, 10, 0, 0}, {300 * ms, ready, 1, 0, 700 * ms},
			{1000*ms - 1, ready, 1, 0, 1}, {1000 * ms, ready, 10, 0, 0}, {1000 * ms, used, 0, 0, 0},
		},
		"what may be counted on either side counts on both": {
			{950 * ms, take, 9, 0, 0}, {960 * ms, write, 4, 40*ms - 1, 0}, {960 * ms, write, 5, 40 * ms, 0},
			{960 * ms, used, 9, 0, 0}, {960 * ms, ready, 1, 0, 0}, {960 * ms, ready, 2, 0, 40 * ms}, {960 * ms, ready, 6, 0, 1040 * ms},
			{1000 * ms, used, 5, 0, 0}, {1000 * ms, ready, 5, 0, 0}, {1000 * ms, ready, 6, 0, 1000 * ms}, {2000 * ms, used, 0, 0, 0},
		},
		"in flight across a boundary": {
			{990 * ms, take, 10, 0, 0}, {1000 * ms, unknown, 1, 0, 0}, {1001 * ms, write, 10, 25 * ms, 0}, {1001 * ms, ready, 1, 0, 999 * ms}, {2000 * ms, used, 0, 0, 0},
		},
		"an answer before the boundary takes it off the next window": {
			{980 * ms, take, 10, 0, 0}, {980 * ms, write, 10, 50 * ms, 0}, {980 * ms, ready, 1, 0, 1020 * ms},
			{990 * ms, answer, 10, 50 * ms, 0}, {990 * ms, used, 10, 0, 0}, {990 * ms, ready, 10, 0, 10 * ms}, {1000 * ms, used, 0, 0, 0},
		},
		"keep and given back": {
			{0, take, 6, 0, 0}, {0, write, 4, 0, 0}, {0, ready, 2, 2, 0}, {0, ready, 2, 3, 1000 * ms}, {0, give, 2, 0, 0}, {0, ready, 2, 4, 0}, {0, ready, 2, 5, 1000 * ms},
		},
		"debt is paid by each window that follows": {
			{0, take, 10, 0, 0}, {0, write, 10, 0, 0}, {500 * ms, count, 25, 500 * ms, 0}, {500 * ms, used, 35, 0, 0},
			{500 * ms, ready, 5, 0, 2500 * ms}, {500 * ms, ready, 6, 0, 3500 * ms}, {1000 * ms, used, 25, 0, 0}, {2000 * ms, used, 15, 0, 0}, {3000 * ms, used, 5, 0, 0}, {3000 * ms, ready, 5, 0, 0}, {4000 * ms, used, 0, 0, 0},
		},
		"debt over a long idle": {
			{0, count, 35, 0, 0}, {3000 * ms, used, 5, 0, 0}, {3000 * ms, count, 1000, 0, 0}, {9000 * time.Hour, used, 0, 0, 0},
		},
		"a refund, and corrections after the window": {
			{0, take, 10, 0, 0}, {0, write, 10, 0, 0}, {500 * ms, count, -9, 500 * ms, 0}, {500 * ms, ready, 9, 0, 0}, {500 * ms, ready, 10, 0, 500 * ms},
			{1000 * ms, count, 9, 500 * ms, 0}, {1000 * ms, used, 0, 0, 0}, {1000 * ms, count, -9, 500 * ms, 0}, {1000 * ms, used, 0, 0, 0},
		},
		"resized": {
			{0, take, 10, 0, 0}, {0, write, 10, 0, 0}, {0, resize, 12, 0, 0}, {0, ready, 2, 0, 0}, {0, resize, 5, 0, 0}, {0, ready, 1, 0, 2000 * ms},
		},
		"a part, and back": {
			{0, part, 4, 0, 0}, {0, unknown, 5, 0, 0}, {0, take, 4, 0, 0}, {0, write, 4, 0, 0}, {0, ready, 1, 0, 1000 * ms}, {0, refill, 4, 0, 0}, {0, ready, 1, 0, 1000 * ms},
			{0, part, 10, 0, 0}, {0, ready, 6, 0, 0}, {0, ready, 7, 0, 1000 * ms},
		},
		"a part smaller than what is used is owed": {
			{0, take, 10, 0, 0}, {0, write, 10, 0, 0}, {0, part, 4, 0, 0}, {0, used, 10, 0, 0}, {0, ready, 1, 0, 2000 * ms},
			{1000 * ms, used, 6, 0, 0}, {2000 * ms, used, 2, 0, 0}, {2000 * ms, ready, 2, 0, 0}, {2000 * ms, ready, 3, 0, 1000 * ms}, {3000 * ms, used, 0, 0, 0},
		},
		"forecasts": {
			{0, forecast, 10, 0, 0}, {0, forecast, 11, 0, 1000 * ms}, {0, forecast, 20, 0, 1000 * ms}, {0, forecast, 21, 0, 2000 * ms},
			{0, take, 4, 0, 0}, {100 * ms, forecast, 6, 0, 0}, {100 * ms, forecast, 7, 0, 900 * ms}, {100 * ms, forecast, 16, 0, 900 * ms}, {100 * ms, forecast, 17, 0, 1900 * ms},
			{0, forecast, maxN, 0, maxWindow + 1000*ms},
		},
	}
	for name, steps := range tests {
		t.Run(name, func(t *testing.T) { run(t, "10/1s fixed", 100*ms, steps) })
	}
}

func TestFixedCountsInEveryWindowThatASpreadTouches(t *testing.T) {
	run(t, "10/5ms fixed", 20*ms, []step{
		{0, take, 10, 0, 0}, {4 * ms, write, 10, 12 * ms, 0}, {4 * ms, ready, 1, 0, 16 * ms}, {15 * ms, used, 10, 0, 0}, {20 * ms, used, 0, 0, 0},
		{20 * ms, take, 10, 0, 0}, {20 * ms, write, 10, 20 * ms, 0}, {40 * ms, used, 10, 0, 0}, {45 * ms, used, 0, 0, 0},
	})
}

func TestBucketSteps(t *testing.T) {
	tests := map[string][]step{
		"a burst, then the rate": {
			{0, ready, 20, 0, 0}, {0, take, 20, 0, 0}, {0, unknown, 1, 0, 0}, {0, write, 20, 0, 0}, {0, ready, 1, 0, 100 * ms}, {0, ready, 20, 0, 2000 * ms},
			{50 * ms, ready, 1, 0, 50 * ms}, {100 * ms, ready, 1, 0, 0}, {100 * ms, ready, 2, 0, 100 * ms}, {2000 * ms, used, 0, 0, 0}, {time.Hour, ready, 20, 0, 0}, {time.Hour, used, 0, 0, 0},
		},
		"in flight counts in full until written": {
			{0, take, 18, 0, 0}, {time.Hour, ready, 2, 0, 0}, {time.Hour, unknown, 3, 0, 0}, {time.Hour, write, 18, 0, 0}, {time.Hour, ready, 3, 0, 100 * ms},
		},
		"keep and given back": {
			{0, take, 16, 0, 0}, {0, write, 14, 0, 0}, {0, ready, 2, 2, 0}, {0, ready, 2, 3, 100 * ms}, {0, give, 2, 0, 0}, {0, ready, 2, 4, 0},
		},
		"debt and refund": {
			{0, take, 20, 0, 0}, {0, write, 20, 0, 0}, {0, count, 10, 0, 0}, {0, used, 30, 0, 0}, {0, ready, 1, 0, 1100 * ms}, {0, count, -10, 0, 0}, {0, used, 20, 0, 0}, {0, ready, 1, 0, 1100 * ms}, {1100 * ms, ready, 10, 0, 900 * ms},
		},
		"no refund of what time gave back": {
			{0, take, 20, 0, 0}, {0, write, 20, 0, 0}, {2000 * ms, take, 20, 0, 0}, {2000 * ms, write, 20, 0, 0}, {2000 * ms, count, -15, 2000 * ms, 0}, {2000 * ms, used, 20, 0, 0},
		},
		"a long debt": {
			{0, count, maxN, 0, 0}, {0, ready, 1, 0, maxWindow},
		},
		"the spread lowers the depth that the rate goes on from": {
			{0, spread, 0, 500 * ms, 0}, {0, take, 1, 0, 0}, {0, write, 1, 500 * ms, 0}, {0, ready, 19, 0, 0}, {0, ready, 20, 0, 600 * ms},
			{0, take, 19, 0, 0}, {0, write, 19, 500 * ms, 0}, {0, ready, 1, 0, 600 * ms}, {0, used, 20, 0, 0}, {700 * ms, ready, 2, 0, 0},
		},
		"with a spread longer than the burst, a burst for both": {
			{0, spread, 0, 3 * time.Second, 0}, {0, take, 1, 0, 0}, {0, write, 1, 3 * time.Second, 0}, {0, ready, 19, 0, 0},
			{0, take, 19, 0, 0}, {0, write, 19, 3 * time.Second, 0}, {0, used, 20, 0, 0}, {0, ready, 20, 0, 5 * time.Second},
		},
		"resized": {
			{0, take, 20, 0, 0}, {0, write, 20, 0, 0}, // The widest spread at 90 a second more has to be made up for.
			{0, resize, 20, 0, 0}, {0, ready, 1, 0, 2050 * ms}, {0, resize, 10, 0, 0}, {0, ready, 1, 0, 4100 * ms},
		},
		"a smaller part has less of everything": {
			{0, part, 5, 0, 0}, {0, used, 0, 0, 0}, {0, unknown, 6, 0, 0}, {0, take, 5, 0, 0}, {0, write, 5, 0, 0}, {0, ready, 1, 0, 2000*ms + 464}, {0, ready, 5, 0, 2000*ms + 464}, // a bucket of the ring later
		},
		"a larger part is empty until it is refilled": { // and until a second rate has made up for the widest spread
			{0, part, 5, 0, 0}, {0, part, 20, 0, 0}, {0, used, 15, 0, 0}, {0, ready, 5, 0, 0}, {0, ready, 6, 0, 100 * ms}, {100 * ms, ready, 6, 0, 0},
			{100 * ms, refill, 4, 0, 0}, {100 * ms, used, 10, 0, 0}, {100 * ms, ready, 10, 0, 0}, {100 * ms, ready, 11, 0, 100 * ms},
			{100 * ms, refill, 40, 0, 0}, {100 * ms, used, 0, 0, 0}, {100 * ms, unknown, 21, 0, 0},
		},
		"a part goes by what arrived within the time that it fills in": {
			{0, spread, 0, 500 * ms, 0}, {0, part, 10, 0, 0}, {0, take, 8, 0, 0}, {0, write, 8, 500 * ms, 0}, {0, used, 8, 0, 0}, {0, ready, 2, 0, 0}, {0, ready, 3, 0, 2501466856},
			{2000 * ms, used, 8, 0, 0}, {2510 * ms, used, 0, 0, 0}, {2510 * ms, ready, 10, 0, 0},
		},
		"tokens that come with a part before it are lost": {
			{0, part, 5, 0, 0}, {0, refill, 15, 0, 0}, {0, part, 20, 0, 0}, {0, used, 15, 0, 0},
		},
		"no part holds nothing, and gains nothing": {
			{0, part, 0, 0, 0}, {0, unknown, 1, 0, 0}, {0, used, 0, 0, 0}, {time.Hour, part, 20, 0, 0}, {time.Hour, used, 20, 0, 0}, {time.Hour, ready, 1, 0, 100 * ms},
		},
		"what is in flight keeps its part": {
			{0, take, 3, 0, 0}, {0, part, 4, 0, 0}, {0, used, 3, 0, 0}, {0, ready, 1, 0, 0}, {0, unknown, 2, 0, 0}, {0, write, 3, 0, 0}, {0, ready, 1, 0, 0}, {0, ready, 2, 0, 2000*ms + 464},
		},
		"an earlier moment is the latest": {
			{1000 * ms, take, 20, 0, 0}, {1000 * ms, write, 20, 0, 0}, {0, ready, 1, 0, 1100 * ms}, {1050 * ms, ready, 1, 0, 50 * ms},
		},
		"forecasts": {
			{0, forecast, 20, 0, 0}, {0, forecast, 21, 0, 100 * ms}, {0, take, 5, 0, 0}, {0, forecast, 15, 0, 0}, {0, forecast, 16, 0, 100 * ms}, {0, write, 5, 0, 0}, {0, forecast, 120, 0, 10500 * ms}, {0, forecast, maxN, 0, maxWindow},
		},
	}
	for name, steps := range tests {
		t.Run(name, func(t *testing.T) { run(t, "10/1s burst 20", 4*time.Second, steps) })
	}
}

func TestConcurrentSteps(t *testing.T) {
	run(t, "concurrent:10", 0, []step{
		{0, ready, 10, 0, 0}, {0, take, 7, 0, 0}, {0, ready, 3, 0, 0}, {0, unknown, 4, 0, 0}, {0, ready, 2, 1, 0}, {0, unknown, 2, 2, 0},
		{time.Hour, used, 7, 0, 0}, {time.Hour, count, 5, 0, 0}, {time.Hour, used, 7, 0, 0}, {time.Hour, forecast, 99, 0, 0},
		{time.Hour, part, 8, 0, 0}, {time.Hour, refill, 9, 0, 0}, {time.Hour, ready, 1, 0, 0}, {time.Hour, unknown, 2, 0, 0}, {time.Hour, part, 3, 0, 0}, {time.Hour, used, 7, 0, 0}, {time.Hour, unknown, 1, 0, 0}, {time.Hour, part, 10, 0, 0}, {time.Hour, ready, 3, 0, 0},
		{time.Hour, resize, 5, 0, 0}, {time.Hour, unknown, 1, 0, 0}, {time.Hour, give, 3, 0, 0}, {time.Hour, ready, 1, 0, 0}, {time.Hour, unknown, 2, 0, 0},
	})
}

// TestSmallBucketsLetThroughBurstPerFillAndSpread has more arrive within the
// spread than the bucket is deep.
func TestSmallBucketsLetThroughBurstPerFillAndSpread(t *testing.T) {
	for _, test := range []struct {
		text   string
		spread time.Duration
		answer time.Duration // after it was written
		w      int64
		want   float64 // per second
	}{
		{"1000/1s burst 10", 30 * ms, time.Second, 1, 250},
		{"1000/1s burst 10", 30 * ms, time.Second, 10, 250},
		{"1000/1s burst 10", 30 * ms, 10 * ms, 1, 500},
		{"1000/1s burst 3", 30 * ms, time.Second, 1, 3 / 0.033},
		{"100/1s burst 1", 30 * ms, time.Second, 1, 25},
		{"100/1s burst 2", 30 * ms, time.Second, 1, 40},
		{"1000/1s burst 31", 30 * ms, time.Second, 1, 1000},
		{"1000/1s burst 300", 30 * ms, time.Second, 10, 1000},
	} {
		m := NewMeter(mustParse(t, test.text), t0, 4*test.spread)
		m.SetSpread(test.spread)
		var open []Span
		n, now := int64(0), t0
		for now.Before(t0.Add(10 * time.Second)) {
			at, known := m.Ready(now, test.w, 0)
			if !known {
				t.Fatalf("%s: no moment known, and nothing in flight", test.text)
			}
			if len(open) > 0 && !at.Before(open[0].From.Add(test.answer)) {
				now = open[0].From.Add(test.answer)
				if now.Before(open[0].To) {
					m.Move(now, open[0], Span{open[0].From, now}, test.w)
				}
				open = open[1:]
				continue
			}
			now = at
			open = append(open, Span{now, now.Add(test.spread)})
			m.Count(now, open[len(open)-1], test.w)
			n += test.w
		}
		if got := float64(n) / 10; got < 0.98*test.want || got > 1.02*test.want+float64(test.w) {
			t.Errorf("%s, spread %v, answered after %v, weights of %d: %v per second, want %v", test.text, test.spread, test.answer, test.w, got, test.want)
		}
	}
}
