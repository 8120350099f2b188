//go:build linux

package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/headgate/headgate"
)

// memoryFor is how long the instances use the credential before its memory is
// asked for: they know each other by then, and callers wait in all of them.
const memoryFor = 2 * time.Second

func measureMemory(ctx context.Context, g *rig, _ settings) (string, error) {
	var t strings.Builder
	fmt.Fprintf(&t, `### Memory in Redis

MEMORY USAGE of all keys of one credential, whose quota has been asked for by every instance for %v.

| limits | instances | bytes | keys |
|---|---|---|---|
`, memoryFor)
	for _, times := range []int{1, 100} {
		limits := []string{
			fmt.Sprintf("%d/1m", 500*times),
			fmt.Sprintf("tokens:%d/1m", 2_000_000*times),
			fmt.Sprintf("concurrent:%d", 64*times),
		}
		for _, n := range []int{1, 4, 50} {
			size, keys, err := weigh(ctx, g, n, limits)
			if err != nil {
				return "", fmt.Errorf("%d instances: %w", n, err)
			}
			fmt.Fprintf(&t, "| `%s` | %d | %d | %d |\n", strings.Join(limits, "`, `"), n, size, keys)
		}
	}
	return t.String(), nil
}

// weigh returns what a credential takes that n instances use.
func weigh(ctx context.Context, g *rig, n int, limits []string) (size int64, keys int, err error) {
	redis, err := g.startRedis(ctx)
	if err != nil {
		return 0, 0, err
	}
	defer redis.stop()
	gates, err := openGates(ctx, n, redis, limits)
	if err != nil {
		return 0, 0, err
	}
	defer closeGates(gates)

	using, stop := context.WithTimeout(ctx, memoryFor)
	defer stop()
	var running sync.WaitGroup
	for _, gate := range gates {
		running.Go(func() {
			for {
				permit, err := gate.Acquire(using, upstreamName, headgate.Cost{"tokens": 1000})
				if err != nil {
					return // the time is over, or it would be before there is another permit
				}
				permit.Done(headgate.OK)
			}
		})
	}
	<-using.Done()
	size, keys, err = redis.memory(ctx)
	running.Wait()
	return size, keys, err
}
