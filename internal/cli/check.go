package cli

import (
	"fmt"

	"github.com/spf13/cobra"
)

// defaultFile is what check reads unless told otherwise.
const defaultFile = "headgate.yaml"

func newCheck(w World) *cobra.Command {
	var (
		file  string
		state stateFlags
	)
	cmd := &cobra.Command{
		Use:   "check [-c FILE] [--state S]",
		Short: "Validate a configuration file and print what is in effect, secrets hidden",
		Long: `Check reads a file as serve does, with the same flags over it. It prints the
effective configuration, with all defaults and with secrets hidden, to stdout,
and what is worth knowing about it to stderr. If the file is wrong every fault is
printed with its place, and the exit status is 2.`,
		Example: "  headgate check -c headgate.yaml",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := loadUnder(cmd, state.settings(), file)
			if err != nil {
				return err
			}
			for _, note := range c.Notes() {
				fmt.Fprintln(w.Err, "note:", note)
			}
			return c.WithDefaults().Print(w.Out)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&file, "config", "c", defaultFile, "configuration `FILE`")
	state.add(f)
	return cmd
}
