package lease

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// saturated returns a fleet in which everybody wants all there is.
func saturated(n int64, instances int, l Limit) *fleet {
	l.N = n
	f := newFleet(uint64(n), l)
	f.keen = true
	for range instances {
		f.bear(Share)
	}
	return f
}

var sliding = Limit{Limit: "requests/1s", Window: time.Second, Linger: 1025 * ms}

func TestSaturatedFleetUsesAllAndGoesOnToDoSo(t *testing.T) {
	for _, n := range []int64{10, 50, 500, 5000} {
		f := saturated(n, 4, sliding)
		f.run(Grace + 6*Beat)
		var sum int64
		const samples = 1000
		for range samples {
			f.run(10 * ms)
			sum += f.counting[0]
		}
		if f.violation != "" {
			t.Fatal(f.violation)
		}
		if usage := float64(sum) / samples / float64(n); usage < 0.9 {
			t.Errorf("%d among 4: %.1f %% of it counts at the upstream on average, want 90", n, 100*usage)
		}
	}
}

func TestEqualDemandGetsEqualParts(t *testing.T) {
	for _, n := range []int64{1, 5, 10, 50, 203} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			f := saturated(n, 4, sliding)
			f.run(10 * time.Second)
			var used [4]float64
			const samples = 10 * 10 * 100 // in ten windows, ten times
			for range samples {
				f.run(10 * ms)
				for i, in := range f.instances {
					used[i] += float64(in.used[0])
				}
			}
			if least, greatest := slices.Min(used[:]), slices.Max(used[:]); greatest > 1.1*least {
				t.Errorf("counted of each in %d samples: %v, want max/min of 1.1 at most", samples, used)
			}
		})
	}
}

// Who asks for all leaves room for others, and gets what they do not want.
func TestBusyOneGetsWhatQuietOnesLeave(t *testing.T) {
	f := saturated(100, 4, sliding)
	f.keen = false
	f.run(5 * time.Second)
	for _, in := range f.instances {
		in.busy = false
	}
	busy := f.instances[0]
	var most int64
	for range 300 {
		busy.busy = true
		for _, in := range f.instances[1:] {
			in.busy = false
		}
		f.run(10 * ms)
		most = max(most, busy.holder.Part(f.time(), 0).Target)
	}
	if most < 60 {
		t.Errorf("one busy among three quiet ones holds %d of 100, want 60 at least", most)
	}
}

func TestStoreAwayForAllLeavesEverybodyItsShare(t *testing.T) {
	f := saturated(100, 4, sliding)
	f.run(5 * time.Second)
	f.down = true
	f.run(Kept + Held + sliding.Linger + 2*Beat)
	var sum int64
	for range 300 {
		f.run(10 * ms)
		sum += f.counting[0]
	}
	if f.violation != "" || sum < 300*85 {
		t.Errorf("store away: %d of 100 count on average (%s), want 85 at least", sum/300, f.violation)
	}
	f.down = false
	f.account = NewAccount()
	f.run(Grace + 4*Beat)
	if held := f.held(0); held != 100 || f.violation != "" {
		t.Errorf("store back, empty: %d of 100 held (%s), want all", held, f.violation)
	}
}
