package main

import (
	"fmt"
	"iter"
	"strings"

	"github.com/spf13/cobra"

	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/cmd/securetag/internal/report"
)

// printItems prints a list as the API has it, each of its rows as of does.
func printItems[R, T any](p *program, rows []R, of func(R) T) error {
	items := make([]T, 0, len(rows))
	for _, row := range rows {
		items = append(items, of(row))
	}
	return report.Document(p.stdout, client.Page[T]{Items: items})
}

// limitFlag is how many of a list that has no end a verb shows.
func limitFlag(cmd *cobra.Command) *int { return cmd.Flags().Int("limit", 50, "how many") }

func checkLimit(limit int) error {
	if limit < 1 {
		return usageError{fmt.Errorf("--limit %d: use 1 or more", limit)}
	}
	return nil
}

// upTo reads at most limit of a list, and says whether there are more.
func upTo[T any](all iter.Seq2[T, error], limit int) (items []T, more bool, err error) {
	items = []T{}
	for one, err := range all {
		switch {
		case err != nil:
			return nil, false, err
		case len(items) == limit:
			return items, true, nil
		}
		items = append(items, one)
	}
	return items, false, nil
}

// names are the words of a set, such as states.
func names[T ~string](set []T) []string {
	out := make([]string, 0, len(set))
	for _, one := range set {
		out = append(out, string(one))
	}
	return out
}

// oneOf says a set in a sentence.
func oneOf[T ~string](set []T) string { return strings.Join(names(set), ", ") }
