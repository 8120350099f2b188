package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/headgate/headgate/config"
	"github.com/headgate/headgate/internal/limit"
	"github.com/headgate/headgate/internal/mock"
)

func newMock(w World) *cobra.Command {
	var (
		c      mock.Config
		listen string
		limits []string
		errs   string
	)
	cmd := &cobra.Command{
		Use:   "mock [--listen A] [--limit L]… [--latency D] [--jitter D] [--dialect D]",
		Short: "Run a rate-limited API to try things against",
		Long: `Mock is an upstream that counts what arrives and refuses what is over its
limits, as the real ones do. It answers anything with a small JSON object, and
the chat endpoints of OpenAI and Anthropic in their shape; /_mock/stats has its
counts. Ctrl-C ends it, and prints them.`,
		Example: `  headgate mock --limit 50/1m --latency 20ms --jitter 25ms`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, text := range limits {
				l, err := limit.Parse(text)
				if err != nil {
					return misused(cmd, "--limit %w", err)
				}
				c.Limits = append(c.Limits, l)
			}
			var share config.Percent
			if err := share.UnmarshalText([]byte(errs)); err != nil {
				return misused(cmd, "--errors %w", err)
			}
			c.Errors = float64(share)
			if err := c.Validate(); err != nil {
				return &usageError{cmd, err}
			}
			return runMock(w, listen, c)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&listen, "listen", "a", "127.0.0.1:8789", "`ADDRESS`; port 0 is any free one")
	f.StringArrayVarP(&limits, "limit", "l", nil, "`LIMIT` such as 50/1m, \"50/1m fixed\", \"10/1s burst 20\" or concurrent:8; may be repeated")
	f.DurationVar(&c.Latency, "latency", 0, "`DURATION` an answer takes, the median")
	f.DurationVar(&c.Jitter, "jitter", 0, "`DURATION` that requests are held at most before they are counted")
	f.StringVar(&c.Dialect, "dialect", mock.Generic, "`SHAPE` of errors: generic, openai or anthropic")
	f.StringVar(&c.RetryAfter, "retry-after", mock.HintSeconds, "`FORM` of saying when in a 429: none, seconds, date, ms, ratelimit, draft6 or x")
	f.StringVar(&errs, "errors", "0%", "`SHARE` of accepted requests answered with 503, such as 20%")
	f.BoolVar(&c.CountRefused, "count-refused", false, "refused requests use quota too")
	f.BoolVar(&c.OwnPhase, "own-phase", false, "fixed windows begin with the first request, not with the clock")
	f.Uint64Var(&c.Seed, "seed", 1, "`NUMBER` that fixes everything random")
	return cmd
}

// runMock serves until it is told to stop, and prints what was counted.
func runMock(w World, listen string, c mock.Config) error {
	signals, stop := w.Signals(stopSignals...)
	defer stop()
	upstream := mock.New(c)
	at, err := serveHTTP(listen, upstream)
	if err != nil {
		return fmt.Errorf("%w; choose another address with --listen", err)
	}
	fmt.Fprintf(w.Err, "mock at http://%s; Ctrl-C ends it\n", at.addr)
	select {
	case <-signals:
	case <-at.ended:
	}
	err = at.close()
	return errors.Join(err, printMockStats(w.Out, upstream.Stats()))
}

// served is an HTTP server on a listener of its own.
type served struct {
	addr   net.Addr
	server *http.Server
	ended  chan struct{} // closed when Serve has returned
	err    error         // of Serve; read after ended
}

func serveHTTP(listen string, h http.Handler) (*served, error) {
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return nil, err
	}
	s := &served{
		addr:   l.Addr(),
		server: &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second},
		ended:  make(chan struct{}),
	}
	go func() {
		defer close(s.ended)
		s.err = s.server.Serve(l)
	}()
	return s, nil
}

// close gives what is in flight a second to end, cuts off the rest, and returns
// what went wrong while serving.
func (s *served) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if s.server.Shutdown(ctx) != nil {
		_ = s.server.Close() // the listener was closed by Shutdown: nothing is left that can fail
	}
	<-s.ended
	if errors.Is(s.err, http.ErrServerClosed) {
		return nil
	}
	return s.err
}

func printMockStats(w io.Writer, s mock.Stats) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "arrivals\taccepted\trefused\terrors\tspan\t\n")
	fmt.Fprintf(t, "%d\t%d\t%d\t%d\t%v\t\n", s.Arrivals, s.Accepted, s.Refused, s.Errors,
		s.Last.Sub(s.First).Round(time.Millisecond))
	if err := t.Flush(); err != nil || len(s.Limits) == 0 {
		return err
	}
	t = tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "\nlimit\trefused\tmost in a window\tusage\n")
	for _, l := range s.Limits {
		fmt.Fprintf(t, "%s\t%d\t%d\t%.1f %%\n", l.Limit, l.Refused, l.Max, 100*l.Usage)
	}
	return t.Flush()
}
