package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/headgate/headgate/config"
	"github.com/headgate/headgate/internal/limit"
	"github.com/headgate/headgate/internal/mock"
)

const (
	demoClients = 4 // each with connections of its own, as processes have
	demoCallers = 40
	demoGreed   = 3 // times the quota is what they want together
	demoLatency = 30 * time.Millisecond
	demoJitter  = 20 * time.Millisecond
)

func newDemo(w World) *cobra.Command {
	var (
		duration       time.Duration
		limited, state string
		instances      int
		asJSON         bool
	)
	cmd := &cobra.Command{
		Use:   "demo [--duration D] [--limit L] [--instances N [--state S]] [--json]",
		Short: "See it work: a rate-limited API, a greedy fleet, with the gate and without",
		Long: `Demo runs an API with a quota and a fleet of 4 × 10 callers who want three times
as much, all in this process and on loopback. For the first half of the time the
callers go around the gate, and each one retries by itself with exponential
backoff, at most 5 attempts. For the second half the same callers go through it,
and none has a line of retry code. What the API counted of both is set side by
side at the end.

With --instances the callers are shared out among so many gates, which share the
quota through a Redis: one that demo starts and stops, if redis-server or
valkey-server is installed, or the one that --state names. What each of them got
is set below.

Halves of whole windows compare best, as the default's are: a half that ends
within a window favours whoever spends the quota first.`,
		Example: "  headgate demo\n  headgate demo --instances 4\n  headgate demo --duration 20s --limit 100/5s --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := limit.Parse(limited)
			if err != nil {
				return misused(cmd, "--limit %w", err)
			}
			if duration < 2*time.Second || duration > time.Hour {
				return misused(cmd, "--duration %v: want 2s to 1h", duration)
			}
			d := newDemoRun(l, duration/2)
			if d.instances, err = readInstances(cmd, instances, state); err != nil {
				return err
			}
			return runDemo(w, d, asJSON)
		},
	}
	f := cmd.Flags()
	f.DurationVar(&duration, "duration", 40*time.Second, "`DURATION` of both halves together")
	f.StringVarP(&limited, "limit", "l", "50/10s", "`LIMIT` of the API")
	f.IntVar(&instances, "instances", 0, "`NUMBER` of gates that share the quota through a Redis (default one gate, and none)")
	f.StringVar(&state, "state", "", "`ADDRESS` of a Redis that runs, such as redis://localhost:6379, in place of one that demo starts")
	f.BoolVar(&asJSON, "json", false, "print the table as JSON")
	return cmd
}

// readInstances reads --instances and --state.
func readInstances(cmd *cobra.Command, count int, state string) (d demoInstances, err error) {
	switch {
	case cmd.Flags().Changed("instances") && (count < 1 || count > demoCallers):
		return d, misused(cmd, "--instances %d: want 1 to %d, which is how many callers there are", count, demoCallers)
	case count == 0 && state != "":
		return d, misused(cmd, "--state is what instances share: give --instances too")
	}
	if err := setOver(cmd, []setting{{"state", state}}, &d.config); err != nil {
		return d, err
	}
	if at, err := d.config.Store(); err == nil && at.Kind == config.Memory && state != "" {
		return d, misused(cmd, "--state %q: want the address of a Redis, such as redis://localhost:6379", state)
	}
	d.count = count
	return d, nil
}

func runDemo(w World, d *demoRun, asJSON bool) error {
	ctx, done := untilStopped(w)
	defer done()
	closing, err := d.instances.open(ctx, w.Err)
	if err != nil {
		return err
	}
	err = watchDemo(ctx, w.Err, d)
	if err := errors.Join(err, closing()); err != nil {
		return err
	}
	return d.print(w.Out, asJSON)
}

// untilStopped returns a context that ends with the first of stopSignals, and
// what must be called in the end.
func untilStopped(w World) (ctx context.Context, done func()) {
	signals, stop := w.Signals(stopSignals...)
	ctx, cancel := context.WithCancel(context.Background())
	var watching sync.WaitGroup
	watching.Go(func() {
		select {
		case <-signals:
			cancel()
		case <-ctx.Done():
		}
	})
	return ctx, func() {
		cancel()
		watching.Wait()
		stop()
	}
}

// watchDemo runs d, and shows on w how it goes.
func watchDemo(ctx context.Context, w io.Writer, d *demoRun) error {
	var runErr, drawErr error
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		runErr = d.run(ctx)
	}()
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb" {
		drawErr = drawDemo(f, d, ended)
	} else {
		narrateDemo(w, d, ended)
	}
	<-ended
	return errors.Join(runErr, drawErr)
}

// demoRun is the two halves of a demo, one after the other.
type demoRun struct {
	limit     limit.Limit
	length    time.Duration // of a half
	instances demoInstances

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
	urls := []string{"http://" + api.addr.String()}
	closeGates := func() error { return nil }
	if through {
		gates, err := d.instances.gates(urls[0], config.Limit{Limit: d.limit.String()})
		if err != nil {
			return errors.Join(err, api.close())
		}
		urls, closeGates = gates.urls, gates.close
	}
	if n := d.instances.clients(); len(urls) < n { // then there is one
		urls = slices.Repeat(urls, n)
	}
	h := &demoHalf{through: through, upstream: upstream, fleet: newFleet(urls, thinkFor(d.limit), !through), began: time.Now()}
	d.mu.Lock()
	d.mu.halves = append(d.mu.halves, h)
	d.mu.Unlock()

	ctx, cancel := context.WithTimeout(ctx, d.length)
	defer cancel()
	h.fleet.run(ctx)
	h.end()
	return errors.Join(closeGates(), api.close())
}

// thinkFor is how long a caller thinks between two calls, on average, so that
// the fleet wants a few times the quota: it is greedy, not a load test.
func thinkFor(l limit.Limit) time.Duration {
	const least, most = 50 * time.Millisecond, 5 * time.Second
	if l.Kind == limit.Concurrent {
		return least
	}
	perSecond := float64(l.N) / l.Window.Seconds()
	think := time.Duration(demoCallers / (demoGreed * perSecond) * float64(time.Second))
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
