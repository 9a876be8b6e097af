package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"

	"github.com/securetaghq/securetag/config"
)

func (p *program) configInitCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "init [FILE]",
		Short: "Write a configuration file to begin with",
		Long: `init writes a short file in which everything is the default, with comments that
say what to change: ./securetag.hcl, where every verb looks for it, unless another
FILE is given. It never replaces one.`,
		Args: args(cobra.MaximumNArgs(1)),
		RunE: func(_ *cobra.Command, a []string) error {
			path := cmp.Or(append(a, p.configPath, config.FileName)...)
			if err := config.WriteStarter(path); err != nil {
				if errors.Is(err, fs.ErrExist) {
					return usageError{err}
				}
				return err
			}
			fmt.Fprintf(p.stdout, "Wrote %s. Edit it, then: securetag -c %[1]s config check\n", path)
			return nil
		},
	}
}
