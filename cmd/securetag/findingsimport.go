package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/cmd/securetag/internal/report"
	"github.com/securetaghq/securetag/internal/safetext"
)

func (p *program) findingsImportCommand() *cobra.Command {
	var on serverKey
	var project string
	cmd := &cobra.Command{Use: "import FILE --project NAME", Short: "Take in the SARIF report of a scanner that ran elsewhere", Args: args(cobra.ExactArgs(1)),
		Long: `import gives a project what a scanner found that ran elsewhere: a SARIF 2.1.0 log. The
server reads it as a scan; securetag scans watch follows that. What an earlier report
of the same tools had, and this one has not, is absent. The project must be there.`,
		Example: `  securetag findings import --project shop semgrep.sarif`}
	on.flags(cmd)
	cmd.Flags().StringVar(&project, "project", "", "whose findings they are")
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, a []string) error {
		if project == "" {
			return usageError{errors.New("--project: say whose findings they are")}
		}
		log, err := readReport(a[0])
		if err != nil {
			return usageError{err}
		}
		c, err := p.dial(cmd.Context(), on)
		if err != nil {
			return err
		}
		s, err := c.ImportSARIF(cmd.Context(), project, log, "")
		if err != nil {
			return err
		}
		if *asJSON {
			return report.Document(p.stdout, s)
		}
		fmt.Fprintf(p.stdout, "Scan %s reads the report.\n", safetext.Plain(s.ID))
		return nil
	}
	return cmd
}

func readReport(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the report: %w", err)
	}
	defer f.Close()
	log, err := io.ReadAll(io.LimitReader(f, client.MaxSARIF+1))
	if err != nil {
		return nil, fmt.Errorf("read the report: %w", err)
	}
	if len(log) > client.MaxSARIF {
		return nil, fmt.Errorf("read the report: %s is larger than %d MiB, and no server takes it", path, client.MaxSARIF>>20)
	}
	return log, nil
}
