package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/securetaghq/securetag/api/export"
)

func (p *program) reportCommand() *cobra.Command {
	var on serverKey
	var format, output string
	cmd := &cobra.Command{
		Use: "report SCAN", Short: "Write a scan as SARIF, CSV, JSON lines, HTML or CycloneDX",
		Long: `report writes a scan that ran on a server and all its findings as one document:
SARIF 2.1.0, CSV, JSON lines or a page for people. CycloneDX has its components and
no findings. A scan that is not whole says so in each of them.`,
		Example: `  securetag report 01a20a02-7914-7be9-bd21-46768b2e29c6 --format html -o report.html
  securetag report 01a20a02-7914-7be9-bd21-46768b2e29c6 --format csv | column -s, -t`,
		Args: args(cobra.ExactArgs(1)),
	}
	on.flags(cmd)
	fl := cmd.Flags()
	fl.StringVar(&format, "format", string(export.HTML), "one of "+oneOf(reportFormats()))
	fl.StringVarP(&output, "output", "o", "", "file to write (default: standard output)")
	cmd.RunE = func(cmd *cobra.Command, a []string) error {
		if !slices.Contains(reportFormats(), export.Format(format)) {
			return usageError{fmt.Errorf("--format %q: use one of %s", format, oneOf(reportFormats()))}
		}
		c, err := p.dial(cmd.Context(), on)
		if err != nil {
			return err
		}
		return p.writeTo(output, func(w io.Writer) error { return c.Report(cmd.Context(), a[0], format, w) })
	}
	return cmd
}

// reportFormats lists the documents that a server makes: those of findings, and
// the one of what the jobs kept.
func reportFormats() []export.Format { return append(export.Formats(), export.CycloneDX) }

// writeTo writes a file that is there whole or not at all, or standard output
// for "".
func (p *program) writeTo(path string, write func(io.Writer) error) error {
	if path == "" {
		out := bufio.NewWriter(p.stdout)
		if err := write(out); err != nil {
			return err
		}
		return out.Flush()
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".securetag-report-*")
	if err != nil {
		return usageError{fmt.Errorf("write the report: %w", err)}
	}
	defer func() { _ = os.Remove(f.Name()) }() // there is none after a success
	out := bufio.NewWriter(f)
	err = write(out)
	for _, end := range []func() error{out.Flush, func() error { return f.Chmod(0o644) }, f.Close} {
		if e := end(); err == nil {
			err = e
		}
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	return err
}
