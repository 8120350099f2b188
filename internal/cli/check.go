package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/headgate/headgate/config"
)

// defaultFile is what check reads unless told otherwise.
const defaultFile = "headgate.yaml"

func newCheck(w World) *cobra.Command {
	var (
		file, jobs     string
		state          stateFlags
		offline, force bool
	)
	cmd := &cobra.Command{
		Use:   "check [-c FILE] [--state S] [--jobs S] [--offline]",
		Short: "Validate a configuration file and print what is in effect, secrets hidden",
		Long: `Check reads a file as serve does, with the same flags over it. It prints the
effective configuration, with all defaults and with secrets hidden, to stdout,
and what is worth knowing about it to stderr. If the file is wrong every fault is
printed with its place, and the exit status is 2.

A Redis that is the state is asked what it is and how it is set up. One that
cannot keep quotas is a fault too: a replica, or one that drops keys when its
memory is full. One that keeps jobs is asked how durable they are there. A Redis
that does not answer is exit status 1. With --state or --jobs and no file the
Redis alone is checked.`,
		Example: `  headgate check -c headgate.yaml
  headgate check --state redis://localhost:6379 --jobs redis://localhost:6379`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			place := config.Error{File: file, Path: "state"}
			if state.state != "" {
				place = config.Error{Path: "--state"}
			}
			var (
				c   config.Config
				err error
			)
			settings := append(state.settings(), setting{"jobs", jobs})
			bare := state.state+jobs != "" && !cmd.Flags().Changed("config") && isMissing(file)
			if bare {
				err = setOver(cmd, settings, &c)
			} else {
				c, err = loadUnder(cmd, settings, file)
			}
			if err != nil {
				return err
			}
			if !bare {
				for _, note := range c.Notes() {
					fmt.Fprintln(w.Err, "note:", note)
				}
			}
			var fault error // of the stores; what is in effect is printed all the same
			if !offline {
				fault = errors.Join(checkState(w.Err, c, place, force), checkJobs(w.Err, c))
			}
			if !bare {
				err = c.WithDefaults().Print(w.Out)
			}
			return errors.Join(err, fault)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&file, "config", "c", defaultFile, "configuration `FILE`")
	state.add(f)
	f.StringVar(&jobs, "jobs", "", "`WHERE` jobs are kept, in place of what the file says")
	f.BoolVar(&offline, "offline", false, "ask no Redis")
	f.BoolVar(&force, "force", false, "only warn of a Redis that drops keys when its memory is full")
	return cmd
}

func isMissing(file string) bool {
	_, err := os.Stat(file)
	return errors.Is(err, fs.ErrNotExist)
}
