package main

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/securetaghq/securetag/cmd/securetag/internal/report"
)

func (p *program) versionCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "version", Short: "Print the version", Args: args(cobra.NoArgs)}
	asJSON := plainJSON(cmd)
	cmd.RunE = func(*cobra.Command, []string) error {
		if *asJSON {
			return report.Document(p.stdout, map[string]string{"version": p.version, "go": runtime.Version(), "os": runtime.GOOS, "arch": runtime.GOARCH})
		}
		_, err := fmt.Fprintf(p.stdout, "securetag %s %s %s/%s\n", p.version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
		return err
	}
	return cmd
}
