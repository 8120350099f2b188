package cli

import "testing"

func TestDistanceCountsEdits(t *testing.T) {
	for _, s := range []struct {
		a, b string
		want int
	}{
		{"", "", 0},
		{"", "abc", 3},
		{"serve", "serve", 0},
		{"srve", "serve", 1},
		{"upstraem", "upstream", 2},
		{"kitten", "sitting", 3},
	} {
		for _, got := range []int{distance(s.a, s.b), distance(s.b, s.a)} {
			if got != s.want {
				t.Errorf("distance of %q and %q = %d, want %d", s.a, s.b, got, s.want)
			}
		}
	}
}
