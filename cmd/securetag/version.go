package main

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"
)

func (p *program) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: args(cobra.NoArgs),
		Run: func(*cobra.Command, []string) {
			fmt.Fprintf(p.stdout, "securetag %s %s %s/%s\n", p.version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
		},
	}
}
