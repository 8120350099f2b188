package cli

import (
	"cmp"
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// Set by the linker in a release; a build from source knows them from the
// module and the checkout it was built from.
var version, commit string

// build says what was built.
type build struct {
	Version string `json:"version"`
	Commit  string `json:"commit"` // "unknown" if the build does not know
	Go      string `json:"go"`
}

// thisBuild returns what this program was built from.
func thisBuild() build {
	b := build{Version: version, Commit: commit, Go: runtime.Version()}
	if info, ok := debug.ReadBuildInfo(); ok {
		b.Version = cmp.Or(b.Version, info.Main.Version)
		if b.Commit == "" {
			b.Commit = checkout(info.Settings)
		}
	}
	b.Version = cmp.Or(b.Version, "(devel)")
	b.Commit = cmp.Or(b.Commit, "unknown")
	return b
}

// checkout is the revision that was built, marked if files had changed.
func checkout(settings []debug.BuildSetting) string {
	revision, modified := "", ""
	for _, s := range settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			modified = "+modified"
		}
	}
	if revision == "" {
		return ""
	}
	return revision + modified
}

func newVersion(w World) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "version [--json]",
		Short:   "Print version, commit and Go version",
		Example: "  headgate version --json",
		RunE: func(*cobra.Command, []string) error {
			b := thisBuild()
			if asJSON {
				return json.NewEncoder(w.Out).Encode(b)
			}
			_, err := fmt.Fprintf(w.Out, "headgate %s\ncommit %s\n%s\n", b.Version, b.Commit, b.Go)
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
