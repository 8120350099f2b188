package retry

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

const (
	ms = time.Millisecond
	s  = time.Second
)

// always returns a source that gives v each time.
func always(v float64) func() float64 { return func() float64 { return v } }

// almostOne is the largest number that a source may return.
const almostOne = 1 - 1.0/(1<<53)

func seeded(seed uint64) func() float64 { return rand.New(rand.NewPCG(seed, 2)).Float64 }

func TestBackoffDoublesUpToCap(t *testing.T) {
	for _, tt := range []struct {
		base, cap time.Duration
		n         int
		want      time.Duration
	}{
		{500 * ms, 60 * s, 1, 500 * ms},
		{500 * ms, 60 * s, 2, s},
		{500 * ms, 60 * s, 3, 2 * s},
		{500 * ms, 60 * s, 7, 32 * s},
		{500 * ms, 60 * s, 8, 60 * s},
		{500 * ms, 64 * s, 8, 64 * s},
		{500 * ms, 64*s + 1, 8, 64 * s},
		{500 * ms, 64*s - 1, 8, 64*s - 1},
		{500 * ms, 60 * s, 64, 60 * s},
		{500 * ms, 60 * s, 1_000_000, 60 * s},
		{500 * ms, 60 * s, math.MaxInt, 60 * s},
		{500 * ms, 60 * s, 0, 500 * ms},
		{500 * ms, 60 * s, math.MinInt, 500 * ms},
		{1, math.MaxInt64, 63, 1 << 62},
		{1, math.MaxInt64, 64, math.MaxInt64},
		{3, math.MaxInt64, 62, 3 << 61},
		{3, math.MaxInt64, 63, math.MaxInt64},
		{60 * s, s, 1, s},
		{0, 60 * s, 9, 0},
		{-s, 60 * s, 9, 0},
		{s, 0, 9, 0},
		{s, -s, 9, 0},
	} {
		p := Policy{Base: tt.base, Cap: tt.cap, Jitter: None}
		if got := p.Backoff(tt.n, 0, always(0.5)); got != tt.want {
			t.Errorf("base %v, cap %v, n %d: backoff = %v, want %v", tt.base, tt.cap, tt.n, got, tt.want)
		}
	}
}

func TestBackoffJittersBetweenItsBounds(t *testing.T) {
	for _, tt := range []struct {
		jitter    Jitter
		n         int
		prev      time.Duration
		low, high time.Duration
		mean      time.Duration
	}{
		{Full, 1, 0, 0, s, s / 2},
		{Full, 3, 0, 0, 4 * s, 2 * s},
		{Full, 9, 0, 0, 20 * s, 10 * s}, // held to Cap before the jitter
		{Equal, 1, 0, s / 2, s, 750 * ms},
		{Equal, 3, 0, 2 * s, 4 * s, 3 * s},
		{Equal, 9, 0, 10 * s, 20 * s, 15 * s},
		{Decorrelated, 1, 0, s, 3 * s, 2 * s},
		{Decorrelated, 9, 100 * ms, s, 3 * s, 2 * s}, // never below what follows Base
		{Decorrelated, 2, 2 * s, s, 6 * s, 3500 * ms},
		{Decorrelated, 2, 10 * s, s, 20 * s, 10500 * ms}, // held to Cap before the jitter
		{Decorrelated, 2, time.Hour, s, 20 * s, 10500 * ms},
		{None, 3, 0, 4 * s, 4 * s, 4 * s},
	} {
		const draws = 20_000
		p := Policy{Base: s, Cap: 20 * s, Jitter: tt.jitter}
		rnd := seeded(7)
		least, most, sum := time.Duration(math.MaxInt64), time.Duration(-1), time.Duration(0)
		for range draws {
			wait := p.Backoff(tt.n, tt.prev, rnd)
			least, most, sum = min(least, wait), max(most, wait), sum+wait
		}
		near := (tt.high - tt.low) / 100
		if least < tt.low || least > tt.low+near || most > tt.high || most < tt.high-near {
			t.Errorf("%v, n %d, prev %v: waits in [%v, %v], want all of [%v, %v]", tt.jitter, tt.n, tt.prev, least, most, tt.low, tt.high)
		}
		if mean := sum / draws; (mean - tt.mean).Abs() > near {
			t.Errorf("%v, n %d, prev %v: mean = %v, want %v ± %v", tt.jitter, tt.n, tt.prev, mean, tt.mean, near)
		}
	}
}

func TestBackoffAtCapDoesNotBunch(t *testing.T) {
	for _, tt := range []struct {
		jitter Jitter
		low    time.Duration // with Cap the range of waits, in which each tenth gets a tenth
	}{{Full, 0}, {Equal, 10 * s}, {Decorrelated, s}} {
		const draws, tenths = 20_000, 10
		p := Policy{Base: s, Cap: 20 * s, Jitter: tt.jitter}
		rnd := seeded(8)
		var counts [tenths + 1]int
		for range draws {
			wait := p.Backoff(50, p.Cap, rnd)
			counts[(wait-tt.low)*tenths/(p.Cap-tt.low)]++
		}
		for i, got := range counts[:tenths] {
			if want := draws / tenths; got < want*9/10 || got > want*11/10 {
				t.Errorf("%v: tenth %d got %d of %d waits, want about %d", tt.jitter, i, got, draws, want)
			}
		}
	}
}

func TestWaitJoinsFloorAndBackoff(t *testing.T) {
	const day = 24 * time.Hour
	for _, tt := range []struct {
		name     string
		floor    time.Duration
		hasFloor bool
		n        int
		rnd      float64
		want     time.Duration
	}{
		{"no floor: the backoff", 5 * s, false, 3, 0, 4 * s},
		{"floor above: no jitter drawn", 10 * s, true, 1, 0, 10 * s},
		{"floor above: half the jitter", 8 * s, true, 1, 0.5, 8*s + 400*ms},
		{"floor above: a tenth at most", 8 * s, true, 1, almostOne, 8*s + 800*ms - 1},
		{"ten seconds: 1 s at most", 10 * s, true, 1, almostOne, 11*s - 1},
		{"long: 1 s at most", day, true, 1, almostOne, day + s - 1},
		{"floor beyond Cap is kept", day, true, 9, 0, day},
		{"floor below the backoff", s, true, 3, almostOne, 2 * s},
		{"the first floor is believed", s / 10, true, 1, 0, s / 10},
		{"the second is not alone", s / 10, true, 2, 0, s},
		{"jitter lifts the floor over the backoff", 4*s - 1, true, 3, 0.5, 4*s - 1 + 200*ms - 1},
		{"floor 0 gets the backoff", 0, true, 3, 0.5, 4 * s},
		{"negative floor is none", -day, true, 3, 0.5, 4 * s},
		{"longest floor does not overflow", math.MaxInt64, true, 3, almostOne, math.MaxInt64},
		{"nearly so", math.MaxInt64 - s, true, 3, almostOne, math.MaxInt64 - 1},
	} {
		p := Policy{Base: s, Cap: 20 * s, Jitter: None}
		if got := p.Wait(tt.n, 0, tt.floor, tt.hasFloor, always(tt.rnd)); got != tt.want {
			t.Errorf("%s: Wait(%d, floor %v, %v) = %v, want %v", tt.name, tt.n, tt.floor, tt.hasFloor, got, tt.want)
		}
	}
}

func TestWaitSpreadsThoseToldTheSame(t *testing.T) {
	const draws = 20_000
	p := Policy{Base: s, Cap: 20 * s}
	rnd := seeded(9)
	least, most, sum := time.Duration(math.MaxInt64), time.Duration(0), time.Duration(0)
	for range draws {
		wait := p.Wait(1, 0, 5*s, true, rnd)
		least, most, sum = min(least, wait), max(most, wait), sum+wait
	}
	mean := sum / draws
	if least < 5*s || least > 5*s+5*ms || most > 5*s+500*ms || most < 5*s+495*ms || (mean-5*s-250*ms).Abs() > 5*ms {
		t.Errorf("waits for a floor of 5s in [%v, %v], mean %v; want [5s, 5.5s], mean 5.25s", least, most, mean)
	}
}

func FuzzWaitStaysInBounds(f *testing.F) {
	f.Add(uint64(1), int64(s), int64(60*s), 1, int64(0), int64(0))
	f.Add(uint64(2), int64(1), int64(math.MaxInt64), 64, int64(math.MaxInt64), int64(math.MaxInt64))
	f.Add(uint64(3), int64(math.MaxInt64), int64(math.MaxInt64), 1_000_000, int64(math.MaxInt64/3+1), int64(1))
	f.Add(uint64(4), int64(math.MinInt64), int64(math.MinInt64), math.MinInt, int64(math.MinInt64), int64(math.MinInt64))
	f.Add(uint64(5), int64(1<<62+1), int64(1<<62+1), 1, int64(1<<62+1), int64(1<<62+1))
	f.Fuzz(func(t *testing.T, seed uint64, base, cap int64, n int, prev, floor int64) {
		draw := seeded(seed)
		for _, rnd := range []func() float64{draw, always(0), always(almostOne)} {
			for jitter := Full; jitter <= None; jitter++ {
				checkWait(t, Policy{Base: time.Duration(base), Cap: time.Duration(cap), Jitter: jitter}, n, time.Duration(prev), time.Duration(floor), rnd)
			}
		}
	})
}

func TestWaitStaysInBoundsForAnyAttempt(t *testing.T) {
	rnd := seeded(10)
	for jitter := Full; jitter <= None; jitter++ {
		p := Policy{Base: 500 * ms, Cap: 60 * s, Jitter: jitter}
		prev := time.Duration(0)
		for n := 1; n <= 1_000_000; n += 1 + n/500 {
			prev = checkWait(t, p, n, prev, time.Duration(n)*ms, rnd)
		}
		checkWait(t, p, 1_000_000, prev, 0, rnd)
	}
}

// checkWait compares waits with what is true of all of them, and returns the
// one without a floor.
func checkWait(t *testing.T, p Policy, n int, prev, floor time.Duration, rnd func() float64) time.Duration {
	t.Helper()
	wait := p.Wait(n, prev, floor, false, rnd)
	if wait < 0 || wait > max(p.Cap, 0) {
		t.Fatalf("%+v: Wait(%d, %v) = %v, want it in [0, Cap]", p, n, prev, wait)
	}
	if p.Jitter == Decorrelated && wait < min(p.Base, p.Cap) {
		t.Fatalf("%+v: Wait(%d, %v) = %v, want no less than Base", p, n, prev, wait)
	}
	asked := p.Wait(n, prev, floor, true, rnd)
	if asked < 0 || asked < floor {
		t.Fatalf("%+v: Wait(%d, %v, floor %v) = %v, want no less than the floor", p, n, prev, floor, asked)
	}
	if late := asked - max(floor, 0); asked > max(p.Cap, 0) && late > min(max(floor, 0)/10, s) {
		t.Fatalf("%+v: Wait(%d, %v, floor %v) = %v, %v later than asked", p, n, prev, floor, asked, late)
	}
	return wait
}

func TestZeroPolicyNeverWaits(t *testing.T) {
	if got := (Policy{}).Backoff(3, s, always(0.5)); got != 0 {
		t.Errorf("backoff of the zero policy = %v, want 0", got)
	}
}

func FuzzParseJitter(f *testing.F) {
	for _, text := range []string{"full", "equal", "decorrelated", "none", "", "Full", " full", "jitter"} {
		f.Add(text)
	}
	known := map[string]Jitter{"full": Full, "equal": Equal, "decorrelated": Decorrelated, "none": None}
	f.Fuzz(func(t *testing.T, text string) {
		want, ok := known[text]
		got, err := ParseJitter(text)
		if got != want || (err == nil) != ok {
			t.Errorf("ParseJitter(%q) = %v, %v; want %v, known %v", text, got, err, want, ok)
		}
		if err == nil && got.String() != text {
			t.Errorf("ParseJitter(%q).String() = %q", text, got)
		}
	})
}

func TestUnknownJitterHasAName(t *testing.T) {
	if got, want := Jitter(9).String(), "Jitter(9)"; got != want {
		t.Errorf("Jitter(9) = %q, want %q", got, want)
	}
}
