package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/headgate/headgate/internal/job"
)

// jobAct is what can be done to jobs that are named, or that a filter means.
type jobAct struct {
	name, done string // "retry", "retried"
	short      string
	long       string
	example    string
	states     string // that it is for, as in a filter, if none is named
	byID       bool   // jobs may be named
	older      bool   // a filter may say how long ago they ended
}

var jobActs = []jobAct{
	{
		name: "retry", done: "retried", byID: true, states: string(job.Failed),
		short: "Have failed jobs run again, as if they were new",
		long: `Retry has jobs that failed or were cancelled wait again, as if they were new but
for the attempts they tell of: those that are named, or all that a filter means.
Of these it takes the failed ones, unless --state says otherwise.`,
		example: `  headgate jobs retry job_01kaqm5xv3c8w1f2t9d0r6h4ez
  headgate jobs retry --state failed --upstream openai --yes`,
	},
	{
		name: "cancel", done: "cancelled", byID: true, states: string(job.Waiting) + "," + string(job.Running),
		short: "End jobs that have not ended",
		long: `Cancel ends jobs that wait or run: those that are named, or all that a filter
means. What was already sent cannot be taken back.`,
		example: `  headgate jobs cancel job_01kaqm5xv3c8w1f2t9d0r6h4ez
  headgate jobs cancel --state waiting --client web --yes`,
	},
	{
		name: "purge", done: "purged", older: true, states: string(job.Done) + "," + string(job.Failed) + "," + string(job.Cancelled),
		short: "Delete jobs that have ended, with their responses",
		long: `Purge deletes jobs that have ended and that a filter means, with their responses
and keys of idempotency. The instance itself does so after its retention.`,
		example: `  headgate jobs purge --state done --older 1h --yes
  headgate jobs purge --state failed --upstream openai`,
	},
}

func newJobsAct(w World, act jobAct) *cobra.Command {
	var (
		o      jobsFlags
		filter jobFilter
		limit  int
		yes    bool
	)
	use, older := " (ID… | FILTER…)", ""
	if !act.byID {
		use = " FILTER…"
	}
	if act.older {
		older = "[--older D] "
	}
	cmd := &cobra.Command{
		Use:     act.name + use + " [--limit N] " + older + "[--yes] [--json]",
		Short:   act.short,
		Long:    act.long,
		Example: act.example,
		Args: func(cmd *cobra.Command, args []string) error {
			if !act.byID {
				return noArgs(cmd, args)
			}
			return wantJobs(cmd, args, -1)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			query, err := filter.query(cmd)
			if err != nil {
				return err
			}
			switch {
			case limit < 0:
				return misused(cmd, "--limit %d: must not be negative", limit)
			case len(args) > 0 && (len(query) > 0 || limit > 0):
				return misused(cmd, "jobs are named, or a filter means them: not both")
			case len(args) == 0 && len(query) == 0:
				return misused(cmd, "say which jobs: %s--state %s …", map[bool]string{true: "ID…, or "}[act.byID], act.states)
			}
			server, err := o.open(cmd)
			if err != nil {
				return err
			}
			if len(args) > 0 {
				return actOnJobs(cmd.Context(), w, server, act, args, o.json)
			}
			if !query.Has("state") {
				query.Set("state", act.states)
			}
			if !yes {
				if err := confirm(cmd, w, server, act, query, limit); err != nil {
					return err
				}
			}
			n, err := server.actByFilter(cmd.Context(), act, query, limit)
			if err != nil {
				return err
			}
			return printCount(w.Out, act, n, o.json)
		},
	}
	f := cmd.Flags()
	filter.add(f)
	if act.older {
		filter.addOlder(f)
	}
	f.IntVar(&limit, "limit", 0, "at most `N` jobs, the latest first (default all)")
	f.BoolVarP(&yes, "yes", "y", false, "do not ask before a filter is acted on")
	o.addKey(f)
	o.add(f)
	return cmd
}

// actOnJobs does something to jobs one by one, as far as it can.
func actOnJobs(ctx context.Context, w World, server *jobServer, act jobAct, ids []string, asJSON bool) error {
	var errs []error
	for _, id := range ids {
		if err := server.act(ctx, act, id); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", id, err))
			if _, ok := errors.AsType[*unreachableError](err); ok {
				break
			}
		}
	}
	n := len(ids) - len(errs)
	if n > 0 || len(errs) == 0 {
		errs = append(errs, printCount(w.Out, act, n, asJSON))
	}
	return errors.Join(errs...)
}

func printCount(out io.Writer, act jobAct, n int, asJSON bool) error {
	if asJSON {
		return printJSON(out, map[string]int{act.done: n})
	}
	_, err := fmt.Fprintf(out, "%s %s\n", countJobs(n), act.done)
	return err
}

// confirm asks at the terminal whether a filter is to be acted on.
func confirm(cmd *cobra.Command, w World, server *jobServer, act jobAct, query url.Values, limit int) error {
	if !isTerminal(w.In) || !isTerminal(w.Err) {
		return misused(cmd, "by a filter: give --yes, there is no terminal to ask at")
	}
	found, more, err := server.list(cmd.Context(), query, cmp.Or(limit, 1000))
	if err != nil {
		return err
	}
	many := countJobs(len(found))
	if more && limit == 0 {
		many = "more than " + many
	}
	return ask(w, fmt.Sprintf("%s %s at %s?", act.name, many, server))
}

var errNotConfirmed = errors.New("not confirmed: nothing was done")

// ask puts a question that only y and yes confirm.
func ask(w World, question string) error {
	fmt.Fprintf(w.Err, "%s [y/N] ", question)
	var answer string
	if _, err := fmt.Fscanln(w.In, &answer); err != nil {
		return errNotConfirmed
	}
	if answer != "y" && answer != "Y" && answer != "yes" {
		return errNotConfirmed
	}
	return nil
}
