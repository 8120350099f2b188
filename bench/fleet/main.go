//go:build linux

// Command fleet measures what it costs instances of Headgate to share a quota
// through Redis, and what it brings: use of the quota, refusals and shares in
// front of a strict upstream; round trips, CPU of Redis and latency for each
// permit beside redis_rate; memory in Redis. It starts everything it needs on
// loopback, stops it again, and prints Markdown.
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
	headgate string // path of the binary
	only     string // "", or the name of a measurement
	rounds   int
	limit    int           // of the quota measurement, in a second; 0: each of quotas
	duration time.Duration // of a turn of the quota measurement
	paced    time.Duration // of a turn of the rate measurement
	long     time.Duration // of a turn of the measurement of many instances
}

// measurements by name, in the order of the report.
var measurements = []struct {
	name    string
	measure func(context.Context, *rig, settings) (string, error)
}{
	{"quota", measureQuota},
	{"rate", measureRate},
	{"permit", measurePermit},
	{"many", measureMany},
	{"memory", measureMemory},
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("bench-fleet: ")
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if len(os.Args) == 3 && os.Args[1] == takeCommand {
		if err := take(ctx, os.Args[2], os.Stdin, os.Stdout); err != nil {
			log.Fatal(err)
		}
		return
	}
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
	var names []string
	for _, m := range measurements {
		names = append(names, m.name)
	}
	what := strings.Join(names, ", ")
	var s settings
	f := flag.NewFlagSet("bench-fleet", flag.ExitOnError)
	f.StringVar(&s.headgate, "headgate", "bin/headgate", "`PATH` of the binary")
	f.StringVar(&s.only, "only", "", "measure `WHAT` alone: "+what)
	f.IntVar(&s.rounds, "rounds", 3, "`N` rounds; in each, everything that is compared has its turn")
	f.IntVar(&s.limit, "limit", 0, "measure the quota of `N` a second alone: 50, 500 or 5000")
	f.DurationVar(&s.duration, "duration", 9*time.Second, "`DURATION` of a turn of the quota measurement")
	f.DurationVar(&s.paced, "paced", 5*time.Second, "`DURATION` of a turn of the rate measurement, after its warm-up")
	f.DurationVar(&s.long, "long", time.Minute, "`DURATION` of a turn with many instances")
	quick := f.Bool("quick", false, "one short round: shows that it works, proves nothing")
	if err := f.Parse(args); err != nil {
		return s, err
	}
	if *quick {
		s.rounds, s.duration, s.paced, s.long = 1, 3*time.Second, time.Second, 5*time.Second
	}
	switch {
	case f.NArg() > 0:
		return s, fmt.Errorf("unexpected argument %q", f.Arg(0))
	case s.only != "" && !slices.Contains(names, s.only):
		return s, fmt.Errorf("-only %q: want one of %s", s.only, what)
	case s.limit != 0 && len(chosen(s.limit)) == 0:
		return s, fmt.Errorf("-limit %d: want 50, 500 or 5000", s.limit)
	case s.rounds < 1:
		return s, fmt.Errorf("-rounds must be above 0")
	case s.duration < 2*settle || s.long < 2*settle || s.paced <= 0:
		return s, fmt.Errorf("-duration and -long must be at least %v, -paced above 0", 2*settle)
	}
	return s, nil
}

func run(ctx context.Context, out io.Writer, s settings) error {
	if err := allowFiles(4096); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "bench-fleet-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	g := &rig{dir: dir, headgate: s.headgate}
	about, err := about(s.headgate, strings.Join(os.Args[1:], " "))
	if err != nil {
		return err
	}
	fmt.Fprint(out, about)
	for _, m := range measurements {
		if s.only != "" && s.only != m.name {
			continue
		}
		table, err := m.measure(ctx, g, s)
		if err != nil {
			return fmt.Errorf("measure %s: %w", m.name, err)
		}
		fmt.Fprint(out, "\n", table)
	}
	fmt.Fprintf(out, "\nLoad average at the end: %s.\n", loadAverage())
	return nil
}
