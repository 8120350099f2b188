// Package batch runs a file of calls through the door, and writes a file of
// results.
//
// The output is its own journal. A result is appended when its call has ended,
// and what has a result is not called again: a batch that was killed, or lost
// its power, goes on where it stopped when it is run once more. Lines and results
// belong together by custom_id. Beside the output a small file says what it was
// begun with, and is locked while a batch runs.
//
// However long the input is, memory holds 16 bytes or so for each line, the calls
// that are out, and no more. The calls themselves are sent by package pump.
package batch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"sync"
	"time"

	"github.com/headgate/headgate"
	"github.com/headgate/headgate/config"
	"github.com/headgate/headgate/internal/dialect"
	"github.com/headgate/headgate/internal/limit"
	"github.com/headgate/headgate/internal/pump"
	"github.com/headgate/headgate/internal/tokens"
)

// DefaultInFlight is how many calls are out at once unless somebody says
// otherwise. Limits are the upstream's business: this one bounds memory and
// connections.
const DefaultInFlight = 1000

// Priority is that of a batch's calls: live ones go first.
const Priority = 5

// Options say what a batch runs. Config, Upstream, In and Out are required.
type Options struct {
	Config   config.Config     // valid
	Upstream string            // one of Config
	Base     http.RoundTripper // what sends attempts; nil: the network

	In    string    // a file; "-": Stdin
	Stdin io.Reader // read to its end
	Out   string    // a file; made if there is none

	CSV      bool      // the input is CSV (RFC 4180), its first row names the columns; else JSON Lines
	Template *Template // makes calls of lines; nil: they are in the form of OpenAI's Batch API

	Ordered     bool // put the results in the order of the input when all are there
	RetryFailed bool // call those again that an earlier run has failed
	KeepGoing   bool // even if every call fails
	Force       bool // go on with an output that was begun otherwise
	InFlight    int  // calls that are out at once; 0: DefaultInFlight

	// BadLine is told of lines that cannot be made calls; by one goroutine at a
	// time. nil: nobody asks.
	BadLine func(number int64, why string)
}

// Batch is one run of a file of calls.
type Batch struct {
	options  Options
	in       *os.File // nil: Stdin
	size     int64    // of in, bytes; -1 if there is no telling
	upstream *url.URL
	state    *state
	out      *output
	ids      *ids
	gate     *headgate.Gate
	rest     time.Time         // nothing is sent before
	usage    *tokens.Estimator // knows where answers tell of tokens
	tally    tally
	reach    func(headgate.AttemptEnded) // set while it runs

	badLine sync.Mutex // held while Options.BadLine is told
}

// Open opens the files of a batch and its gate, and reads what has been done. It
// calls nothing. The batch must be closed. Errors are ErrInUse, ErrChanged, those
// of the file system, and outputs that are none.
func Open(ctx context.Context, o Options) (*Batch, error) {
	if o.InFlight <= 0 {
		o.InFlight = DefaultInFlight
	}
	b := &Batch{options: o, size: -1, ids: newIDs()}
	b.tally.total.Store(-1)
	if err := b.open(ctx); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

func (b *Batch) open(ctx context.Context) error {
	o := &b.options
	c := o.Config.Upstreams[o.Upstream]
	var err error
	if b.upstream, err = url.Parse(c.URL); err != nil {
		return err
	}
	b.usage = usageOf(c.Dialect, b.upstream.Host)
	if err := b.openInput(); err != nil {
		return err
	}
	if b.state, err = lockState(o.Out); err != nil {
		return err
	}
	begun, err := fingerprint(o.In, b.in, b.size, o.Template)
	if err != nil {
		return err
	}
	if old, err := os.Stat(o.Out); err == nil && old.Size() > 0 {
		if err := b.state.check(o.Out, begun); err != nil && !o.Force {
			return err
		}
		b.rest = restUntil(o.Config, c, old.ModTime(), time.Now())
	}
	drop := func(k known) bool { return o.RetryFailed && k.failed }
	b.out, err = openOutput(o.Out, b.state.known() || o.Force, drop, func(k known) {
		b.ids.ended(k)
		b.tally.earlier.Add(1)
		b.tally.ended(k.failed)
	})
	if err != nil {
		return err
	}
	if err := b.state.save(begun); err != nil {
		return err
	}
	opts := []headgate.Option{headgate.WithEvents(headgate.Events{AttemptEnded: b.attemptEnded})}
	if o.Base != nil {
		opts = append(opts, headgate.Base(o.Base))
	}
	b.gate, err = headgate.Open(ctx, o.Config, opts...)
	return err
}

// longestRest bounds what restUntil waits for. Longer windows are left to the
// upstream's word.
const longestRest = time.Minute

// restUntil returns when the quota is free of what the last run took, which wrote
// its last result at a moment: a window later. Where instances share quotas, the
// store knows better. A clock that was set back since is no reason to wait for
// longer.
func restUntil(c config.Config, u config.Upstream, wrote, now time.Time) time.Time {
	if at, err := c.Store(); err != nil || at.Kind != config.Memory {
		return time.Time{}
	}
	var window time.Duration
	for _, text := range u.Limits {
		if l, err := limit.Parse(text.Limit); err == nil && l.Window <= longestRest {
			window = max(window, l.Window)
		}
	}
	if wrote.After(now) {
		wrote = now
	}
	return wrote.Add(window)
}

func (b *Batch) openInput() error {
	if b.options.In == "-" {
		return nil
	}
	f, err := os.Open(b.options.In)
	if err != nil {
		return err
	}
	b.in = f
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is no regular file; - reads from a pipe", b.options.In)
	}
	if out, err := os.Stat(b.options.Out); err == nil && os.SameFile(info, out) {
		return fmt.Errorf("%s is both input and output", b.options.In)
	}
	b.size = info.Size()
	return nil
}

// usageOf returns what reads the tokens that answers tell of.
func usageOf(name, host string) *tokens.Estimator {
	if name == "" || name == "auto" {
		name = dialect.Detect(host, nil).Name()
	}
	for _, name := range []string{name, "openai"} {
		if p, ok := dialect.PresetOf(name); ok && p.Usage != nil {
			return tokens.New(*p.Usage)
		}
	}
	return tokens.New(dialect.Usage{})
}

// Close lets go of the files and the gate. Run must have returned.
func (b *Batch) Close() error {
	var errs []error
	if b.gate != nil {
		errs = append(errs, b.gate.Close())
	}
	if b.out != nil {
		errs = append(errs, b.out.close())
	}
	if b.state != nil {
		errs = append(errs, b.state.close())
	}
	if b.in != nil {
		errs = append(errs, b.in.Close())
	}
	return errors.Join(errs...)
}

// Repaired says what had to be done to the output when it was opened, "" if
// nothing.
func (b *Batch) Repaired() string { return b.out.repaired }

// Run makes all calls that have no result yet, and returns nil when each line
// has one: Progress tells how many failed. It may be called once.
//
// When taking ends no new calls are made, those whose attempt is on its way are
// waited for, and Run returns the cause; when working ends these are cut off.
// Other errors are a HopelessError, an OutputError, and why the input cannot be
// read. Whatever it returns, the output is whole, and another run goes on.
func (b *Batch) Run(taking, working context.Context) error {
	taking, stop := context.WithCancelCause(taking)
	defer stop(nil)
	working, cut := context.WithCancelCause(working)
	defer cut(nil)
	f := b.newFeed(taking, func(err error) {
		stop(err)
		cut(err) // what is on its way would fail too, or is made again
	})
	b.reach = f.reached
	f.journal = startJournal(b.out.file, b.out.path, b.out.size, stop)
	var counting sync.WaitGroup
	counting.Go(func() { b.count(taking) })

	err := b.pump().Run(taking, working, f)
	if err == nil {
		f.settle()
	}
	stop(nil)
	counting.Wait()
	if e := f.journal.close(); e != nil {
		return e
	}
	if err == nil && b.options.Ordered {
		err = b.out.order(f.last, b.ids.lineOf)
	}
	return err
}

func (b *Batch) pump() *pump.Pump {
	door := headgate.Unwatched(b.gate.RoundTripper(b.options.Upstream))
	return pump.New(door, pump.Options{
		Caller: headgate.Caller{Name: "batch", Weight: 1, Priority: Priority},
		Most:   b.options.InFlight,
	})
}

// count counts the lines of the input, if it is a file. Until it has, and if it
// cannot, nobody knows how many there are.
func (b *Batch) count(ctx context.Context) {
	if b.in == nil {
		return
	}
	r := &interruptedReader{ctx, io.NewSectionReader(b.in, 0, b.size)}
	if n, err := countLines(r, b.options.CSV); err == nil {
		b.tally.total.CompareAndSwap(-1, n)
	}
}

// interruptedReader reads until ctx ends.
type interruptedReader struct {
	ctx context.Context
	r   io.Reader
}

func (r *interruptedReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}
