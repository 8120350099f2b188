package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/headgate/headgate/config"
	"github.com/headgate/headgate/internal/daemon"
)

func newServe(w World) *cobra.Command {
	var (
		file     string
		grace    time.Duration
		process  processFlags
		upstream upstreamFlags
	)
	cmd := &cobra.Command{
		Use:   "serve -c FILE | --upstream URL [--limit L]… [--listen A] [--admin A] [--state S]",
		Short: "Run the gateway",
		Long: `Serve runs what a file names, or one upstream given by flags, which is then
called "default" and mounted at "/". It logs to stderr.

With a Redis as --state all instances that name it share their quotas, as if
they were one. Flags of the process (--state to --log-format) win over the file.

Limits that a file leaves out are learned, and with --state memory kept over
restarts in $XDG_STATE_HOME/headgate (~/.local/state/headgate).

SIGHUP, or a change of the file, reloads it: a bad file is refused and the old
one stays in force. SIGTERM or Ctrl-C stops it: no new calls, up to --grace for
those in flight; a second one ends it at once.`,
		Example: `  headgate serve --upstream https://api.example.com --limit 50/1m --limit concurrent:8
  headgate serve -c headgate.yaml
  headgate serve -c headgate.yaml --state redis://localhost:6379/0`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o := daemon.Options{
				Grace:   grace,
				Log:     w.Err,
				Getenv:  os.Getenv,
				Version: thisBuild().Version,
				Commit:  thisBuild().Commit,
			}
			clash := upstream.given(cmd.Flags())
			switch {
			case grace < 0:
				return misused(cmd, "--grace %v: must not be negative", grace)
			case file != "" && clash != "":
				return misused(cmd, "--config and --%s exclude each other: the file says it all", clash)
			case file != "":
				o.File, o.Memory = file, memoryOf(file)
				o.Load = func() (config.Config, error) { return loadUnder(cmd, process.settings(), file) }
			case upstream.url != "":
				c, err := upstream.config(cmd, process)
				if err != nil {
					return err
				}
				o.RootMount = true
				o.Load = func() (config.Config, error) { return c, nil }
			default:
				return misused(cmd, "nothing to serve: give --config FILE or --upstream URL")
			}
			signals, stop := w.Signals(append(stopSignals, syscall.SIGHUP)...)
			defer stop()
			o.Signals = signals
			return daemon.Run(context.Background(), o)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&file, "config", "c", "", "configuration `FILE`")
	upstream.add(f)
	process.add(f)
	f.DurationVar(&grace, "grace", 30*time.Second, "`DURATION` that calls in flight may take to end when stopped")
	return cmd
}

// memoryOf returns where what is learned under a configuration file is kept, in
// the user's state directory (XDG Base Directory Specification 0.8): a file of
// its own for each, so that none learns from another. "": there is no place.
func memoryOf(file string) string {
	dir := os.Getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(dir) {
		home, err := os.UserHomeDir()
		if err != nil {
			return ""
		}
		dir = filepath.Join(home, ".local", "state")
	}
	path, err := filepath.Abs(file)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256([]byte(path))
	return filepath.Join(dir, "headgate", "learned-"+hex.EncodeToString(sum[:6])+".json")
}
