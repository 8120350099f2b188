package line

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// What Next says is what happens: calls of a lane are then taken in that order,
// and the line is as it was before anybody asked.
func TestNextIsTheOrderInWhichCallsAreTaken(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 6))
		l := New(Bounds{})
		for i := range 60 {
			e := &Entry{
				Client: fmt.Sprint(rng.IntN(6)), Weight: 1 + rng.IntN(4), Priority: rng.IntN(8),
				Lane: uint64(rng.IntN(2)), Value: i, Arrived: after(float64(rng.IntN(40))),
			}
			if err := l.Join(after(40), e); err != nil {
				t.Fatal(err)
			}
			if rng.IntN(3) == 0 { // so that passes differ
				l.Take(after(40), head(l, after(40)))
			}
		}
		now := after(41)
		places := l.Next(now, 1000)
		if len(places) != l.Len() {
			t.Fatalf("seed %d: %d places of %d calls", seed, len(places), l.Len())
		}
		if some := l.Next(now, 5); len(some) != 5 || some[4] != places[4] {
			t.Fatalf("seed %d: the first 5 are %v, want the same as of all", seed, some)
		}
		taken := map[uint64]int{}
		for i, p := range places {
			l.Heads(now, func(e *Entry) bool {
				if e.Lane == p.Entry.Lane && e != p.Entry {
					t.Fatalf("seed %d, place %d: next of lane %d is %v, want %v", seed, i, e.Lane, e.Value, p.Entry.Value)
				}
				return true
			})
			if p.Ahead != taken[p.Entry.Lane] {
				t.Fatalf("seed %d, place %d: %d ahead, want %d", seed, i, p.Ahead, taken[p.Entry.Lane])
			}
			taken[p.Entry.Lane]++
			l.Take(now, p.Entry)
		}
	}
}

func TestClientsAreCounted(t *testing.T) {
	l := New(Bounds{})
	for i, name := range []string{"a", "b", "a", "a"} {
		join(t, l, 0, &Entry{Client: name, Priority: i % 2, Lane: uint64(i)})
	}
	got := map[string]int{}
	for name, n := range l.Clients() {
		got[name] += n
	}
	if len(got) != 2 || got["a"] != 3 || got["b"] != 1 {
		t.Errorf("clients = %v, want a: 3, b: 1", got)
	}
}

func BenchmarkNextOfTenThousand(b *testing.B) {
	for _, clients := range []int{5, 10_000} {
		b.Run(fmt.Sprint(clients, " clients"), func(b *testing.B) {
			l := New(Bounds{})
			for i := range 10_000 {
				if err := l.Join(t0, &Entry{Client: fmt.Sprint(i % clients), Priority: 3}); err != nil {
					b.Fatal(err)
				}
			}
			for b.Loop() {
				if got := l.Next(t0.Add(time.Second), 100); len(got) != 100 {
					b.Fatal(len(got))
				}
			}
		})
	}
}
