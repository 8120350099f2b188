//go:build linux

package main

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/headgate/headgate"
)

// crowded is how many goroutines take permits at once.
const crowded = 100

// hotLimit is ample: the instance holds what its callers take.
const hotLimit = "1000000000/1s"

// measurePermit measures a permit that the instance holds already.
func measurePermit(ctx context.Context, g *rig, s settings) (string, error) {
	redis, err := g.startRedis(ctx)
	if err != nil {
		return "", err
	}
	defer redis.stop()
	states := []struct {
		name, state string
		alone, many []float64
	}{
		{name: "memory"},
		{name: "redis", state: redis.url()},
	}
	testing.Init() // Benchmark needs it outside of go test
	for range s.rounds {
		for i := range states {
			st := &states[i]
			gate, err := openGate(ctx, st.state, []string{hotLimit})
			if err != nil {
				return "", err
			}
			alone, err := benchmark(ctx, gate, false)
			var among float64
			if err == nil {
				among, err = benchmark(ctx, gate, true)
			}
			_ = gate.Close() // Redis ends next
			if err != nil {
				return "", err
			}
			st.alone, st.many = append(st.alone, alone), append(st.many, among)
		}
	}
	var t strings.Builder
	fmt.Fprintf(&t, `### A permit that is held already

ns for Acquire and Done under %s, in one process, %d rounds.

| state | alone | %d goroutines |
|---|---|---|
`, "`"+hotLimit+"`", s.rounds, crowded)
	for _, st := range states {
		fmt.Fprintf(&t, "| %s | %s | %s |\n", st.name, summary("%.0f", st.alone), summary("%.0f", st.many))
	}
	return t.String(), nil
}

// benchmark returns the ns that a permit takes.
func benchmark(ctx context.Context, gate *headgate.Gate, parallel bool) (float64, error) {
	permit := func() error {
		p, err := gate.Acquire(ctx, upstreamName, nil)
		if err == nil {
			p.Done(headgate.OK)
		}
		return err
	}
	if err := permit(); err != nil { // the first may wait for Redis
		return 0, err
	}
	var failed atomic.Pointer[error]
	r := testing.Benchmark(func(b *testing.B) {
		b.SetParallelism(max(crowded/runtime.GOMAXPROCS(0), 1))
		if parallel {
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := permit(); err != nil {
						failed.Store(&err)
						return
					}
				}
			})
			return
		}
		for b.Loop() {
			if err := permit(); err != nil {
				failed.Store(&err)
				b.FailNow()
			}
		}
	})
	if err := failed.Load(); err != nil {
		return 0, *err
	}
	return float64(r.T.Nanoseconds()) / float64(r.N), nil
}
