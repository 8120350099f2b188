package line

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// Two clients that always have calls waiting never differ by more than one turn
// each from their shares, over any stretch of turns.
func TestSharesStayWithinOneTurn(t *testing.T) {
	weights := map[string]int{"a": 1, "b": 2, "c": 3, "d": 7, "e": 16}
	l := New(Bounds{})
	add := func(client string) {
		join(t, l, 0, &Entry{Client: client, Weight: weights[client], Priority: 3})
	}
	for client := range weights {
		add(client)
		add(client)
	}
	const turns = 2000
	taken := make([]map[string]int, 1, turns+1)
	taken[0] = map[string]int{}
	for i := range turns {
		e := head(l, t0)
		l.Take(t0, e)
		add(e.Client)
		sum := map[string]int{}
		for client := range weights {
			sum[client] = taken[i][client]
		}
		sum[e.Client]++
		taken = append(taken, sum)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		from := rng.IntN(turns)
		to := from + 1 + rng.IntN(turns-from)
		for x, wx := range weights {
			for y, wy := range weights {
				nx := taken[to][x] - taken[from][x]
				ny := taken[to][y] - taken[from][y]
				// |nx/wx - ny/wy| <= 1/wx + 1/wy, without fractions
				if d := nx*wy - ny*wx; d > wx+wy || -d > wx+wy {
					t.Fatalf("turns %d to %d: %s (weight %d) got %d, %s (weight %d) got %d: more than a turn each from fair",
						from, to, x, wx, nx, y, wy, ny)
				}
			}
		}
	}
}

// A client that sends one call after another is never idle for long, yet always
// gone from the line when it is taken. It must get its share all the same.
func TestOneCallAtATimeGetsItsShare(t *testing.T) {
	for _, weight := range []int{1, 2, 4} {
		l := New(Bounds{})
		for range 3000 {
			join(t, l, 0, call("backlog", "b", 3))
		}
		one := &Entry{Client: "one", Weight: weight, Priority: 3}
		join(t, l, 1, one)
		got := 0
		for range 1000 {
			e := head(l, after(1))
			l.Take(after(1), e)
			if e == one {
				got++
				one.Arrived = time.Time{}
				join(t, l, 1, one)
			}
		}
		if want := 1000 * weight / (weight + 1); got < want-1 || got > want+1 {
			t.Errorf("weight %d against a backlog of weight 1: %d of 1000 turns, want %d ± 1", weight, got, want)
		}
	}
}

// Turns taken by promotion leave no debt: else a client that starved among
// urgent calls would starve again when those have gone.
func TestPromotionLeavesNoDebt(t *testing.T) {
	l := New(Bounds{})
	for range 500 {
		join(t, l, 0, call("old", "old", 7))
	}
	for i := range 400 { // a fresh call of another client has its turn, but is not due
		now := 100 + float64(i)/100
		join(t, l, now, call("urgent", "u", 0))
		if i == 0 {
			fresh := call("fresh", "fresh", 7)
			fresh.Weight = 16
			join(t, l, now, fresh)
		}
		e := head(l, after(now))
		if e.Value != "old" {
			t.Fatalf("take %d: %v, want old", i, e.Value)
		}
		l.Take(after(now), e)
		l.Leave(head0(l, "u"))
	}
	for range 10 {
		join(t, l, 105, call("other", "other", 7))
	}
	got := ""
	for range 6 {
		e := head(l, after(105))
		l.Take(after(105), e)
		got += fmt.Sprint(e.Value) + " "
	}
	if want := "fresh old other old other old "; got != want {
		t.Errorf("after 400 promoted turns of old: %s, want %s", got, want)
	}
}

// head0 returns some call of a client.
func head0(l *Line, client string) *Entry {
	for e := range l.All() {
		if e.Client == client {
			return e
		}
	}
	return nil
}

// Each history tries to starve one victim: it presses on the line, one call
// taken for each that comes, until the victim is taken or the bound is passed.
func TestNobodyIsOvertakenWithoutEnd(t *testing.T) {
	const tick = 100 * time.Millisecond // one take each
	tests := []struct {
		name   string
		victim Entry
		press  func(i int) *Entry // the call that comes at tick i
		within int                // takes
	}{
		// 700 ticks until it counts as class 0, then those 20 that arrived before.
		{"urgent calls", Entry{Client: "v", Priority: 7}, func(int) *Entry {
			return &Entry{Client: "u", Priority: 0}
		}, 721},
		{"urgent calls, with a light client's in its class", Entry{Client: "v", Priority: 7}, func(i int) *Entry {
			if i%2 == 0 {
				return &Entry{Client: fmt.Sprint(i), Priority: 7, Weight: 16}
			}
			return &Entry{Client: "u", Priority: 0}
		}, 721},
		{"ever new clients", Entry{Client: "v", Priority: 3}, func(i int) *Entry {
			return &Entry{Client: fmt.Sprint(i), Priority: 3}
		}, 21},
		// Two rounds of the 20 that wait: v's first call, then the victim.
		{"ever new clients, behind a call of its own", Entry{Client: "v", Priority: 3}, func(i int) *Entry {
			if i == 19 {
				return &Entry{Client: "v", Priority: 3}
			}
			return &Entry{Client: fmt.Sprint(i), Priority: 3}
		}, 2*20 + 1},
		// 16 generations of newcomers, each the 20 that wait, until the pass is v's.
		{"ever new clients of great weight", Entry{Client: "v", Priority: 3}, func(i int) *Entry {
			return &Entry{Client: fmt.Sprint(i), Priority: 3, Weight: 16}
		}, 16*20 + 1},
		{"one client of great weight", Entry{Client: "v", Priority: 3}, func(int) *Entry {
			return &Entry{Client: "h", Priority: 3, Weight: 16}
		}, 17},
		{"its own client", Entry{Client: "v", Priority: 3}, func(int) *Entry {
			return &Entry{Client: "v", Priority: 3}
		}, 21},
		{"another lane", Entry{Client: "v", Priority: 7, Lane: 1}, func(int) *Entry {
			return &Entry{Client: "u", Priority: 0}
		}, 721},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l, now, victim := New(Bounds{}), t0, &tt.victim
			for i := range 20 {
				if err := l.Join(now, tt.press(i)); err != nil {
					t.Fatal(err)
				}
			}
			if err := l.Join(now, victim); err != nil {
				t.Fatal(err)
			}
			for i := 1; ; i++ {
				now = now.Add(tick)
				e := head(l, now)
				l.Take(now, e)
				if e == victim {
					return
				}
				if i > tt.within {
					t.Fatalf("overtaken by %d calls, want at most %d", i, tt.within)
				}
				if err := l.Join(now, tt.press(20+i)); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// In a random history, one take a tick from a line of bounded length, every
// call is taken within a bound, however unkindly the others are chosen. The
// bound, in takes, is the sum of
//
//   - the ticks of 7 AgeSteps, after which no later call of another class may pass;
//   - the length of the line, for those of other classes that came before;
//   - turns in its class: its own comes one stride per call of its client beyond
//     the class's pass. While the pass rises by the least stride, turn/maxWeight,
//     only calls that waited when it began may be taken: length of them.
func TestEveryCallIsTakenWithinABound(t *testing.T) {
	const (
		length    = 12
		maxWeight = 3
		tick      = 500 * time.Millisecond
		bound     = int(7*AgeStep/tick) + length + length*length*maxWeight
	)
	for seed := range uint64(10) {
		rng := rand.New(rand.NewPCG(seed, 0))
		l, now := New(Bounds{}), t0
		names := 1 + rng.IntN(30)
		classes := 1 + rng.IntN(8)
		worst := 0
		for i := range 5000 {
			for l.Len() < length {
				client := fmt.Sprint(rng.IntN(names))
				weight := 1 + len(client)%maxWeight
				if rng.IntN(3) == 0 {
					client, weight = fmt.Sprint("new", i), maxWeight
				}
				e := &Entry{Client: client, Weight: weight, Priority: rng.IntN(classes), Value: i}
				if err := l.Join(now, e); err != nil {
					t.Fatal(err)
				}
			}
			now = now.Add(tick)
			e := head(l, now)
			l.Take(now, e)
			worst = max(worst, i-e.Value.(int))
			for e := range l.All() {
				if over := i - e.Value.(int); over > bound {
					t.Fatalf("seed %d: %+v overtaken by %d calls, want at most %d", seed, *e, over, bound)
				}
			}
		}
		t.Logf("seed %d: %d names, %d classes: overtaken by at most %d calls, bound %d", seed, names, classes, worst, bound)
	}
}
