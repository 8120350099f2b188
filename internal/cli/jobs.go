package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/headgate/headgate/internal/job"
)

func newJobs(w World) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "jobs list|show|wait|retry|cancel|purge",
		Short: "Look after the stored calls of a running instance",
		Long: `Jobs are calls that were stored before they were answered: those with
"Prefer: respond-async", and those of sources. The commands ask a running
instance, at the address of its admin listener.`,
		Example: `  headgate jobs list --state failed
  headgate jobs retry --state failed --upstream openai --yes
  headgate jobs purge --state done --older 1h --yes`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return misused(cmd, "%w", unknownCommand(cmd, args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newJobsList(w), newJobsShow(w), newJobsWait(w))
	for _, act := range jobActs {
		cmd.AddCommand(newJobsAct(w, act))
	}
	return cmd
}

// jobsFlags are those of all commands of jobs.
type jobsFlags struct {
	server string
	key    string
	json   bool
}

// adminKeyVariable holds the admin key where --key does not: arguments are seen
// by everybody on a machine.
const adminKeyVariable = "HEADGATE_ADMIN_KEY"

func (o *jobsFlags) add(f *pflag.FlagSet) {
	f.StringVar(&o.server, "server", defaultServer, "`ADDRESS` of the admin listener of the instance")
	f.BoolVar(&o.json, "json", false, "print JSON")
}

// addKey adds what changes may need.
func (o *jobsFlags) addKey(f *pflag.FlagSet) {
	f.StringVar(&o.key, "key", "", "admin `KEY` of the instance, if it asks for one (default that in "+adminKeyVariable+")")
}

// open returns the instance that the flags name.
func (o *jobsFlags) open(cmd *cobra.Command) (*jobServer, error) {
	s, err := newJobServer(o.server)
	if err != nil {
		return nil, misused(cmd, "--server: %w", err)
	}
	if s.key = o.key; s.key == "" {
		s.key = os.Getenv(adminKeyVariable)
	}
	return s, nil
}

func newJobsList(w World) *cobra.Command {
	var (
		o      jobsFlags
		filter jobFilter
		limit  int
		quiet  bool
	)
	cmd := &cobra.Command{
		Use:   "list [--state S]… [--upstream U] [--client C] [--match TEXT] [--limit N] [--quiet] [--json]",
		Short: "List jobs, latest first",
		Example: `  headgate jobs list
  headgate jobs list --state failed --upstream openai --match "status 500"
  headgate jobs list --state waiting,running --limit 1000 --json`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			query, err := filter.query(cmd)
			if err != nil {
				return err
			}
			if limit < 1 {
				return misused(cmd, "--limit %d: want a number from 1", limit)
			}
			server, err := o.open(cmd)
			if err != nil {
				return err
			}
			jobs, more, err := server.list(cmd.Context(), query, limit)
			if err != nil {
				return err
			}
			if more {
				fmt.Fprintf(w.Err, "the latest %d; --limit shows more\n", len(jobs))
			}
			switch {
			case o.json:
				return printJobsJSON(w.Out, jobs)
			case quiet:
				return printIDs(w.Out, jobs)
			case len(jobs) == 0:
				fmt.Fprintln(w.Err, "no jobs")
				return nil
			}
			return newJobPainter(w.Out).list(w.Out, jobs, time.Now())
		},
	}
	f := cmd.Flags()
	filter.add(f)
	f.IntVar(&limit, "limit", 50, "list at most `N` jobs")
	f.BoolVarP(&quiet, "quiet", "q", false, "print IDs alone")
	o.add(f)
	return cmd
}

func newJobsShow(w World) *cobra.Command {
	var (
		o        jobsFlags
		response bool
	)
	cmd := &cobra.Command{
		Use:   "show ID [--response] [--json]",
		Short: "Show a job and its attempts, or the response that is stored",
		Example: `  headgate jobs show job_01kaqm5xv3c8w1f2t9d0r6h4ez
  headgate jobs show job_01kaqm5xv3c8w1f2t9d0r6h4ez --response > answer.json`,
		Args: func(cmd *cobra.Command, args []string) error { return wantJobs(cmd, args, 1) },
		RunE: func(cmd *cobra.Command, args []string) error {
			server, err := o.open(cmd)
			if err != nil {
				return err
			}
			if response {
				return server.copyResponse(cmd.Context(), args[0], w.Out)
			}
			j, err := server.get(cmd.Context(), args[0], 0)
			if err != nil {
				return err
			}
			if o.json {
				return printJSON(w.Out, j)
			}
			return newJobPainter(w.Out).show(w.Out, j, time.Now())
		},
	}
	f := cmd.Flags()
	f.BoolVar(&response, "response", false, "print the body of the stored response, as it came")
	o.add(f)
	return cmd
}

func newJobsWait(w World) *cobra.Command {
	var (
		o       jobsFlags
		timeout time.Duration
	)
	cmd := &cobra.Command{
		Use:   "wait ID… [--timeout D] [--json]",
		Short: "Wait until jobs have ended; the exit status is 0 if all are done",
		Example: `  headgate jobs wait job_01kaqm5xv3c8w1f2t9d0r6h4ez --timeout 5m
  headgate jobs wait $(headgate jobs list --state waiting,running --quiet)`,
		Args: func(cmd *cobra.Command, args []string) error { return wantJobs(cmd, args, 0) },
		RunE: func(cmd *cobra.Command, args []string) error {
			if timeout < 0 {
				return misused(cmd, "--timeout %v: must not be negative", timeout)
			}
			server, err := o.open(cmd)
			if err != nil {
				return err
			}
			ctx, done := untilStopped(w)
			defer done()
			if timeout > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeoutCause(ctx, timeout, fmt.Errorf("the %v of --timeout are over", timeout))
				defer cancel()
			}
			return waitForJobs(ctx, w, server, args, o.json)
		},
	}
	f := cmd.Flags()
	f.DurationVar(&timeout, "timeout", 0, "wait at most `DURATION` (default without end)")
	o.add(f)
	return cmd
}

// waitForJobs prints each job as it has ended.
func waitForJobs(ctx context.Context, w World, server *jobServer, ids []string, asJSON bool) error {
	p := newJobPainter(w.Out)
	var ended []job.Job
	var bad int
	var errs []error
	for _, id := range ids {
		j, err := server.wait(ctx, id)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", id, err))
			if ctx.Err() != nil {
				break
			}
			continue
		}
		ended = append(ended, j)
		if j.State != job.Done {
			bad++
		}
		if !asJSON {
			if _, err := fmt.Fprintln(w.Out, p.line(j)); err != nil {
				return err
			}
		}
	}
	if asJSON {
		errs = append(errs, printJobsJSON(w.Out, ended))
	}
	if bad > 0 {
		errs = append(errs, fmt.Errorf("%d of %s did not end well", bad, countJobs(len(ids))))
	}
	return errors.Join(errs...)
}

// wantJobs checks IDs that are arguments: exactly so many, or at least one if n
// is 0, or any number if it is negative.
func wantJobs(cmd *cobra.Command, args []string, n int) error {
	switch {
	case len(args) == 0 && n >= 0:
		return misused(cmd, "want the ID of a job; headgate jobs list shows them")
	case n > 0 && len(args) > n:
		return misused(cmd, "unexpected argument %q", args[n])
	}
	for _, id := range args {
		if !job.IsID(id) {
			return misused(cmd, "%q is not the ID of a job; headgate jobs list shows them", id)
		}
	}
	return nil
}

func countJobs(n int) string {
	if n == 1 {
		return "1 job"
	}
	return fmt.Sprintf("%d jobs", n)
}

func printJobsJSON(out io.Writer, jobs []job.Job) error {
	if jobs == nil {
		jobs = []job.Job{}
	}
	return printJSON(out, jobs)
}

func printIDs(out io.Writer, jobs []job.Job) error {
	for _, j := range jobs {
		if _, err := fmt.Fprintln(out, j.ID); err != nil {
			return err
		}
	}
	return nil
}

func printJSON(out io.Writer, v any) error {
	e := json.NewEncoder(out)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
