// Package daemon makes a running process of a configuration: it opens the
// gate, puts the gateway and the admin plane in front of it, reloads, and
// stops. It is the only room that knows all others, and it decides nothing
// that they could.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/headgate/headgate"
	"github.com/headgate/headgate/config"
	"github.com/headgate/headgate/internal/admin"
	"github.com/headgate/headgate/internal/gateway"
	"github.com/headgate/headgate/internal/job"
	"github.com/headgate/headgate/internal/telemetry"
)

// Options say what Run runs. Load is required.
type Options struct {
	// Load returns the configuration, valid; it is called at start and for
	// each reload.
	Load func() (config.Config, error)

	// File is what Load reads; a change of it reloads. "": there is none, and
	// nothing to reload.
	File string

	// Memory is a file that keeps what is learned of limits over restarts; "":
	// it is forgotten.
	Memory string

	// RootMount has the upstream "default" mounted at / and no other.
	RootMount bool

	// Grace is how long calls in flight may take to end when stopped.
	Grace time.Duration

	// Signals tell Run what to do: SIGHUP reloads, any other one stops, and
	// a second one of those ends at once. nil: none come.
	Signals <-chan os.Signal

	// Log is where log lines go; nil: nowhere.
	Log io.Writer

	// Getenv returns a variable of the environment: those of OpenTelemetry
	// (OTEL_*) say where traces go. nil: nowhere.
	Getenv func(name string) string

	// Listening is told each address that is listened on; nil: nobody asks.
	Listening func(plane string, addr net.Addr)

	Version, Commit string // of this build
}

// The planes that Options.Listening is told of.
const (
	Data  = "data"
	Admin = "admin"
)

var (
	// ErrCutOff is returned by Run when calls in flight did not end by
	// themselves, and were cut off.
	ErrCutOff = errors.New("calls in flight were cut off")

	errGrace        = errors.New("the grace period is over")
	errSecondSignal = errors.New("a second signal came")
)

// Run serves what o names until ctx ends or a signal stops it. It then says so
// at readyz, closes the listeners, waits for the calls in flight, and returns
// after its last goroutine has: nil, ErrCutOff, or why it could not serve. An
// error of Load is returned as it is.
func Run(ctx context.Context, o Options) error {
	cfg, err := o.Load()
	if err != nil {
		return err
	}
	floor := make([]byte, heapFloor)
	defer runtime.KeepAlive(floor)
	d := &daemon{options: o, loaded: cfg, config: cfg.WithDefaults()}
	if err := d.open(ctx); err != nil {
		return errors.Join(err, d.close())
	}
	d.serve()
	err = d.wait(ctx)
	return errors.Join(err, d.stop(), d.close())
}

// heapFloor is memory that is never touched: it counts as live, so that the
// heap is collected less often, and takes no RAM itself. A gateway keeps little
// (some MB) and takes much for a moment (7 KB a call); Go, which collects when
// the heap has doubled, did so tens of times a second. A larger GOGC would do
// too, but multiplies what calls in line keep; this adds its size once. 16 MB
// measured no better than 8: what is taken then falls out of the cache.
const heapFloor = 8 << 20 // bytes

// daemon is one Run.
type daemon struct {
	options Options
	loaded  config.Config // what Load returned last, to see whether it changed
	config  config.Config // in force, with its defaults
	log     *telemetry.Log
	traces  *telemetry.Traces // nil: there are none
	gate    *headgate.Gate
	metrics *telemetry.Metrics
	jobs    *jobs // nil: none are kept
	sources *sources
	inForce atomic.Pointer[config.Config] // config, for those who run beside
	gateway *gateway.Gateway
	admin   *admin.Admin
	planes  []*plane
	memory  memory
	forget  context.CancelFunc // ends what keeps the memory; nil: nothing does

	stopAdmin context.CancelFunc // ends what shows the instance; nil: it has not begun
	running   sync.WaitGroup
	failed    chan error // of planes; room for each
}

// open makes everything that is needed, and starts nothing.
func (d *daemon) open(ctx context.Context) error {
	o, w := d.options, d.options.Log
	if w == nil {
		w = io.Discard
	}
	var err error
	if d.log, err = telemetry.NewLog(w, d.config.Log.Level, d.config.Log.Format); err != nil {
		return err
	}
	metrics, feed := telemetry.NewMetrics(o.Version, o.Commit), new(admin.Feed)
	d.metrics = metrics
	d.inForce.Store(&d.config)
	if o.Getenv != nil {
		if d.traces, err = telemetry.OpenTraces(ctx, o.Getenv, d.log.Logger, o.Version); err != nil {
			return err
		}
	}
	events := []headgate.Events{metrics.Events(), d.log.Events()}
	if d.config.Admin != "off" {
		events = append(events, feed.Events())
	}
	d.gate, err = headgate.Open(ctx, d.config, headgate.WithEvents(telemetry.Tee(events...)), headgate.WithTracer(d.traces.Tracer()))
	if err != nil {
		return fmt.Errorf("open the gate: %w", err)
	}
	d.memory.path = o.Memory
	d.recall()
	metrics.Watch(d.gate.Status)
	if d.jobs, err = d.openJobs(ctx, telemetry.TeeJobs(metrics.JobEvents(), d.log.JobEvents())); err != nil {
		return err
	}
	if d.sources, err = d.openSources(); err != nil {
		return err
	}
	front := gateway.Options{RootMount: o.RootMount}
	back := admin.Options{
		Listen:  d.config.Admin,
		Version: o.Version,
		Commit:  o.Commit,
		Gate:    d.gate,
		Feed:    feed,
		Metrics: metrics.Handler(),
		Sources: d.sources.list,
		Key:     d.config.AdminKey,
		Changed: d.changed,
	}
	if d.jobs != nil {
		front.Jobs, back.Jobs = d.jobs.store, d.jobs.store
		metrics.WatchJobs(d.jobs.store.Counts)
		if p := callbackPolicy(d.config); p != nil {
			front.Callbacks = p
		}
	}
	if d.gateway, err = gateway.New(d.gate, d.config, front); err != nil {
		return fmt.Errorf("open the gateway: %w", err)
	}
	d.admin = admin.New(back)
	data, err := newPlane(Data, d.config.Listen, d.gateway.Server())
	if err != nil {
		return err
	}
	d.planes = append(d.planes, data)
	if d.config.Admin != "off" {
		p, err := newPlane(Admin, d.config.Admin, d.admin.Server())
		if err != nil {
			return err
		}
		d.planes = append(d.planes, p)
	}
	d.failed = make(chan error, len(d.planes))
	return nil
}

// serve starts the jobs and the planes.
func (d *daemon) serve() {
	if d.jobs != nil {
		d.jobs.start(d.hearOfJob, func(err error) { d.log.Warn("jobs are given back late", "error", err) })
	}
	d.sources.start()
	if d.config.Admin != "off" {
		var ctx context.Context
		ctx, d.stopAdmin = context.WithCancel(context.Background())
		d.running.Go(func() { d.admin.Run(ctx) })
	}
	for _, p := range d.planes {
		p.server.ErrorLog = slog.NewLogLogger(d.log.Handler(), slog.LevelWarn)
		d.running.Go(func() {
			if err := p.serve(); err != nil {
				d.failed <- err
			}
		})
	}
	if d.memory.path != "" {
		ctx, cancel := context.WithCancel(context.Background())
		d.forget = cancel
		d.running.Go(func() { d.keep(ctx) })
	}
	d.admin.SetState(admin.Ready)
	for _, p := range d.planes {
		addr := p.listener.Addr()
		if d.options.Listening != nil {
			d.options.Listening(p.name, addr)
		}
		d.log.Info("listening", "plane", p.name, "addr", addr.String(), "tls", p.tls)
	}
}

// upstream returns what the configuration in force says of one.
func (d *daemon) upstream(name string) config.Upstream { return d.inForce.Load().Upstreams[name] }

// hearOfJob tells all who may wait for a job.
func (d *daemon) hearOfJob(n job.Notice) {
	d.jobs.worker.Hear(n)
	d.gateway.Hear(n)
	d.admin.Hear(n)
}

// changed writes a line for what was done by the admin plane, or could not be.
func (d *daemon) changed(c admin.Change) {
	attrs := []any{"request", c.Request, "from", c.From}
	if c.Detail != "" {
		attrs = append(attrs, "detail", c.Detail)
	}
	if c.Err != nil {
		d.log.Warn("change by the admin plane failed", append(attrs, "error", c.Err)...)
		return
	}
	d.log.Info("change by the admin plane", attrs...)
}

// wait reloads as it is told to, until something ends the daemon. The error is
// why it cannot go on; nil if it was told to stop.
func (d *daemon) wait(ctx context.Context) error {
	changed, stopWatch := d.watch(ctx)
	defer stopWatch()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-d.failed:
			return err
		case <-changed:
			d.reload(false)
		case s := <-d.options.Signals:
			if s != syscall.SIGHUP {
				return nil
			}
			d.reload(true)
		}
	}
}

// watch tells of changes of the file. Without one, or where it cannot be
// watched, nothing is ever told.
func (d *daemon) watch(ctx context.Context) (changed <-chan struct{}, stop func()) {
	if d.options.File == "" {
		return nil, func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	c := make(chan struct{}, 1) // one reload reads all changes until then
	var running sync.WaitGroup
	running.Go(func() {
		err := config.Watch(ctx, d.options.File, func() {
			select {
			case c <- struct{}{}:
			default:
			}
		})
		if ctx.Err() == nil {
			d.log.Warn("file is not watched; SIGHUP still reloads it", "file", d.options.File, "error", err)
		}
	})
	return c, func() { cancel(); running.Wait() }
}

// stop ends intake, and waits for the calls in flight up to the grace period
// or a second signal. The admin plane tells of it until then.
func (d *daemon) stop() error {
	d.admin.SetState(admin.Stopping)
	d.log.Info("stopping", "grace", d.options.Grace)
	ctx, cancel := context.WithTimeoutCause(context.Background(), d.options.Grace, errGrace)
	defer cancel()
	ctx, cut := context.WithCancelCause(ctx)
	var running sync.WaitGroup
	running.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case s := <-d.options.Signals:
				if s != syscall.SIGHUP {
					cut(errSecondSignal)
				}
			}
		}
	})
	var background sync.WaitGroup
	background.Go(func() { d.sources.stop(ctx) })
	if d.jobs != nil {
		background.Go(func() { d.jobs.stop(ctx) })
	}
	err := d.gateway.Shutdown(ctx)
	if err != nil {
		err = fmt.Errorf("%w: %w", ErrCutOff, context.Cause(ctx))
		d.log.Warn("calls in flight were cut off", "reason", context.Cause(ctx))
	}
	background.Wait()
	cut(nil)
	running.Wait()
	return err
}

// close lets go of what open made, as far as it got.
func (d *daemon) close() error {
	var errs []error
	for _, p := range d.planes {
		errs = append(errs, p.close())
	}
	if d.forget != nil {
		d.forget()
	}
	if d.stopAdmin != nil {
		d.stopAdmin()
	}
	d.running.Wait()
	if d.sources != nil {
		d.sources.close()
	}
	if d.jobs != nil {
		errs = append(errs, d.jobs.close())
	}
	if d.gate != nil {
		errs = append(errs, d.gate.Close())
	}
	d.closeTraces()
	if d.log != nil && d.failed != nil {
		d.log.Info("stopped")
	}
	return errors.Join(errs...)
}

// lastTraces is how long the last traces may take to be delivered.
const lastTraces = 5 * time.Second

// closeTraces delivers what is left of them. That it cannot be is no reason to
// have failed.
func (d *daemon) closeTraces() {
	ctx, cancel := context.WithTimeout(context.Background(), lastTraces)
	defer cancel()
	if err := d.traces.Close(ctx); err != nil {
		d.log.Warn("traces are lost", "error", err)
	}
}
