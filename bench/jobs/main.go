//go:build linux

// Command jobs measures jobs in Redis beside asynq: how fast they are stored, how
// fast a backlog is worked off, and how fast jobs go all the way while they are
// stored. Both have the same Redis in turn, and nothing to wait for: Headgate's
// calls go through its door to a transport that answers at once, asynq's tasks to
// a handler that returns at once. It starts what it needs on loopback, stops it
// again, and prints Markdown.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

// settings are what the flags say.
type settings struct {
	rounds  int
	jobs    int // in a turn
	callers int // goroutines that store
	workers int // of asynq
	bytes   int // of a body
	fsync   string
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("bench-jobs: ")
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	s, err := readFlags(os.Args[1:])
	if err != nil {
		log.Print(err)
		os.Exit(2)
	}
	if err := run(ctx, os.Stdout, s); err != nil {
		log.Fatal(err)
	}
}

func readFlags(args []string) (settings, error) {
	var s settings
	f := flag.NewFlagSet("bench-jobs", flag.ExitOnError)
	f.IntVar(&s.rounds, "rounds", 5, "`N` rounds; in each, both have their turn, in alternating order")
	f.IntVar(&s.jobs, "jobs", 40000, "`N` jobs in each part of a turn of Headgate; asynq has a quarter of them")
	f.IntVar(&s.callers, "callers", 64, "`N` goroutines store jobs")
	f.IntVar(&s.workers, "workers", 64, "`N` workers of asynq")
	f.IntVar(&s.bytes, "bytes", 200, "`N` bytes of body in each job")
	f.StringVar(&s.fsync, "fsync", "off", "how Redis keeps what it is told: off, everysec or always")
	quick := f.Bool("quick", false, "one short round: shows that it works, proves nothing")
	if err := f.Parse(args); err != nil {
		return s, err
	}
	if *quick {
		s.rounds, s.jobs = 1, 4000
	}
	switch {
	case f.NArg() > 0:
		return s, fmt.Errorf("unexpected argument %q", f.Arg(0))
	case s.rounds < 1 || s.jobs < 4 || s.callers < 1 || s.workers < 1 || s.bytes < 0:
		return s, fmt.Errorf("-rounds, -callers and -workers must be above 0, -jobs above 3, -bytes not below 0")
	case !slices.Contains([]string{"off", "everysec", "always"}, s.fsync):
		return s, fmt.Errorf("-fsync %q: want off, everysec or always", s.fsync)
	}
	return s, nil
}

// side is one of the two that are compared.
type side struct {
	name string
	jobs int // in each part of a turn
	open func(context.Context, *server, settings) (system, error)
}

// system is one that stores and runs jobs.
type system interface {
	// put stores one job.
	put(ctx context.Context, body []byte) error
	// work begins to run jobs, and calls ended for each that has ended.
	work(ended func()) error
	// close ends everything.
	close()
}

// results are of one side: jobs a second, and the CPU time of Redis and of this
// program for a job all the way, in µs.
type results struct{ put, drain, whole, redis, self []float64 }

func run(ctx context.Context, out io.Writer, s settings) error {
	sides := []side{{"asynq", max(s.jobs/4, 1), openAsynq}, {"headgate", s.jobs, openHeadgate}}
	about, err := about(strings.Join(os.Args[1:], " "))
	if err != nil {
		return err
	}
	fmt.Fprint(out, about)
	all := make([]results, len(sides))
	var factors, puts []float64
	for round := range s.rounds {
		for k := range sides {
			i := (k + round) % len(sides)
			if err := all[i].turn(ctx, sides[i], s); err != nil {
				return fmt.Errorf("%s: %w", sides[i].name, err)
			}
		}
		factors = append(factors, all[1].whole[round]/all[0].whole[round])
		puts = append(puts, all[1].put[round]/all[0].put[round])
	}
	fmt.Fprintf(out, `
%d goroutines store jobs with bodies of %d bytes; Redis has its append-only file %s; asynq has %d workers. Jobs a second, medians of %d
rounds and their ranges: stored alone; a backlog worked off, without anybody storing; and all the way, stored and run at once, until the
last has ended. µs of CPU are for a job all the way, of Redis and of the program that stores and runs.

| | stored | worked off | all the way | µs of Redis | µs of the program |
|---|---|---|---|---|---|
`, s.callers, s.bytes, s.fsync, s.workers, s.rounds)
	for i, r := range all {
		fmt.Fprintf(out, "| %s | %s | %s | %s | %s | %s |\n", sides[i].name, summary("%.0f", r.put), summary("%.0f", r.drain),
			summary("%.0f", r.whole), summary("%.1f", r.redis), summary("%.1f", r.self))
	}
	fmt.Fprintf(out, "| headgate / asynq, by rounds | %s | | %s | | |\n", summary("%.2f", puts), summary("%.2f", factors))
	fmt.Fprintf(out, "\nLoad average at the end: %s.\n", loadAverage())
	return nil
}

// turn has one side store, work off, and do both at once, on a Redis of its own.
func (r *results) turn(ctx context.Context, x side, s settings) error {
	redis, err := startRedis(ctx, s.fsync)
	if err != nil {
		return err
	}
	defer redis.stop()
	one, err := x.open(ctx, redis, s)
	if err != nil {
		return err
	}
	defer one.close()
	ended := newCounter()
	body := make([]byte, s.bytes)

	began := time.Now()
	if err := storeAll(ctx, one, s.callers, x.jobs, body); err != nil {
		return err
	}
	r.put = append(r.put, perSecond(x.jobs, began))

	began = time.Now()
	if err := one.work(ended.add); err != nil {
		return err
	}
	if err := ended.await(ctx, x.jobs); err != nil {
		return err
	}
	r.drain = append(r.drain, perSecond(x.jobs, began))

	before, err := redis.cpu(ctx)
	if err != nil {
		return err
	}
	self := selfCPU()
	began = time.Now()
	if err := storeAll(ctx, one, s.callers, x.jobs, body); err != nil {
		return err
	}
	if err := ended.await(ctx, 2*x.jobs); err != nil {
		return err
	}
	r.whole = append(r.whole, perSecond(x.jobs, began))
	after, err := redis.cpu(ctx)
	if err != nil {
		return err
	}
	r.redis = append(r.redis, microsEach(after-before, x.jobs))
	r.self = append(r.self, microsEach(selfCPU()-self, x.jobs))
	return nil
}

func perSecond(n int, began time.Time) float64 { return float64(n) / time.Since(began).Seconds() }

func microsEach(d time.Duration, n int) float64 { return float64(d.Nanoseconds()) / 1e3 / float64(n) }
