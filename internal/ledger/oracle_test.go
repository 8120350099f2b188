package ledger

import (
	"slices"
	"time"

	"github.com/headgate/headgate/internal/limit"
)

// arrival is a weight that one limit counted, and when it may have arrived at
// the upstream.
type arrival struct {
	from, to time.Time
	weight   int64
}

// tooMany returns the most that could have been counted at once under l beyond
// what it allows; 0 or less is safe. Each attempt arrives when it likes within
// its span, whatever the others do: so the worst case of a window is the sum of
// all whose spans touch it.
func tooMany(l limit.Limit, arrivals []arrival) float64 {
	switch l.Kind {
	case limit.Sliding:
		return float64(mostInAnyWindow(l.Window, arrivals) - l.N)
	case limit.Fixed:
		return float64(mostInAlignedWindow(l.Window, arrivals) - l.N)
	case limit.Bucket:
		return mostOverBucket(l, arrivals)
	}
	return 0
}

// mostInAnyWindow sweeps the start of a window [t, t+w): an attempt can be in
// it if from < t+w and t <= to.
func mostInAnyWindow(w time.Duration, arrivals []arrival) (most int64) {
	type edge struct {
		at     time.Time
		weight int64 // negative where it leaves
	}
	var edges []edge
	for _, a := range arrivals {
		edges = append(edges, edge{a.from.Add(-w + 1), a.weight}, edge{a.to.Add(1), -a.weight})
	}
	slices.SortFunc(edges, func(a, b edge) int {
		if c := a.at.Compare(b.at); c != 0 {
			return c
		}
		return int(a.weight - b.weight) // leave before others enter
	})
	var sum int64
	for _, e := range edges {
		sum += e.weight
		most = max(most, sum)
	}
	return most
}

// mostInAlignedWindow turns moments into the starts of their windows.
func mostInAlignedWindow(w time.Duration, arrivals []arrival) int64 {
	starts := slices.Clone(arrivals)
	for i, a := range starts {
		starts[i].from, starts[i].to = a.from.Truncate(w), a.to.Truncate(w)
	}
	return mostInAnyWindow(1, starts)
}

// mostOverBucket looks at every span [s, u] that begins with the last possible
// arrival of one attempt and ends with the first possible one of another: a
// bucket lets through burst + rate × (u - s).
func mostOverBucket(l limit.Limit, arrivals []arrival) (over float64) {
	rate := float64(l.N) / float64(l.Window)
	slices.SortFunc(arrivals, func(a, b arrival) int { return a.from.Compare(b.from) })
	for _, first := range arrivals {
		s, sum := first.to, int64(0)
		for _, a := range arrivals {
			if a.to.Before(s) {
				continue
			}
			sum += a.weight
			over = max(over, float64(sum-l.Burst)-rate*float64(max(a.from.Sub(s), 0)))
		}
	}
	return over
}
