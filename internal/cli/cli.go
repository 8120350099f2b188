// Package cli is the command line: commands, flags, what is printed and the
// exit status. Data goes to stdout, words for people to stderr.
//
// A command turns flags into what a lower room needs and calls it; nothing
// below this package reads flags or the environment, and only this package
// decides how the process ends. Each command has a file of its name.
package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/headgate/headgate/config"
)

// Exit statuses.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2 // wrong usage or configuration
	exitPartly = 3 // a batch was finished, and some of its calls failed for good
)

// World is what a command may touch of its surroundings.
type World struct {
	In       io.Reader
	Out, Err io.Writer

	// Signals has the given signals sent to the channel, instead of what they
	// do by themselves, until stop is called.
	Signals func(...os.Signal) (signals <-chan os.Signal, stop func())
}

// Process is the world of this process.
func Process() World {
	return World{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Signals: processSignals}
}

func processSignals(which ...os.Signal) (<-chan os.Signal, func()) {
	c := make(chan os.Signal, 4) // more than people send before the first is seen to
	signal.Notify(c, which...)
	return c, func() { signal.Stop(c) }
}

// stopSignals end a command that runs until it is told to stop.
var stopSignals = []os.Signal{os.Interrupt, syscall.SIGTERM}

// Main runs the command that args name, without the name of the program, and
// returns the exit status. What went wrong has then been written to w.Err.
func Main(args []string, w World) int {
	root := newRoot(w)
	root.SetArgs(args)
	cmd, err := root.ExecuteC()
	if err == nil {
		return exitDone
	}
	usage, isUsage := errors.AsType[*usageError](err)
	if cmd == root && !isUsage { // the only other thing that can go wrong there
		usage, isUsage = &usageError{cmd, unknownCommand(root, args)}, true
	}
	if isUsage {
		fmt.Fprintf(w.Err, "headgate: %v\nsee %s --help\n", usage.err, usage.cmd.CommandPath())
		return exitUsage
	}
	if _, ok := errors.AsType[*config.Error](err); ok {
		fmt.Fprintln(w.Err, err) // each line begins with its place, as editors want it
		return exitUsage
	}
	if errors.Is(err, errSomeFailed) {
		return exitPartly
	}
	fmt.Fprintf(w.Err, "headgate: %v\n", err)
	return exitFailed
}

func newRoot(w World) *cobra.Command {
	root := &cobra.Command{
		Use:   "headgate",
		Short: "Call rate-limited APIs at their full quota, without 429s and without losing a call",
		Example: `  headgate demo
  headgate serve --upstream https://api.example.com --limit 50/1m`,
		Version:           thisBuild().Version,
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetIn(w.In)
	root.SetOut(w.Out)
	root.SetErr(w.Err)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &usageError{cmd, flagFault(cmd, err)}
	})
	root.AddCommand(
		newServe(w), newBatch(w), newMock(w), newDemo(w), newCheck(w), newSchema(w), newExplain(w), newKey(w), newJobs(w), newSources(w), newTop(w), newVersion(w))
	prepare(root.Commands())
	root.SetHelpCommand(newHelp(root))
	return root
}

// prepare gives commands, and those below them, what all have in common.
func prepare(commands []*cobra.Command) {
	for _, cmd := range commands {
		if cmd.Args == nil {
			cmd.Args = noArgs
		}
		cmd.DisableFlagsInUseLine = true
		cmd.Flags().SortFlags = false
		prepare(cmd.Commands())
	}
}

// newHelp is cobra's help command, but strict about what it is asked for.
func newHelp(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:                   "help [COMMAND]",
		Short:                 "Help about a command",
		Example:               "  headgate help serve",
		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			about, rest, err := root.Find(args)
			if err != nil || len(rest) > 0 {
				return &usageError{about, unknownCommand(about, rest)}
			}
			about.InitDefaultHelpFlag()
			return about.Help()
		},
	}
}

// A usageError is wrong usage of cmd.
type usageError struct {
	cmd *cobra.Command
	err error
}

func (e *usageError) Error() string { return e.err.Error() }

func (e *usageError) Unwrap() error { return e.err }

// misused reports wrong usage of cmd.
func misused(cmd *cobra.Command, format string, args ...any) error {
	return &usageError{cmd, fmt.Errorf(format, args...)}
}

func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return misused(cmd, "unexpected argument %q", args[0])
	}
	return nil
}

func unknownCommand(root *cobra.Command, args []string) error {
	name := ""
	for _, arg := range args {
		if !strings.HasPrefix(arg, "-") {
			name = arg
			break
		}
	}
	var names []string
	for _, cmd := range root.Commands() {
		if cmd.IsAvailableCommand() {
			names = append(names, cmd.Name())
		}
	}
	return fmt.Errorf("unknown command %q%s", name, didYouMean("", name, names))
}

// flagFault says in our words what is wrong with a flag.
func flagFault(cmd *cobra.Command, err error) error {
	if unknown, ok := errors.AsType[*pflag.NotExistError](err); ok && unknown.GetSpecifiedShortnames() == "" {
		name := unknown.GetSpecifiedName()
		names := []string{"help"}
		cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
		return fmt.Errorf("unknown flag --%s%s", name, didYouMean("--", name, names))
	}
	if invalid, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		if invalid.GetFlag().Value.Type() == "duration" {
			return flagValueFault(invalid.GetFlag().Name, invalid.GetValue(), errors.New(`want a duration such as "500ms", "30s" or "2m"`))
		}
		return flagValueFault(invalid.GetFlag().Name, invalid.GetValue(), errors.Unwrap(err))
	}
	return err
}

func flagValueFault(name, value string, err error) error {
	return fmt.Errorf("--%s %q: %w", name, value, err)
}
