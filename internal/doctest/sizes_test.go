package doctest_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSizes: the examples are as short as the pages say. Blank lines and
// comments do not count.
func TestSizes(t *testing.T) {
	t.Parallel()
	for path, limit := range map[string]int{
		"examples/plugins/awskeys/main.go":    30,
		"examples/plugins/flawfinder/main.go": 10,
	} {
		text, err := os.ReadFile(filepath.Join(repository, path))
		if err != nil {
			t.Fatal(err)
		}
		lines := 0
		for line := range strings.Lines(string(text)) {
			if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "//") {
				lines++
			}
		}
		if lines > limit {
			t.Errorf("%s has %d lines, and the pages promise %d", path, lines, limit)
		}
	}
}
