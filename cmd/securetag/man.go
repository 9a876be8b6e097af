package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

func (p *program) manCommand() *cobra.Command {
	return &cobra.Command{
		Use: "man DIR", Short: "Write a manual page for each command",
		Long: `man writes a manual page for each command to a directory, which it makes: those of
this help, for packages and for man. The pages' date is now, or that of
SOURCE_DATE_EPOCH.`,
		Example: `  securetag man /usr/local/share/man/man1
  man securetag-scan`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, a []string) error {
			if err := os.MkdirAll(a[0], 0o755); err != nil { //nolint:gosec // everybody reads manual pages
				return usageError{fmt.Errorf("write the manual: %w", err)}
			}
			root := cmd.Root()
			root.DisableAutoGenTag = true
			forManual(root)
			header := &doc.GenManHeader{Source: "securetag " + p.version, Manual: "SecureTag"}
			if err := doc.GenManTree(root, header, a[0]); err != nil {
				return usageError{fmt.Errorf("write the manual: %w", err)}
			}
			return nil
		},
	}
}

// forManual makes Markdown, which the pages are made of, of the texts of a
// command and those below it: they are written for a terminal. The process ends
// before anybody reads them there.
func forManual(cmd *cobra.Command) {
	cmd.Long = manualText(cmd.Long)
	cmd.Short = escape(cmd.Short)
	for _, c := range cmd.Commands() {
		forManual(c)
	}
}

// escape keeps what means something in Markdown as it is.
func escape(text string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "_", `\_`, "`", "\\`", "<", `\<`, "[", `\[`).Replace(text)
}

// manualText keeps the lines of tables and examples, which are indented, and
// lets those of sentences flow.
func manualText(text string) string {
	var out strings.Builder
	table := false
	for line := range strings.Lines(text) {
		indented := strings.HasPrefix(line, "  ")
		if indented != table {
			out.WriteString("\n") // it begins or ends
			table = indented
		}
		if indented {
			out.WriteString("    " + strings.TrimPrefix(line, "  "))
		} else {
			out.WriteString(escape(line))
		}
	}
	return out.String()
}
