package line

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

var t0 = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// after returns the moment s seconds after t0.
func after(s float64) time.Time { return t0.Add(time.Duration(s * float64(time.Second))) }

// call returns an entry named by its Value.
func call(name, client string, priority int) *Entry {
	return &Entry{Client: client, Priority: priority, Value: name}
}

func join(t *testing.T, l *Line, s float64, e *Entry) {
	t.Helper()
	if err := l.Join(after(s), e); err != nil {
		t.Fatalf("Join(%v) = %v, want nil", e.Value, err)
	}
}

// heads returns the names of all heads.
func heads(l *Line, now time.Time) string {
	var names []string
	l.Heads(now, func(e *Entry) bool {
		names = append(names, fmt.Sprint(e.Value))
		return true
	})
	return strings.Join(names, " ")
}

// head returns the first head, nil if the line is empty.
func head(l *Line, now time.Time) (first *Entry) {
	l.Heads(now, func(e *Entry) bool { first = e; return false })
	return first
}

// drain takes first heads at one moment until the line is empty.
func drain(l *Line, now time.Time) string {
	var names []string
	for e := head(l, now); e != nil; e = head(l, now) {
		l.Take(now, e)
		names = append(names, fmt.Sprint(e.Value))
	}
	return strings.Join(names, " ")
}

func TestOrderOfTaking(t *testing.T) {
	type step struct {
		at float64 // seconds after t0
		e  *Entry
	}
	weighted := func(name, client string, weight int) *Entry {
		e := call(name, client, 3)
		e.Weight = weight
		return e
	}
	retry := func(name, client string, arrived float64) *Entry {
		e := call(name, client, 3)
		e.Arrived = after(arrived)
		return e
	}
	tests := []struct {
		name  string
		steps []step
		at    float64
		want  string
	}{
		{"urgent first", []step{{0, call("c7", "a", 7)}, {1, call("c3", "a", 3)}, {2, call("c0", "a", 0)}}, 2, "c0 c3 c7"},
		{"priorities are clamped", []step{{0, call("c99", "a", 99)}, {1, call("c7", "b", 7)}, {2, call("c0", "a", 0)}, {3, call("c-9", "b", -9)}}, 3, "c0 c-9 c99 c7"},
		{"one client goes by arrival", []step{{0, call("1", "a", 3)}, {1, call("2", "a", 3)}, {2, call("3", "a", 3)}}, 2, "1 2 3"},
		{"ties of arrival go by join", []step{{0, call("1", "a", 3)}, {0, call("2", "a", 3)}, {0, call("3", "a", 3)}}, 0, "1 2 3"},
		{"a retry keeps its place", []step{{0, call("1", "a", 3)}, {2, call("3", "a", 3)}, {3, call("4", "a", 3)}, {4, retry("2", "a", 1)}}, 4, "1 2 3 4"},
		{"clients take turns", []step{{0, call("a1", "a", 3)}, {0, call("a2", "a", 3)}, {0, call("a3", "a", 3)}, {1, call("b1", "b", 3)}, {1, call("b2", "b", 3)}}, 2, "a1 b1 a2 b2 a3"},
		{"the nameless client is one", []step{{0, call("1", "", 3)}, {0, call("2", "", 3)}, {1, call("b1", "b", 3)}}, 2, "1 b1 2"},
		{"turns go by weight", []step{{0, weighted("a1", "a", 1)}, {0, weighted("a2", "a", 1)}, {1, weighted("b1", "b", 2)}, {1, weighted("b2", "b", 2)}, {1, weighted("b3", "b", 2)}}, 2, "b1 a1 b2 b3 a2"},
		{"no weight is 1", []step{{0, weighted("a1", "a", 0)}, {0, weighted("a2", "a", 0)}, {1, weighted("b1", "b", -5)}, {1, weighted("b2", "b", 1)}}, 2, "a1 b1 a2 b2"},
		{"a step of waiting is a class", []step{{0, call("old4", "a", 4)}, {5, call("new3", "b", 3)}}, 10, "old4 new3"},
		{"less than a step is none", []step{{0, call("old4", "a", 4)}, {5, call("new3", "b", 3)}}, 9.999, "new3 old4"},
		{"nothing is more urgent than class 0", []step{{-300, call("old7", "a", 7)}, {-301, call("old0", "b", 0)}}, 0, "old0 old7"},
		{"age makes no client better than another of its class", []step{{0, call("a1", "a", 3)}, {0, call("a2", "a", 3)}, {0, call("a3", "a", 3)}, {100, call("b1", "b", 3)}}, 101, "a1 b1 a2 a3"},
		// a1 is past class 0's call, and so is a2; b1, though its turn, is not.
		{"fresh calls don't ride on the age of others", []step{{0, call("a0", "a", 3)}, {0, call("a1", "a", 3)}, {0, call("a2", "a", 3)}, {39, weighted("b1", "b", 9)}, {40, call("u", "u", 0)}}, 40, "a0 a1 a2 u b1"},
		// At 40 all of class 3 are past u, so turns alone decide among them.
		{"aged calls take turns", []step{{0, call("a1", "a", 3)}, {0, call("a2", "a", 3)}, {5, call("b1", "b", 3)}, {40, call("u", "u", 0)}}, 40, "a1 b1 a2 u"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := New(Bounds{})
			for _, s := range tt.steps {
				if s.e.Arrived.IsZero() {
					join(t, l, s.at, s.e)
				} else {
					l.Rejoin(after(s.at), s.e)
				}
			}
			if got := drain(l, after(tt.at)); got != tt.want {
				t.Errorf("taken at +%vs: %s, want %s", tt.at, got, tt.want)
			}
		})
	}
}

func TestJoinRefusesBeyondBounds(t *testing.T) {
	tests := []struct {
		bounds Bounds
		bytes  []int64
		want   string // + joined, - refused
	}{
		{Bounds{}, []int64{1, 1 << 40, 0}, "+++"},
		{Bounds{MaxLength: -1, MaxBytes: -1}, []int64{1, 1}, "++"},
		{Bounds{MaxLength: 2}, []int64{0, 0, 0}, "++-"},
		{Bounds{MaxBytes: 10}, []int64{4, 6, 0, 1}, "+++-"},
		{Bounds{MaxBytes: 10}, []int64{4, 7, 6}, "+-+"},
		{Bounds{MaxBytes: 10}, []int64{11, 10}, "-+"},
		{Bounds{MaxBytes: 10}, []int64{1, math.MaxInt64, 9}, "+-+"},
		{Bounds{MaxBytes: 10}, []int64{-5, 10, 1}, "++-"},
		{Bounds{MaxLength: 3, MaxBytes: 10}, []int64{5, 6, 5, 0, 0}, "+-++-"},
	}
	for _, tt := range tests {
		l, got := New(tt.bounds), ""
		for _, n := range tt.bytes {
			switch err := l.Join(t0, &Entry{Bytes: n}); {
			case err == nil:
				got += "+"
			case errors.Is(err, ErrFull):
				got += "-"
			default:
				t.Errorf("%+v: Join of %d bytes = %v, want nil or ErrFull", tt.bounds, n, err)
			}
		}
		if got != tt.want {
			t.Errorf("%+v: joins of %v bytes: %s, want %s", tt.bounds, tt.bytes, got, tt.want)
		}
	}
}

func TestRejoinIsNeverRefusedButCounts(t *testing.T) {
	l := New(Bounds{MaxLength: 1, MaxBytes: 10})
	a, b := &Entry{Bytes: 10}, &Entry{Bytes: 10}
	join(t, l, 0, a)
	l.Take(after(0), a)
	join(t, l, 1, b)
	l.Rejoin(after(2), a)
	if l.Len() != 2 || l.Bytes() != 20 {
		t.Errorf("after Rejoin: %d calls, %d bytes, want 2 and 20", l.Len(), l.Bytes())
	}
	if got := head(l, after(2)); got != a {
		t.Errorf("head = %+v, want the retry, which arrived first", got)
	}
	l.Leave(a)
	if err := l.Join(after(3), &Entry{}); !errors.Is(err, ErrFull) {
		t.Errorf("Join to a line with a call in a bound of 1 = %v, want ErrFull", err)
	}
}

func TestSmallerBoundsThrowNobodyOut(t *testing.T) {
	l := New(Bounds{})
	for range 3 {
		join(t, l, 0, &Entry{Bytes: 5})
	}
	l.SetBounds(Bounds{MaxLength: 2, MaxBytes: 100})
	if l.Len() != 3 || l.Bytes() != 15 {
		t.Errorf("after SetBounds: %d calls, %d bytes, want 3 and 15", l.Len(), l.Bytes())
	}
	for waiting := 3; waiting >= 2; waiting-- {
		if err := l.Join(t0, &Entry{}); !errors.Is(err, ErrFull) {
			t.Errorf("Join behind %d calls in a bound of 2 = %v, want ErrFull", waiting, err)
		}
		l.Take(t0, head(l, t0))
	}
	join(t, l, 0, &Entry{})
}

func TestLeaveReportsWhetherItWasInLine(t *testing.T) {
	l, other := New(Bounds{}), New(Bounds{})
	e := call("e", "a", 3)
	if l.Leave(e) {
		t.Error("Leave before Join = true, want false")
	}
	join(t, l, 0, e)
	if other.Leave(e) {
		t.Error("Leave of another line's entry = true, want false")
	}
	if !l.Leave(e) || l.Leave(e) {
		t.Error("Leave twice: want true, then false")
	}
	if l.Len() != 0 || head(l, t0) != nil {
		t.Errorf("line after its only call left: %d calls, head %v, want none", l.Len(), head(l, t0))
	}
}

func TestMisuseOfEntriesPanics(t *testing.T) {
	l, in, out := New(Bounds{}), call("in", "a", 3), call("out", "a", 3)
	join(t, l, 0, in)
	for name, misuse := range map[string]func(){
		"Join twice":            func() { _ = l.Join(t0, in) },
		"Rejoin while in line":  func() { l.Rejoin(t0, in) },
		"Join of another line":  func() { _ = New(Bounds{}).Join(t0, in) },
		"Take of one not there": func() { l.Take(t0, out) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			misuse()
		}()
	}
	if got := drain(l, t0); got != "in" {
		t.Errorf("line after misuse holds %q, want in", got)
	}
}

func TestLeavingCostsNoTurn(t *testing.T) {
	l := New(Bounds{})
	gone := call("a0", "a", 3)
	for _, e := range []*Entry{gone, call("a1", "a", 3), call("a2", "a", 3), call("b1", "b", 3)} {
		join(t, l, 0, e)
	}
	l.Leave(gone)
	if got, want := drain(l, t0), "a1 b1 a2"; got != want {
		t.Errorf("after a0 left: %s, want %s", got, want)
	}
}

func TestIdlingGainsNothingAndOwesNothing(t *testing.T) {
	l := New(Bounds{})
	a0 := call("a0", "a", 3)
	join(t, l, 0, a0)
	for range 50 { // b works while a has but one call
		join(t, l, 0, call("b", "b", 3))
	}
	l.Take(t0, a0)
	for range 20 {
		l.Take(t0, head(l, t0))
	}
	for range 3 {
		join(t, l, 1, call("a", "a", 3))
	}
	for range 4 {
		join(t, l, 1, call("b", "b", 3))
	}
	// b's calls are older, so it wins the tie; then they alternate until a has none.
	if got, want := drain(l, after(1))[:11], "b a b a b a"; got != want {
		t.Errorf("after a was idle for 20 turns of b: %s, want %s", got, want)
	}
}

func TestHeadsAreOnePerLaneMostDeservingFirst(t *testing.T) {
	l := New(Bounds{})
	for i, e := range []*Entry{
		{Value: "1c5", Lane: 1, Priority: 5},
		{Value: "2c3", Lane: 2, Priority: 3},
		{Value: "3c3", Lane: 3, Priority: 3},
		{Value: "1c1", Lane: 1, Priority: 1},
		{Value: "2c3b", Lane: 2, Priority: 3},
		{Value: "4c4", Lane: 4, Priority: 4},
	} {
		join(t, l, float64(i), e)
	}
	if got, want := heads(l, after(5)), "1c1 2c3 3c3 4c4"; got != want {
		t.Errorf("heads: %s, want %s", got, want)
	}
	// At +18 4c4 has aged to class 3, 2c3 and 3c3 to 2, 1c1 to 0.
	if got, want := heads(l, after(18)), "1c1 2c3 3c3 4c4"; got != want {
		t.Errorf("heads at +18s: %s, want %s", got, want)
	}
	l.Take(after(18), head(l, after(18))) // 1c1; 1c5 has waited 18 s: class 4
	if got, want := heads(l, after(18)), "2c3 3c3 4c4 1c5"; got != want {
		t.Errorf("heads after 1c1: %s, want %s", got, want)
	}
	if got, want := heads(l, after(80)), "1c5 2c3 3c3 4c4"; got != want {
		t.Errorf("heads at +80s, all in class 0: %s, want %s", got, want)
	}
}

func TestHeadsAllowsChangesMeanwhile(t *testing.T) {
	l := New(Bounds{})
	var es []*Entry
	for i := range 4 {
		e := &Entry{Value: i, Lane: uint64(i)}
		join(t, l, float64(i), e)
		es = append(es, e)
	}
	var got []any
	l.Heads(after(5), func(e *Entry) bool {
		got = append(got, e.Value)
		l.Take(after(5), e)
		l.Leave(es[2])
		join(t, l, 5, &Entry{Value: "new", Lane: 9})
		if inner := head(l, after(5)); inner == e {
			t.Errorf("Heads inside Heads yields %v, which was taken", e.Value)
		}
		return true
	})
	if want := []any{0, 1, 3}; !slices.Equal(got, want) {
		t.Errorf("heads while 2 leaves = %v, want %v", got, want)
	}
}

func TestAllAllowsChangesMeanwhile(t *testing.T) {
	l := New(Bounds{})
	es := make([]*Entry, 10)
	for i := range es {
		es[i] = &Entry{Value: i}
		join(t, l, 0, es[i])
	}
	seen := map[*Entry]int{}
	for e := range l.All() {
		seen[e]++
		if e.Value.(int)%2 == 0 {
			l.Leave(e)
			l.Rejoin(t0, e)
		} else {
			l.Leave(e)
		}
		l.Leave(es[9])
		join(t, l, 0, &Entry{Value: 100})
		inner := 0
		for range l.All() {
			inner++
		}
		if inner != l.Len() {
			t.Errorf("All inside All yields %d calls, want %d", inner, l.Len())
		}
	}
	for i, e := range es[:9] {
		if seen[e] != 1 {
			t.Errorf("call %d seen %d times, want once", i, seen[e])
		}
	}
	if len(seen) > 10 {
		t.Errorf("%d calls seen, want none of those that joined meanwhile", len(seen))
	}
	for range l.All() {
		break
	}
}

func TestAheadOfThoseAboutToJoin(t *testing.T) {
	l := New(Bounds{})
	for range 10 {
		join(t, l, 0, call("greedy", "a", 3))
	}
	for range 3 {
		join(t, l, 1, call("jobs", "j", 5))
	}
	tests := []struct {
		e    Entry
		at   float64
		want int
	}{
		{Entry{Client: "a", Priority: 3}, 2, 10},
		{Entry{Client: "b", Priority: 3}, 2, 1},
		{Entry{Client: "b", Priority: 3, Weight: 2}, 2, 0},
		{Entry{Client: "b", Priority: 0}, 2, 0},
		{Entry{Client: "b", Priority: 4}, 2, 10},
		{Entry{Client: "b", Priority: 7}, 2, 13},
		{Entry{Client: "b", Priority: 3}, 22, 4},                      // the jobs have aged past it
		{Entry{Client: "a", Priority: 3, Arrived: after(-1)}, 2, 0},   // a retry
		{Entry{Client: "a", Priority: 3, Lane: 1}, 2, 0},              // an empty lane
		{Entry{Client: "a", Priority: 99, Arrived: after(-90)}, 2, 0}, // old: class 0
	}
	for _, tt := range tests {
		if got := l.Ahead(after(tt.at), &tt.e); got != tt.want {
			t.Errorf("Ahead(%+v) at +%vs = %d, want %d", tt.e, tt.at, got, tt.want)
		}
	}
}
