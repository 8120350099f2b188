package lease

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// wants returns what is wanted in some classes.
func wants(byClass map[int]int64) (want [Classes]int64) {
	for class, n := range byClass {
		want[class] = n
	}
	return want
}

func TestFill(t *testing.T) {
	w := func(n int64) *stake { return &stake{want: wants(map[int]int64{3: n})} }
	tests := []struct {
		name   string
		n      int64
		turn   int
		stakes []*stake
		want   []int64
	}{
		{"alone", 50, 0, []*stake{w(50)}, []int64{50}},
		{"equal demand", 100, 0, []*stake{w(100), w(100), w(100), w(100)}, []int64{25, 25, 25, 25}},
		{"one busy, three quiet", 100, 0, []*stake{w(100), w(2), w(0), w(5)}, []int64{93, 2, 0, 5}},
		{"nobody wants anything: half in equal parts", 100, 0, []*stake{w(0), w(0), w(0), w(0)}, []int64{12, 12, 12, 12}},
		{"half of the rest besides", 100, 0, []*stake{w(40), w(20)}, []int64{50, 30}},
		{"the small ones first", 100, 0, []*stake{w(10), w(80), w(80)}, []int64{10, 45, 45}},
		{"odd ones", 10, 0, []*stake{w(9), w(9), w(9), w(9)}, []int64{2, 2, 3, 3}},
		{"odd ones, the next turn", 10, 1, []*stake{w(9), w(9), w(9), w(9)}, []int64{2, 3, 3, 2}},
		{"fewer than there are instances", 1, 0, []*stake{w(1), w(1), w(1), w(1)}, []int64{0, 0, 0, 1}},
		{"the next turn of one", 1, 2, []*stake{w(1), w(1), w(1), w(1)}, []int64{0, 1, 0, 0}},
		{"urgent ones first", 50, 0, []*stake{w(50), {want: wants(map[int]int64{0: 40})}}, []int64{10, 40}},
		{"classes of one", 50, 0, []*stake{{want: wants(map[int]int64{1: 20, 5: 50})}, {want: wants(map[int]int64{1: 20, 5: 50})}}, []int64{25, 25}},
		{"a heavy call that has waited", 100, 0, []*stake{w(100), {want: wants(map[int]int64{3: 80}), need: 80, since: 1}}, []int64{20, 80}},
		{"a heavy call that has not", 100, 0, []*stake{w(100), {want: wants(map[int]int64{3: 80}), need: 80}}, []int64{50, 50}},
		{"the one that has waited longest", 100, 0, []*stake{{want: wants(map[int]int64{3: 80}), need: 80, since: 2}, {want: wants(map[int]int64{3: 70}), need: 70, since: 1}}, []int64{30, 70}},
		{"what never fits", 100, 0, []*stake{w(100), {want: wants(map[int]int64{3: 500}), need: 500, since: 1}}, []int64{50, 50}},
		{"huge", 1 << 52, 0, []*stake{w(1 << 52), w(1 << 52)}, []int64{1 << 51, 1 << 51}},
		{"nothing", 0, 0, []*stake{w(5), w(5)}, []int64{0, 0}},
	}
	for _, tt := range tests {
		if got := fill(tt.n, tt.stakes, tt.turn); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %d among %s = %v, want %v", tt.name, tt.n, show(tt.stakes), got, tt.want)
		}
	}
}

func show(stakes []*stake) string {
	s := ""
	for _, st := range stakes {
		s += fmt.Sprintf("%v need %d since %d; ", st.want, st.need, st.since)
	}
	return s
}

func TestFillIsFair(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		n := r.Int64N([]int64{3, 20, 1000, 1 << 50}[r.IntN(4)])
		stakes := make([]*stake, 1+r.IntN(8))
		for i := range stakes {
			stakes[i] = &stake{}
			for range r.IntN(3) {
				stakes[i].want[r.IntN(Classes)] = r.Int64N(n + 2)
			}
			if r.IntN(6) == 0 {
				stakes[i].need, stakes[i].since = r.Int64N(n+2), r.Int64N(3)
			}
		}
		turn := r.IntN(len(stakes))
		got := fill(n, stakes, turn)
		if fault := unfair(n, stakes, got); fault != "" {
			t.Fatalf("%s: %d among %s turn %d = %v", fault, n, show(stakes), turn, got)
		}
		if again := fill(n, stakes, turn); !slices.Equal(got, again) {
			t.Fatalf("%d among %s = %v, then %v", n, show(stakes), got, again)
		}
		for i := range stakes {
			if m := most(n, stakes, i, turn); m > n {
				t.Fatalf("%d could have %d of %d: %s", i, m, n, show(stakes))
			}
		}
	}
}

// unfair returns what is wrong with targets.
func unfair(n int64, stakes []*stake, targets []int64) string {
	var sum, wanted int64
	needy := false
	for i, s := range stakes {
		sum += targets[i]
		wanted += max(s.wanted(), s.need)
		needy = needy || s.need > 0
	}
	spare := max(n-wanted, 0) / 2 / int64(len(stakes))
	switch {
	case sum > n:
		return "more than there is"
	case wanted >= n && sum < n && !needy:
		return "some is left while it is wanted"
	}
	for i, s := range stakes {
		if targets[i] < 0 {
			return "less than nothing"
		}
		// What is needed or left over may be up to n/2/len besides.
		if !needy && targets[i] > s.wanted()+max(n-min(wanted, n), 0)/2/int64(len(stakes)) {
			return "more than is wanted, and headroom"
		}
		for j, o := range stakes {
			if !needy && s.want == o.want && targets[i]+int64(Classes) < targets[j] {
				return "less than another gets who wants the same"
			}
			// Who has less than another has what it wants, if both want it in
			// one class.
			if !needy && only(s) && only(o) && class(s) <= class(o) && targets[i]+1 < targets[j] && targets[i] < s.wanted()+spare {
				return "less than another, and than it wants"
			}
		}
	}
	return ""
}

// class returns the most urgent class in which something is wanted.
func class(s *stake) int {
	return slices.IndexFunc(s.want[:], func(n int64) bool { return n > 0 })
}

// only reports whether all that is wanted is in one class.
func only(s *stake) bool { return class(s) >= 0 && s.want[class(s)] == s.wanted() }

func TestTurnsComeRoundInTenWindows(t *testing.T) {
	for _, window := range []time.Duration{time.Second, time.Minute, 24 * time.Hour} {
		for members := 1; members <= 10; members++ {
			turns := make(map[int]bool)
			for at := time.Duration(0); at < 10*window; at += window / 100 {
				turns[turnOf(at.Microseconds(), window.Microseconds(), 3, members)] = true
			}
			if len(turns) != members {
				t.Errorf("in 10 windows of %v, %d of %d have had their turn", window, len(turns), members)
			}
		}
	}
}
