package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/headgate/headgate/config"
	"github.com/headgate/headgate/internal/daemon"
	"github.com/headgate/headgate/internal/limit"
	"github.com/headgate/headgate/internal/mock"
)

const (
	demoClients = 4 // each with connections of its own, as processes have
	demoCallers = 10
	demoGreed   = 3 // times the quota is what they want together
	demoLatency = 30 * time.Millisecond
	demoJitter  = 20 * time.Millisecond
)

func newDemo(w World) *cobra.Command {
	var (
		duration time.Duration
		limited  string
		asJSON   bool
	)
	cmd := &cobra.Command{
		Use:   "demo [--duration D] [--limit L] [--json]",
		Short: "See it work: a rate-limited API, a greedy fleet, with the gate and without",
		Long: `Demo runs an API with a quota and a fleet of 4 × 10 callers who want three times
as much, all in this process and on loopback. For the first half of the time the
callers go around the gate, and each one retries by itself with exponential
backoff, at most 5 attempts. For the second half the same callers go through it,
and none has a line of retry code. What the API counted of both is set side by
side at the end.

Halves of whole windows compare best, as the default's are: a half that ends
within a window favours whoever spends the quota first.`,
		Example: "  headgate demo\n  headgate demo --duration 20s --limit 100/5s --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := limit.Parse(limited)
			if err != nil {
				return misused(cmd, "--limit %w", err)
			}
			if duration < 2*time.Second || duration > time.Hour {
				return misused(cmd, "--duration %v: want 2s to 1h", duration)
			}
			return runDemo(w, newDemoRun(l, duration/2), asJSON)
		},
	}
	f := cmd.Flags()
	f.DurationVar(&duration, "duration", 40*time.Second, "`DURATION` of both halves together")
	f.StringVarP(&limited, "limit", "l", "50/10s", "`LIMIT` of the API")
	f.BoolVar(&asJSON, "json", false, "print the table as JSON")
	return cmd
}

func runDemo(w World, d *demoRun, asJSON bool) error {
	signals, stop := w.Signals(stopSignals...)
	defer stop()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()

	var runErr, drawErr error
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		runErr = d.run(ctx)
	}()
	var watching sync.WaitGroup
	watching.Go(func() {
		select {
		case <-signals:
			cancel()
		case <-ended:
		}
	})
	if f, ok := w.Err.(*os.File); ok && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb" {
		drawErr = drawDemo(f, d, ended)
	} else {
		narrateDemo(w.Err, d, ended)
	}
	<-ended
	watching.Wait()
	if err := errors.Join(runErr, drawErr); err != nil {
		return err
	}
	return d.print(w.Out, asJSON)
}

// demoRun is the two halves of a demo, one after the other.
type demoRun struct {
	limit  limit.Limit
	length time.Duration // of a half

	mu struct {
		sync.Mutex
		halves []*demoHalf // as far as they have begun: around the gate, then through it
	}
}

func newDemoRun(l limit.Limit, length time.Duration) *demoRun {
	return &demoRun{limit: l, length: length}
}

// run runs both halves until ctx ends. That is no error: what was measured
// until then can be printed.
func (d *demoRun) run(ctx context.Context) error {
	for _, through := range []bool{false, true} {
		if ctx.Err() != nil {
			return nil
		}
		if err := d.half(ctx, through); err != nil {
			return err
		}
	}
	return nil
}

// half lets a fleet loose on an API that has seen nothing yet.
func (d *demoRun) half(ctx context.Context, through bool) error {
	upstream := mock.New(mock.Config{
		Limits:  []limit.Limit{d.limit},
		Latency: demoLatency,
		Jitter:  demoJitter,
	})
	api, err := serveHTTP("127.0.0.1:0", upstream)
	if err != nil {
		return err
	}
	target := "http://" + api.addr.String()
	closeGate := func() error { return nil }
	if through {
		gate, closing, err := openDemoGate(target, d.limit)
		if err != nil {
			return errors.Join(err, api.close())
		}
		target, closeGate = "http://"+gate.String(), closing
	}
	h := &demoHalf{through: through, upstream: upstream, fleet: newFleet(target, thinkFor(d.limit), !through), began: time.Now()}
	d.mu.Lock()
	d.mu.halves = append(d.mu.halves, h)
	d.mu.Unlock()

	ctx, cancel := context.WithTimeout(ctx, d.length)
	defer cancel()
	h.fleet.run(ctx)
	h.end()
	return errors.Join(closeGate(), api.close())
}

// openDemoGate runs the gateway as serve does, in front of one upstream.
func openDemoGate(upstream string, l limit.Limit) (net.Addr, func() error, error) {
	addr := make(chan net.Addr, 1)
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		ended <- daemon.Run(ctx, daemon.Options{
			Load: func() (config.Config, error) {
				c := config.Config{
					Listen: "127.0.0.1:0",
					Admin:  "off",
					Upstreams: map[string]config.Upstream{
						defaultUpstream: {URL: upstream, Limits: []config.Limit{{Limit: l.String()}}},
					},
				}
				return c, c.Validate()
			},
			RootMount: true,
			Grace:     time.Second,
			Listening: func(_ string, a net.Addr) { addr <- a },
		})
	}()
	select {
	case a := <-addr:
		return a, func() error { cancel(); return <-ended }, nil
	case err := <-ended:
		cancel()
		return nil, nil, fmt.Errorf("open the gate: %w", err)
	}
}

// thinkFor is how long a caller thinks between two calls, on average, so that
// the fleet wants a few times the quota: it is greedy, not a load test.
func thinkFor(l limit.Limit) time.Duration {
	const least, most = 50 * time.Millisecond, 5 * time.Second
	if l.Kind == limit.Concurrent {
		return least
	}
	perSecond := float64(l.N) / l.Window.Seconds()
	think := time.Duration(demoClients * demoCallers / (demoGreed * perSecond) * float64(time.Second))
	return min(max(think, least), most)
}

// demoHalf is one half, running or ended.
type demoHalf struct {
	through  bool
	upstream *mock.Server
	fleet    *fleet
	began    time.Time

	mu struct {
		sync.Mutex
		took time.Duration // 0 while it runs
	}
}

func (h *demoHalf) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.mu.took = time.Since(h.began)
}

func (h *demoHalf) name() string {
	if h.through {
		return "through the gate"
	}
	return "around the gate"
}

// demoView is a half at a moment. What arrived and what became of it is what
// the API's judge counted; calls are what the callers counted.
type demoView struct {
	name    string
	began   time.Time
	elapsed time.Duration
	ended   bool
	judge   mock.Stats
	calls   fleetCounts
}

func (h *demoHalf) view() demoView {
	v := demoView{name: h.name(), began: h.began, judge: h.upstream.Stats(), calls: h.fleet.counts()}
	h.mu.Lock()
	defer h.mu.Unlock()
	v.elapsed, v.ended = h.mu.took, h.mu.took > 0
	if !v.ended {
		v.elapsed = time.Since(h.began)
	}
	return v
}

// views returns the halves that have begun.
func (d *demoRun) views() []demoView {
	d.mu.Lock()
	halves := d.mu.halves[:len(d.mu.halves):len(d.mu.halves)]
	d.mu.Unlock()
	var views []demoView
	for _, h := range halves {
		views = append(views, h.view())
	}
	return views
}

// usage is the share of the quota that was accepted.
func (v demoView) usage() float64 { return v.judge.Limits[0].Usage }
