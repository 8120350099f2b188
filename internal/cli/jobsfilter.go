package cli

import (
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/headgate/headgate/internal/job"
)

// jobFilter are the flags that say which jobs are meant.
type jobFilter struct {
	states                  []string
	upstream, client, match string
	callbacks               bool
	older                   time.Duration
}

func (o *jobFilter) add(f *pflag.FlagSet) {
	f.StringSliceVarP(&o.states, "state", "s", nil, "`STATE` they are in: waiting, running, done, failed, cancelled; several with commas")
	f.StringVar(&o.upstream, "upstream", "", "`NAME` of the upstream they are for")
	f.StringVar(&o.client, "client", "", "`NAME` of the client they are of; '' are those of nobody")
	f.StringVar(&o.match, "match", "", "`TEXT` that is part of their ID, path or reason")
	f.BoolVar(&o.callbacks, "callbacks", false, "callbacks, in place of calls")
}

func (o *jobFilter) addOlder(f *pflag.FlagSet) {
	f.DurationVar(&o.older, "older", 0, "`DURATION` since they ended, at least")
}

// query is what the admin plane calls the filter; empty if there is none.
func (o *jobFilter) query(cmd *cobra.Command) (url.Values, error) {
	q := make(url.Values)
	var states []string
	for _, s := range job.States {
		states = append(states, string(s))
	}
	for _, s := range o.states {
		if !slices.Contains(states, s) {
			return nil, misused(cmd, "--state %q: want some of %s%s", s, strings.Join(states, ", "), didYouMean("", s, states))
		}
	}
	if o.older < 0 {
		return nil, misused(cmd, "--older %v: must not be negative", o.older)
	}
	given := cmd.Flags().Changed
	if len(o.states) > 0 {
		q.Set("state", strings.Join(o.states, ","))
	}
	if given("upstream") {
		q.Set("upstream", o.upstream)
	}
	if given("client") {
		q.Set("client", o.client)
	}
	if given("match") {
		q.Set("q", o.match)
	}
	if o.callbacks {
		q.Set("kind", string(job.Callback))
	}
	if given("older") {
		q.Set("older", o.older.String())
	}
	return q, nil
}
