package cli

import (
	"github.com/spf13/cobra"

	"github.com/headgate/headgate/config"
)

func newSchema(w World) *cobra.Command {
	return &cobra.Command{
		Use:     "schema",
		Short:   "Print the JSON Schema of the configuration file, for editors",
		Example: "  headgate schema > headgate.schema.json",
		RunE: func(*cobra.Command, []string) error {
			schema, err := config.Schema()
			if err != nil {
				return err
			}
			if n := len(schema); n == 0 || schema[n-1] != '\n' {
				schema = append(schema, '\n')
			}
			_, err = w.Out.Write(schema)
			return err
		},
	}
}
