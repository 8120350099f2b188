//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// takers is how many goroutines of each process take permits at a rate.
const takers = 32

// rates are how many permits are taken in a second, by all together.
var rates = []int{500, 5000}

// ample is how many times the rate the limit is: nobody waits.
const ample = 10

// way is one that permits are taken by.
type way struct {
	name string
	open func(ctx context.Context, t task) (taker, error)
}

var ways = []way{
	{"redis_rate", openRedisRate},
	{"headgate", openHeadgate},
}

// taken is how turns of one way went.
type taken struct{ p50, p99, most, steps, cpu []float64 }

// measureRate measures what a permit costs its caller and Redis.
func measureRate(ctx context.Context, g *rig, s settings) (string, error) {
	var t strings.Builder
	fmt.Fprintf(&t, `### A permit beside redis_rate

%d processes × %d goroutines take permits at an even pace, under a limit of %d times as many: go-redis/redis_rate v10's Allow, and headgate's
Acquire with its state in the same Redis. %v each, alternating, %d rounds. µs from the call to the permit; round trips are functions
and scripts run; CPU of Redis is all of it, idling included.

| permits/s | way | p50 | p99 | max | round trips per permit | µs CPU of Redis per permit |
|---|---|---|---|---|---|---|
`, processes, takers, ample, s.paced, s.rounds)
	for _, rate := range rates {
		results := make([]taken, len(ways))
		for range s.rounds {
			for i, w := range ways {
				if err := results[i].turn(ctx, g, task{Way: w.name, Rate: rate, For: s.paced}); err != nil {
					return "", fmt.Errorf("%s at %d/s: %w", w.name, rate, err)
				}
			}
		}
		for i, w := range ways {
			r := &results[i]
			fmt.Fprintf(&t, "| %d | %s | %s | %s | %s | %s | %s |\n", rate, w.name, summary("%.1f", r.p50), summary("%.1f", r.p99),
				summary("%.0f", r.most), summary("%.3f", r.steps), summary("%.1f", r.cpu))
		}
	}
	return t.String(), nil
}

// turn has processes take permits from a Redis of their own.
func (r *taken) turn(ctx context.Context, g *rig, t task) error {
	redis, err := g.startRedis(ctx)
	if err != nil {
		return err
	}
	defer redis.stop()
	t.Redis = redis.addr
	var all []*takerProcess
	defer func() {
		for _, p := range all {
			p.stop()
		}
	}()
	for i := range processes {
		t.Part = i
		p, err := startTaker(g, t)
		if err != nil {
			return err
		}
		all = append(all, p)
	}
	for _, p := range all {
		if err := p.ready(); err != nil {
			return err
		}
	}
	before, err := redis.spent(ctx)
	if err != nil {
		return err
	}
	for _, p := range all {
		if err := p.begin(); err != nil {
			return err
		}
	}
	var took []float64
	for _, p := range all {
		some, err := p.result()
		if err != nil {
			return err
		}
		took = append(took, some...)
	}
	after, err := redis.spent(ctx)
	if err != nil {
		return err
	}
	if want := float64(t.Rate) * t.For.Seconds(); float64(len(took)) < 0.95*want {
		return fmt.Errorf("%d permits in %v, want %.0f: the machine is too slow", len(took), t.For, want)
	}
	slices.Sort(took)
	spent, n := after.since(before), float64(len(took))
	r.p50 = append(r.p50, quantile(took, 0.5))
	r.p99 = append(r.p99, quantile(took, 0.99))
	r.most = append(r.most, took[len(took)-1])
	r.steps = append(r.steps, float64(spent.steps)/n)
	r.cpu = append(r.cpu, float64(spent.cpu.Microseconds())/n)
	return nil
}

// takerProcess is this program once more, taking permits. It says when it is
// ready, begins when told to, and says how long each permit took.
type takerProcess struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
	log string
}

func startTaker(g *rig, t task) (*takerProcess, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(t)
	if err != nil {
		return nil, err
	}
	p := &takerProcess{cmd: exec.Command(self, takeCommand, string(text)), log: g.file("take")}
	p.cmd.SysProcAttr = apart()
	log, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p.cmd.Stderr = log
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = bufio.NewReader(out)
	return p, p.cmd.Start()
}

// ready returns when the process is warm.
func (p *takerProcess) ready() error {
	if _, err := p.out.ReadString('\n'); err != nil {
		return p.failed(err)
	}
	return nil
}

func (p *takerProcess) begin() error {
	_, err := p.in.Write([]byte("\n"))
	return err
}

// result returns how long each permit took, in µs.
func (p *takerProcess) result() ([]float64, error) {
	var took []float64
	if err := json.NewDecoder(p.out).Decode(&took); err != nil {
		return nil, p.failed(err)
	}
	return took, nil
}

// failed adds to an error what the process said.
func (p *takerProcess) failed(err error) error {
	said, _ := os.ReadFile(p.log)
	return errors.Join(err, errors.New(strings.TrimSpace(string(said))))
}

// stop ends the process, and returns when it has.
func (p *takerProcess) stop() {
	_ = p.in.Close()         // it ends when it has nobody to answer
	_ = p.cmd.Process.Kill() // it fails only if it has ended
	_ = p.cmd.Wait()
}
