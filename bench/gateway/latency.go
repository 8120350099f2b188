//go:build linux

package main

import (
	"context"
	"fmt"
	"log"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"time"
)

const (
	// paceRate is how many calls a second are sent, whatever becomes of them.
	paceRate = 1000

	// slice is how long one way is measured at a time. Short ones, in turn, see
	// the same machine: what else goes on there comes and goes by the second.
	slice = time.Second

	// settle is the beginning of a slice that does not count.
	settle = 100 * time.Millisecond
)

// quantiles are those that are told.
var quantiles = []struct {
	name  string
	share float64
}{{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}}

const last = 2 // of quantiles

// sliced is what one way did in one slice: quantiles in µs.
type sliced struct {
	took    []float64 // of the calls that met no stall; nil if all did
	all     []float64 // of all calls
	late    float64   // last quantile of how late the load itself was, for those that met no stall
	leftOut float64   // calls that met a stall, in %
}

// quantilesOf sorts values and returns their quantiles; nil if there are none.
func quantilesOf(values []float64) (q []float64) {
	slices.Sort(values)
	for i := 0; i < len(quantiles) && len(values) > 0; i++ {
		q = append(q, quantile(values, quantiles[i].share))
	}
	return q
}

// measureLatency sends GETs at a fixed rate to the upstream itself and through
// each front, in slices whose order is shuffled. A call's latency counts from
// the moment it was due, so that one slow answer shows in those behind it.
// Nothing is pinned, and Go programs have as many threads as they like.
func measureLatency(ctx context.Context, g *rig, s settings) (string, error) {
	ways := append([]*front{{name: "direct", addr: g.upstream}}, g.fronts...)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(runtime.NumCPU() + 2)) // the load and each witness run at once
	done := make([][]sliced, len(ways))
	for n := range max(1, s.rounds*int(s.paced/slice)) {
		for _, i := range rand.Perm(len(ways)) {
			one, err := paced(ctx, ways[i].addr, s.conns)
			if err != nil {
				return "", fmt.Errorf("through %s: %w", ways[i].name, err)
			}
			done[i] = append(done[i], one)
		}
		if (n+1)%10 == 0 {
			log.Printf("latency, slice %d: %s", n+1, latest(ways, done))
		}
	}
	return latencyTable(ways, done), nil
}

func latest(ways []*front, done [][]sliced) string {
	var b strings.Builder
	for i, w := range ways {
		one := done[i][len(done[i])-1]
		fmt.Fprintf(&b, "%s %.0f µs; ", w.name, one.all[0])
	}
	return strings.TrimSuffix(b.String(), "; ")
}

// latencyTable compares each way with the first, slice by slice.
func latencyTable(ways []*front, done [][]sliced) string {
	var b strings.Builder
	fmt.Fprintf(&b, "### Latency at %d calls/s\n\nGET in open loop, counted from the moment a call was due; %d slices of %v each way, in shuffled turns, nothing pinned: median of the slices (quartiles), in µs. "+
		"Added is the difference to direct in the same turn. Left out are calls during which a CPU stood still: a thread on each, before all others, woke more than %v late. The last column leaves nothing out.\n\n| way | left out, %% | load late p99 |",
		paceRate, len(done[0]), slice, stallLeast)
	for _, q := range quantiles {
		fmt.Fprintf(&b, " %s |", q.name)
	}
	for _, q := range quantiles {
		fmt.Fprintf(&b, " added %s |", q.name)
	}
	b.WriteString(" added p99 of all |\n|---" + strings.Repeat("|---", 3+2*len(quantiles)) + "|\n")
	for i, w := range ways {
		var leftOut, late, all []float64
		took, added := make([][]float64, len(quantiles)), make([][]float64, len(quantiles))
		for n, one := range done[i] {
			direct := done[0][n]
			leftOut = append(leftOut, one.leftOut)
			if i > 0 {
				all = append(all, one.all[last]-direct.all[last])
			}
			if one.took == nil {
				continue
			}
			late = append(late, one.late)
			for q := range quantiles {
				took[q] = append(took[q], one.took[q])
				if i > 0 && direct.took != nil {
					added[q] = append(added[q], one.took[q]-direct.took[q])
				}
			}
		}
		fmt.Fprintf(&b, "| %s | %s | %s |", w.name, quartiles(leftOut), quartiles(late))
		for _, values := range append(append(took, added...), all) {
			fmt.Fprintf(&b, " %s |", quartiles(values))
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// quartiles writes the median of values with the quartiles around it; nothing
// if there are none.
func quartiles(values []float64) string {
	if len(values) == 0 {
		return ""
	}
	sorted := slices.Sorted(slices.Values(values))
	return fmt.Sprintf("%.0f (%.0f – %.0f)", median(sorted), quantile(sorted, 0.25), quantile(sorted, 0.75))
}
