//go:build linux

package main

import (
	"context"
	"fmt"
	"log"
	"strings"
	"time"
)

// warmUp is how long a front is under load before a turn counts.
const warmUp = time.Second

// turn is what a front did in one turn.
type turn struct {
	perCall float64 // CPU time of the front, in µs
	rate    float64 // calls/s
	busy    float64 // share of a core that the front used
}

// measureCPU has connections call through each front in turn, as fast as it
// answers.
func measureCPU(ctx context.Context, g *rig, s settings) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "### CPU per call\n\n%d keep-alive connections in closed loop, %d rounds of %v for each front in turn: median (range).\n"+
		"The ratio is taken round by round. Where a front's core is not busy, it is the load that limits calls/s.\n\n", s.conns, s.rounds, s.duration)
	b.WriteString("| method | front | µs CPU per call | ÷ nginx | calls/s | core busy |\n|---|---|---|---|---|---|\n")
	for _, m := range []struct {
		name    string
		request []byte
	}{
		{"GET", get()},
		{fmt.Sprintf("POST %.1f KB", requestBody/1000.), post(requestBody)},
	} {
		turns := make(map[string][]turn)
		for round := range s.rounds {
			for _, f := range g.fronts {
				t, err := f.turn(ctx, s, m.request)
				if err != nil {
					return "", fmt.Errorf("%s through %s: %w", m.name, f.name, err)
				}
				log.Printf("%s, round %d of %d, %s: %.1f µs per call, %.0f calls/s", m.name, round+1, s.rounds, f.name, t.perCall, t.rate)
				turns[f.name] = append(turns[f.name], t)
			}
		}
		for _, f := range g.fronts {
			var perCall, ratio, rate, busy []float64
			for i, t := range turns[f.name] {
				perCall = append(perCall, t.perCall)
				ratio = append(ratio, t.perCall/turns[baseline][i].perCall)
				rate = append(rate, t.rate)
				busy = append(busy, 100*t.busy)
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %.0f %% |\n", m.name, f.name,
				summary("%.1f", perCall), summary("%.2f", ratio), summary("%.0f", rate), median(busy))
		}
	}
	return b.String(), nil
}

func (f *front) turn(ctx context.Context, s settings, request []byte) (turn, error) {
	c, err := startCallers(f.addr, s.conns, closedLoop(request))
	if err != nil {
		return turn{}, err
	}
	if err := c.pass(ctx, warmUp); err != nil {
		return turn{}, c.failed(err)
	}
	began, calls := time.Now(), c.done.Load()
	before, err := f.process.cpu()
	if err != nil {
		return turn{}, c.failed(err)
	}
	if err := c.pass(ctx, s.duration); err != nil {
		return turn{}, c.failed(err)
	}
	after, err := f.process.cpu()
	if err != nil {
		return turn{}, c.failed(err)
	}
	took, calls := time.Since(began), c.done.Load()-calls
	if err := c.stop(); err != nil {
		return turn{}, err
	}
	if calls == 0 {
		return turn{}, fmt.Errorf("no answer within %v", took)
	}
	used := after - before
	return turn{
		perCall: float64(used.Nanoseconds()) / 1000 / float64(calls),
		rate:    float64(calls) / took.Seconds(),
		busy:    used.Seconds() / took.Seconds(),
	}, nil
}
