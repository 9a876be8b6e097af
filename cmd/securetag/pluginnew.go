package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/securetaghq/securetag/cmd/securetag/internal/scaffold"
)

func (p *program) pluginNewCommand() *cobra.Command {
	var project scaffold.Project
	cmd := &cobra.Command{
		Use:   "new NAME --lang go|python|node",
		Short: "Write the project of a new plugin",
		Long: `new writes a scanner that builds and passes its tests at once, with a sample to
scan and the block for securetag.hcl. It overwrites nothing. --sdk takes the kit
from a checkout of SecureTag instead of where it is published.`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(_ *cobra.Command, a []string) error {
			project.Name = a[0]
			if project.Dir == "" {
				project.Dir = a[0]
			}
			written, err := project.Write()
			if err != nil {
				return usageError{fmt.Errorf("plugin new: %w", err)}
			}
			for _, path := range written {
				fmt.Fprintln(p.stdout, project.Dir+"/"+path)
			}
			fmt.Fprintf(p.stderr, "Read %s/README.md: it says how to build, test and run it.\n", project.Dir)
			return nil
		},
	}
	cmd.Flags().StringVar(&project.Language, "lang", "go", "what to write it in: "+strings.Join(scaffold.Languages(), ", "))
	cmd.Flags().StringVar(&project.Dir, "dir", "", "where to write it; by default a directory NAME")
	cmd.Flags().StringVar(&project.SDK, "sdk", "", "a checkout of SecureTag to take the kit from")
	return cmd
}
