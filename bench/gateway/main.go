//go:build linux

// Command gateway measures what Headgate costs beside nginx: CPU time per call,
// added latency at a fixed rate, and memory per call held in line. It starts
// everything it needs on loopback, stops it again, and prints Markdown.
//
// For CPU and memory each front runs on one core: nginx with one worker, the Go
// ones with GOMAXPROCS=1. Where there are two cores and taskset, the front is
// alone on CPU 0, and the load and the upstream share CPU 1. For latency nothing
// is pinned, and Go programs run with their defaults.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// settings are what the flags say.
type settings struct {
	headgate string // path of the binary
	only     string // "", cpu, latency or held
	rounds   int
	duration time.Duration // of a round of the CPU measurement
	paced    time.Duration // that a round of the latency measurement gives each way
	conns    int           // keep-alive connections of the load
	held     int           // calls held in line
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("bench-gateway: ")
	if len(os.Args) == 4 && os.Args[1] == reverseProxyCommand {
		log.Fatal(serveReverseProxy(os.Args[2], os.Args[3]))
	}
	s, err := readFlags(os.Args[1:])
	if err != nil {
		log.Print(err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Stdout, s); err != nil {
		log.Fatal(err)
	}
}

func readFlags(args []string) (settings, error) {
	s := settings{paced: 10 * time.Second, held: 10_000}
	f := flag.NewFlagSet("bench-gateway", flag.ExitOnError)
	f.StringVar(&s.headgate, "headgate", "bin/headgate", "`PATH` of the binary")
	f.StringVar(&s.only, "only", "", "measure `WHAT` alone: cpu, latency or held")
	f.IntVar(&s.rounds, "rounds", 5, "`N` rounds; in each, every front has its turn")
	f.DurationVar(&s.duration, "duration", 4*time.Second, "`DURATION` of a turn of the CPU measurement, after its warm-up")
	f.IntVar(&s.conns, "conns", 32, "`N` keep-alive connections")
	quick := f.Bool("quick", false, "few short rounds and fewer held calls: shows that it works, proves nothing")
	if err := f.Parse(args); err != nil {
		return s, err
	}
	if *quick {
		s.rounds, s.duration, s.paced, s.held = 2, time.Second, 2*time.Second, 1000
	}
	switch {
	case f.NArg() > 0:
		return s, fmt.Errorf("unexpected argument %q", f.Arg(0))
	case s.only != "" && s.only != "cpu" && s.only != "latency" && s.only != "held":
		return s, fmt.Errorf("-only %q: want cpu, latency or held", s.only)
	case s.rounds < 1 || s.conns < 1 || s.duration <= 0:
		return s, fmt.Errorf("-rounds, -conns and -duration must be above 0")
	}
	return s, nil
}

func run(ctx context.Context, out io.Writer, s settings) error {
	if err := allowFiles(uint64(s.held) + 1000); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "bench-gateway-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	nginx, err := findNginx()
	if err != nil {
		return err
	}
	about, err := about(nginx, s.headgate, strings.Join(os.Args[1:], " "))
	if err != nil {
		return err
	}
	fmt.Fprint(out, about)
	for _, m := range []struct {
		name    string
		fronts  bool
		pinned  bool // to cores, with one thread for each Go program
		measure func(context.Context, *rig, settings) (string, error)
	}{
		{"cpu", true, true, measureCPU},
		{"latency", true, false, measureLatency},
		{"held", false, true, measureHeld},
	} {
		if s.only != "" && s.only != m.name {
			continue
		}
		g := &rig{dir: dir, headgate: s.headgate, nginx: nginx}
		if m.pinned {
			g.pinned, g.env = pinLoad(), []string{"GOMAXPROCS=1"}
		}
		table, err := func() (string, error) {
			defer g.stop()
			if err := g.startUpstream(ctx); err != nil {
				return "", err
			}
			if m.fronts {
				if err := g.startFronts(ctx); err != nil {
					return "", err
				}
			}
			return m.measure(ctx, g, s)
		}()
		if g.pinned {
			unpinLoad()
		}
		if err != nil {
			return fmt.Errorf("measure %s: %w", m.name, err)
		}
		fmt.Fprint(out, "\n", table)
	}
	fmt.Fprintf(out, "\nLoad average at the end: %s.\n", loadAverage())
	return nil
}
