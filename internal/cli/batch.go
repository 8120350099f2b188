package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/headgate/headgate/config"
	"github.com/headgate/headgate/internal/batch"
)

// batchFlags are the flags of headgate batch.
type batchFlags struct {
	out, file, use, request, format string
	upstream                        upstreamFlags
	state                           stateFlags
	inFlight                        int
	quiet, asJSON                   bool
	ordered, retryFailed            bool
	keepGoing, force                bool
}

func newBatch(w World) *cobra.Command {
	var b batchFlags
	cmd := &cobra.Command{
		Use:   "batch IN.jsonl -o OUT.jsonl (--upstream URL [--limit L]… | -c FILE --use NAME)",
		Short: "Run a file of calls at full quota, resumable",
		Long: `Batch makes a call of each line of IN and appends its result to OUT. "-" reads
standard input.

A line is in the form of OpenAI's Batch API: {"custom_id": …, "method": "POST",
"url": "/v1/…", "body": {…}}. With --request it is any JSON value, or a row of
CSV, and the template says what is sent: YAML or JSON with method, path, headers
and body, in which {{ json .JSON.field }} writes a field, and .Message, .ID and
.Line are the line itself, its custom_id and its number. @FILE reads it from a
file.

OUT has the form of OpenAI's output, {"id", "custom_id", "response", "error"}, in
the order in which calls end; --ordered sorts it when all have. It is the journal
too: stopped, killed or without power, the same command goes on where it stopped,
and calls nothing again whose result is in OUT. OUT.headgate tells what OUT was
begun with. From standard input a batch goes on only if the same lines come again.

A line that cannot be made a call is named on stderr and has an error for a
result. Calls that were throttled are made again for as long as it takes, and
nothing is lost in a pause. Ctrl-C waits for the calls that are on their way; a
second one cuts them off.

The exit status is 0 if all calls were done, 3 if some failed for good, 1 if the
batch could not be finished, 2 for wrong usage.`,
		Example: `  headgate mock --limit 50/1s &
  echo '{"custom_id": "a", "method": "POST", "url": "/v1/items", "body": {"n": 1}}' > in.jsonl
  headgate batch in.jsonl -o out.jsonl --upstream http://127.0.0.1:8789 --limit 50/1s

  headgate batch words.csv -o out.jsonl -u http://127.0.0.1:8789 \
    --request '{"path": "/v1/analyze", "body": "{\"text\": {{ json .JSON.word }}}"}'

  headgate batch in.jsonl -o out.jsonl -c headgate.yaml --use openai`,
		Args: func(cmd *cobra.Command, args []string) error {
			switch len(args) {
			case 0:
				return misused(cmd, "no input: give a file of calls, or - for standard input")
			case 1:
				return nil
			}
			return misused(cmd, "unexpected argument %q", args[1])
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := b.options(cmd, args[0])
			if err != nil {
				return err
			}
			o.Stdin = w.In
			return runBatch(w, o, &b)
		},
	}
	b.add(cmd.Flags())
	return cmd
}

func (b *batchFlags) add(f *pflag.FlagSet) {
	f.StringVarP(&b.out, "output", "o", "", "`FILE` of results; appended to")
	b.upstream.addAPI(f)
	f.StringVarP(&b.file, "config", "c", "", "configuration `FILE`, in place of --upstream")
	f.StringVar(&b.use, "use", "", "`NAME` of the upstream in the file (default the only one)")
	f.StringVar(&b.request, "request", "", "`TEMPLATE` that makes calls of lines; @FILE reads it from a file")
	f.StringVar(&b.format, "format", "", "`FORMAT` of the input: jsonl or csv (default by the name of the input)")
	f.BoolVar(&b.ordered, "ordered", false, "put the results in the order of the input, when all are there")
	f.BoolVar(&b.retryFailed, "retry-failed", false, "make the calls again that failed in an earlier run")
	f.BoolVar(&b.keepGoing, "keep-going", false, "go on even if every call fails")
	f.BoolVar(&b.force, "force", false, "go on with an OUT that was begun with another input or template")
	f.IntVar(&b.inFlight, "in-flight", batch.DefaultInFlight, "`CALLS` that are out at once, at most")
	b.state.add(f)
	f.BoolVarP(&b.quiet, "quiet", "q", false, "show no progress, and no summary")
	f.BoolVar(&b.asJSON, "json", false, "print a summary as JSON on stdout")
}

// options reads the flags.
func (b *batchFlags) options(cmd *cobra.Command, in string) (batch.Options, error) {
	o := batch.Options{
		In: in, Out: b.out, Ordered: b.ordered, RetryFailed: b.retryFailed,
		KeepGoing: b.keepGoing, Force: b.force, InFlight: b.inFlight,
	}
	clash := b.upstream.given(cmd.Flags())
	switch {
	case b.out == "":
		return o, misused(cmd, "no output: give --output FILE")
	case b.inFlight < 1:
		return o, misused(cmd, "--in-flight %d: want 1 or more", b.inFlight)
	case b.file != "" && clash != "":
		return o, misused(cmd, "--config and --%s exclude each other: the file says it all", clash)
	case b.file == "" && b.upstream.url == "":
		return o, misused(cmd, "no upstream: give --upstream URL, or --config FILE")
	case b.file == "" && b.use != "":
		return o, misused(cmd, "--use names an upstream of a file: give --config too")
	}
	var err error
	if o.CSV, err = b.isCSV(cmd, in); err != nil {
		return o, err
	}
	if o.Template, err = b.template(cmd); err != nil {
		return o, err
	}
	if b.file == "" {
		o.Upstream = defaultUpstream
		o.Config, err = b.upstream.config(cmd, processFlags{stateFlags: b.state})
		return o, err
	}
	if o.Config, err = loadUnder(cmd, b.state.settings(), b.file); err != nil {
		return o, err
	}
	o.Upstream, err = b.named(cmd, o.Config)
	return o, err
}

// named returns the upstream of a file that is meant.
func (b *batchFlags) named(cmd *cobra.Command, c config.Config) (string, error) {
	names := slices.Sorted(maps.Keys(c.Upstreams))
	if _, ok := c.Upstreams[b.use]; ok {
		return b.use, nil
	}
	switch {
	case len(names) == 0:
		return "", misused(cmd, "%s has no upstreams", b.file)
	case b.use != "":
		return "", misused(cmd, "--use %q: %s has no such upstream%s", b.use, b.file, didYouMean("", b.use, names))
	case len(names) > 1:
		return "", misused(cmd, "%s has several upstreams: --use one of %s", b.file, strings.Join(names, ", "))
	}
	return names[0], nil
}

func (b *batchFlags) isCSV(cmd *cobra.Command, in string) (bool, error) {
	format := b.format
	if format == "" && strings.EqualFold(filepath.Ext(in), ".csv") {
		format = "csv"
	}
	switch format {
	case "", "jsonl":
		return false, nil
	case "csv":
		if b.request == "" {
			return false, misused(cmd, "CSV needs --request, which says what is sent for a row")
		}
		return true, nil
	}
	return false, misused(cmd, "--format %q: want jsonl or csv", format)
}

func (b *batchFlags) template(cmd *cobra.Command) (*batch.Template, error) {
	if b.request == "" {
		return nil, nil
	}
	name, text := "--request", b.request
	if file, ok := strings.CutPrefix(b.request, "@"); ok {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, misused(cmd, "--request: %w", err)
		}
		name, text = file, string(data)
	}
	return batch.ParseTemplate(name, text)
}

var (
	errStopped = errors.New("stopped")
	errCut     = errors.New("a second signal came")

	// errSomeFailed is told by the summary already.
	errSomeFailed = errors.New("some calls failed")
)

// runBatch runs a batch until it ends or is told to stop.
func runBatch(w World, o batch.Options, flags *batchFlags) error {
	v := newBatchView(w.Err, o, flags.quiet)
	o.BadLine = v.badLine
	b, err := batch.Open(context.Background(), o)
	if err != nil {
		return err
	}
	if why := b.Repaired(); why != "" {
		v.say("%s: %s", o.Out, why)
	}
	taking, stop := context.WithCancelCause(context.Background())
	defer stop(nil)
	working, cut := context.WithCancelCause(context.Background())
	defer cut(nil)
	signals, forget := w.Signals(stopSignals...)
	defer forget()
	var helping sync.WaitGroup
	helping.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-signals:
				if n == 0 {
					stop(errStopped)
					v.say("stopping: waiting for the calls on their way; Ctrl-C again cuts them off")
				} else {
					cut(errCut)
				}
			case <-working.Done():
				return
			}
		}
	})
	showing, hide := context.WithCancel(context.Background())
	helping.Go(func() { v.show(showing, b.Progress) })
	began := time.Now()
	err = b.Run(taking, working)
	hide()
	cut(nil)
	helping.Wait()
	p, took := b.Progress(), time.Since(began)
	err = errors.Join(err, b.Close())
	v.end(p, took, err)
	if flags.asJSON {
		if e := printBatch(w, o, p, took); e != nil {
			return errors.Join(err, e)
		}
	}
	switch {
	case errors.Is(err, errStopped):
		return fmt.Errorf("stopped with %s; the same command goes on from here", v.doneOf(p))
	case err != nil:
		return err
	case p.Failed > 0:
		return errSomeFailed
	}
	return nil
}

// printBatch prints the summary as JSON.
func printBatch(w World, o batch.Options, p batch.Progress, took time.Duration) error {
	var total *int64
	if p.Total >= 0 {
		total = &p.Total
	}
	e := json.NewEncoder(w.Out)
	e.SetEscapeHTML(false)
	return e.Encode(struct {
		Output    string  `json:"output"`
		Lines     *int64  `json:"lines"` // null: not known yet
		Done      int64   `json:"done"`
		Failed    int64   `json:"failed"`
		BadLines  int64   `json:"bad_lines"`
		Earlier   int64   `json:"earlier"`
		Attempts  int64   `json:"attempts"`
		Throttled int64   `json:"throttled"`
		Tokens    int64   `json:"tokens"`
		Seconds   float64 `json:"seconds"`
	}{o.Out, total, p.Done, p.Failed, p.Bad, p.Earlier, p.Attempts, p.Refused, p.Tokens, float64(took.Milliseconds()) / 1000})
}
