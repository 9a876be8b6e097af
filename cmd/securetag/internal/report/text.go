package report

import (
	"strings"

	"github.com/rivo/uniseg"
)

// width is how many cells s takes on a terminal.
func width(s string) int { return uniseg.StringWidth(s) }

// cut shortens s to at most cells, with an ellipsis where something is missing.
func cut(s string, cells int) string {
	if width(s) <= cells {
		return s
	}
	if cells <= 0 {
		return ""
	}
	var b strings.Builder
	used, state := 0, -1
	for s != "" {
		var cluster string
		var w int
		cluster, s, w, state = uniseg.FirstGraphemeClusterInString(s, state)
		if used+w > cells-1 {
			break
		}
		b.WriteString(cluster)
		used += w
	}
	return strings.TrimRight(b.String(), " ") + "…"
}

// pad fills s with spaces to cells.
func pad(s string, cells int) string {
	return s + strings.Repeat(" ", max(0, cells-width(s)))
}
