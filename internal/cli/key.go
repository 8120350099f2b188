package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/headgate/headgate/internal/gateway"
)

func newKey(w World) *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:   "key [--name NAME]",
		Short: "Make a client key; it is shown once, with the hash for the file",
		Long: `The hash is the key of a client in the file, or admin_key: then it is the key of
those who change something at the admin listener.`,
		Example: `  headgate key --name web`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if name == "" || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }) {
				return misused(cmd, "--name %q: want a name of printable characters", name)
			}
			key, hash := gateway.NewKey()
			fmt.Fprintln(w.Err, "The key is shown this once. The client sends it as Headgate-Key; only its hash goes into the file.")
			_, err := fmt.Fprintf(w.Out, "key:  %s\nhash: %s\n\nclients:\n  - name: %s\n    key: %q\n", key, hash, yamlText(name), hash)
			return err
		},
	}
	cmd.Flags().StringVar(&name, "name", "client", "`NAME` of the client in the file")
	return cmd
}

// yamlText writes s as YAML, in quotes unless it is a plain word.
func yamlText(s string) string {
	plain := s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '-' || r == '_')
	})
	switch strings.ToLower(s) {
	case "true", "false", "null", "yes", "no", "on", "off", "y", "n":
		plain = false
	}
	if plain && s[0] != '-' {
		return s
	}
	return fmt.Sprintf("%q", s)
}
