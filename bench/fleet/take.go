//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/go-redis/redis_rate/v10"
	"github.com/redis/go-redis/v9"

	"github.com/headgate/headgate"
)

// takeCommand has this program take permits, and do nothing else.
const takeCommand = "take"

// task is what such a process has to do.
type task struct {
	Way   string
	Redis string // host:port
	Rate  int    // permits a second, of all processes
	Part  int    // which of the processes this is
	For   time.Duration
}

// warm is how long permits are taken before it counts.
const warm = 1500 * time.Millisecond

// taker takes a permit, and returns when it is there.
type taker func(context.Context) error

// take does a task: it takes permits, writes a line when it is warm, awaits one,
// takes permits again and writes how many µs each took.
func take(ctx context.Context, text string, in io.Reader, out io.Writer) error {
	var t task
	if err := json.Unmarshal([]byte(text), &t); err != nil {
		return err
	}
	for _, w := range ways {
		if w.name != t.Way {
			continue
		}
		one, err := w.open(ctx, t)
		if err != nil {
			return err
		}
		if _, err := t.pace(ctx, one, warm); err != nil {
			return err
		}
		if _, err := fmt.Fprintln(out); err != nil {
			return err
		}
		if _, err := bufio.NewReader(in).ReadString('\n'); err != nil {
			return err
		}
		took, err := t.pace(ctx, one, t.For)
		if err != nil {
			return err
		}
		return json.NewEncoder(out).Encode(took)
	}
	return fmt.Errorf("no way is called %q", t.Way)
}

// pace takes permits for d, each goroutine at an even pace and all of them, in
// all processes, in turn. It returns how long each took, in µs.
func (t task) pace(ctx context.Context, one taker, d time.Duration) ([]float64, error) {
	step := time.Second / time.Duration(t.Rate)
	every := step * processes * takers
	began := time.Now()
	took := make([][]float64, takers)
	errs := make([]error, takers)
	var running sync.WaitGroup
	for i := range takers {
		running.Go(func() {
			for at := step * time.Duration(i*processes+t.Part); at < d; at += every {
				if errs[i] = sleep(ctx, time.Until(began.Add(at))); errs[i] != nil {
					return
				}
				start := time.Now()
				if errs[i] = one(ctx); errs[i] != nil {
					return
				}
				took[i] = append(took[i], float64(time.Since(start).Nanoseconds())/1e3)
			}
		})
	}
	running.Wait()
	var all []float64
	for _, some := range took {
		all = append(all, some...)
	}
	return all, errors.Join(errs...)
}

func openRedisRate(_ context.Context, t task) (taker, error) {
	limiter := redis_rate.NewLimiter(redis.NewClient(&redis.Options{Addr: t.Redis}))
	limit := redis_rate.PerSecond(ample * t.Rate)
	return func(ctx context.Context) error {
		r, err := limiter.Allow(ctx, "api", limit)
		if err == nil && r.Allowed != 1 {
			err = errors.New("refused: the limit is not ample")
		}
		return err
	}, nil
}

func openHeadgate(ctx context.Context, t task) (taker, error) {
	gate, err := openGate(ctx, "redis://"+t.Redis, []string{fmt.Sprintf("%d/1s", ample*t.Rate)})
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		p, err := gate.Acquire(ctx, upstreamName, nil)
		if err == nil {
			p.Done(headgate.OK)
		}
		return err
	}, nil
}
