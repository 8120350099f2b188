//go:build linux

package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"slices"
	"strings"
	"time"
)

// processes is how many gates share a quota.
const processes = 4

// settle is how long a turn lasts before shares, round trips and CPU count: the
// first window begins with a burst.
const settle = window

// quota is a limit, and how many callers each gate has: a multiple of those it
// takes to use a fourth of it.
type quota struct{ n, callers int }

var quotas = []quota{{50, 10}, {500, 50}, {5000, 250}}

// chosen returns the quotas of n a second; 0: all.
func chosen(n int) []quota {
	if n == 0 {
		return quotas
	}
	return slices.DeleteFunc(slices.Clone(quotas), func(q quota) bool { return q.n != n })
}

// outcome is how turns of one kind went.
type outcome struct {
	usage, later      []float64 // of the quota, in per cent
	ratio, least      []float64 // of shares: largest ÷ smallest, smallest ÷ mean
	syncs, cpu        []float64 // of Redis, for each call; cpu in µs
	inLine            []float64 // callers, at the end
	rss               []float64 // of each gate, in MB
	late              []float64 // by which timers woke, in ms
	refused, arrived  int
	failed, completed int // calls not answered 200, and all
}

func measureQuota(ctx context.Context, g *rig, s settings) (string, error) {
	all := chosen(s.limit)
	outcomes := make([]outcome, len(all))
	for range s.rounds {
		for i, q := range all {
			if err := saturate(ctx, g, q, s.duration, &outcomes[i]); err != nil {
				return "", fmt.Errorf("%d/1s: %w", q.n, err)
			}
		}
	}
	var t strings.Builder
	fmt.Fprintf(&t, `### A saturated quota, %d gates

%d × %s on one Redis, in front of an upstream that counts strictly at arrival: %v sliding window, %v–%v arrival
spread, lognormal %v service time. Saturated for %v, %d rounds. Usage counts from the first arrival; "later", max ÷ min,
syncs and CPU leave out the first %v, which begins with a burst. CPU of Redis is all of it, idling included. Late timers
are those of the upstream, which don't change its count: they tell how busy the machine was.

| quota | callers | in line at the end | usage | later | refused | calls not 200 | max ÷ min | syncs per call | µs CPU of Redis per call | MB RSS of a gate | ms timers late, p99 |
|---|---|---|---|---|---|---|---|---|---|---|---|
`, processes, processes, "`headgate serve`", window, spreadLeast, spreadMost, service, s.duration, s.rounds, settle)
	for i, q := range all {
		o := &outcomes[i]
		fmt.Fprintf(&t, "| `%d/1s` | %d × %d | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", q.n, processes, q.callers,
			summary("%.0f", o.inLine), summary("%.1f %%", o.usage), summary("%.1f %%", o.later), counted(o.refused, o.arrived), counted(o.failed, o.completed),
			summary("%.2f", o.ratio), summary("%.3f", o.syncs), summary("%.1f", o.cpu), summary("%.0f", o.rss), summary("%.1f", o.late))
	}
	return t.String(), nil
}

// saturate is one turn.
func saturate(ctx context.Context, g *rig, q quota, d time.Duration, o *outcome) error {
	redis, err := g.startRedis(ctx)
	if err != nil {
		return err
	}
	defer redis.stop()
	upstream := newStrict(q.n)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer listener.Close()
	go upstream.listen(listener)
	gates, err := g.startGates(ctx, processes, redis, "http://"+listener.Addr().String(), fmt.Sprintf("%d/1s", q.n))
	if err != nil {
		return err
	}
	defer stopGates(gates)

	c := &callers{}
	for i, one := range gates {
		if err := c.start(one.addr, i, q.callers); err != nil {
			c.end()
			return err
		}
	}
	err = o.observe(ctx, redis, upstream, processes, d)
	if err == nil {
		err = o.inspect(ctx, gates)
	}
	c.end()
	o.failed += int(c.failed.Load())
	o.completed += int(c.calls.Load())
	return err
}

// inspect notes how gates stand while they are still being called.
func (o *outcome) inspect(ctx context.Context, gates []*gate) error {
	var waiting int
	for _, one := range gates {
		s, err := one.status(ctx)
		if err != nil {
			return err
		}
		waiting += inLine(s)
		rss, err := one.process.rss()
		if err != nil {
			return err
		}
		o.rss = append(o.rss, float64(rss)/1e6)
	}
	o.inLine = append(o.inLine, float64(waiting))
	return nil
}

// observe watches an upstream that is being saturated for d, and notes how that
// went.
func (o *outcome) observe(ctx context.Context, redis *server, upstream *strict, instances int, d time.Duration) error {
	err := eventually(ctx, "nobody calls the upstream", func() (bool, error) {
		accepted, _ := upstream.histories()
		return len(accepted) > 0, nil
	})
	if err != nil {
		return err
	}
	accepted, _ := upstream.histories()
	first := accepted[0].at
	if err := sleep(ctx, first+settle-time.Since(upstream.began)); err != nil {
		return err
	}
	before, err := redis.spent(ctx)
	if err != nil {
		return err
	}
	if err := sleep(ctx, first+d-time.Since(upstream.began)); err != nil {
		return err
	}
	after, err := redis.spent(ctx)
	if err != nil {
		return err
	}

	// What has been read by now is counted within the spread.
	if err := sleep(ctx, 2*spreadMost); err != nil {
		return err
	}
	accepted, refused := upstream.histories()
	use := func(from, to time.Duration) float64 {
		return 100 * float64(accepted.between(from, to)) / (float64(upstream.n) * float64(to-from) / float64(window))
	}
	shares := accepted.shares(instances, first+settle, first+d)
	from, to := before.at.Sub(upstream.began), after.at.Sub(upstream.began)
	calls := float64(accepted.between(from, to))
	spent := after.since(before)
	o.usage = append(o.usage, use(first, first+d))
	o.later = append(o.later, use(first+settle, first+d))
	o.ratio = append(o.ratio, slices.Max(shares)/slices.Min(shares))
	o.least = append(o.least, slices.Min(shares)/mean(shares))
	o.syncs = append(o.syncs, float64(spent.steps)/calls)
	o.cpu = append(o.cpu, float64(spent.cpu.Microseconds())/calls)
	o.late = append(o.late, upstream.lateness())
	o.refused += len(refused)
	o.arrived += len(refused) + len(accepted)
	if len(refused) > 0 {
		log.Printf("%d of %d/1s refused; the first came by instance %d, %v after the first of all",
			len(refused), upstream.n, refused[0].instance, (refused[0].at - first).Round(time.Millisecond))
	}
	return nil
}
