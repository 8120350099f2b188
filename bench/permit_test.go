// Package bench measures Headgate beside what people use today. It is a module
// of its own, so that what is measured against never becomes a dependency.
package bench

import (
	"context"
	"math"
	"testing"

	"golang.org/x/time/rate"

	"github.com/headgate/headgate"
	"github.com/headgate/headgate/config"
)

// goroutines is how many take permits at once in the contended benchmarks, for
// each processor.
const goroutines = 50 // 100 on two

// BenchmarkPermit measures a permit that is there at once: for rate, Allow; for
// headgate, Acquire and Done, with an exact sliding window behind them.
func BenchmarkPermit(b *testing.B) {
	b.Run("rate", func(b *testing.B) { permits(b, allow()) })
	b.Run("headgate", func(b *testing.B) { permits(b, acquire(b)) })
}

// BenchmarkPermitContended is BenchmarkPermit with 100 goroutines.
func BenchmarkPermitContended(b *testing.B) {
	b.Run("rate", func(b *testing.B) { contended(b, allow()) })
	b.Run("headgate", func(b *testing.B) { contended(b, acquire(b)) })
}

func permits(b *testing.B, permit func()) {
	b.ReportAllocs()
	for b.Loop() {
		permit()
	}
}

func contended(b *testing.B, permit func()) {
	b.ReportAllocs()
	b.SetParallelism(goroutines)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			permit()
		}
	})
}

func allow() func() {
	limiter := rate.NewLimiter(1e9, math.MaxInt32)
	return func() { limiter.Allow() }
}

func acquire(b *testing.B) func() {
	ctx := context.Background()
	gate, err := headgate.Open(ctx, config.Config{Upstreams: map[string]config.Upstream{
		"api": {URL: "http://api.test", Limits: []config.Limit{{Limit: "1000000000000/1s"}}},
	}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { gate.Close() })
	return func() {
		permit, err := gate.Acquire(ctx, "api", nil)
		if err != nil {
			b.Fatal(err)
		}
		permit.Done(headgate.OK)
	}
}
