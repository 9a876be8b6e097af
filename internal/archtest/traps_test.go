package archtest_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestTrapsHaveTests: every row of the table of go-plugin's traps names tests
// that there are.
func TestTrapsHaveTests(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/plugins/contract.md")
	if err != nil {
		t.Fatal(err)
	}
	var sources strings.Builder
	for _, dir := range []string{"sdk", "host/executor", "host/executor/catalog", "internal/archtest"} {
		files, err := filepath.Glob("../../" + dir + "/*_test.go")
		if err != nil || len(files) == 0 {
			t.Fatalf("tests of %s: %v, %v", dir, files, err)
		}
		for _, f := range files {
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			sources.Write(text)
		}
	}
	_, table, _ := strings.Cut(string(page), "## Traps of go-plugin")
	rows := 0
	for line := range strings.Lines(table) {
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| trap ") {
			continue
		}
		rows++
		names := regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z]+)`").FindAllStringSubmatch(line, -1)
		if len(names) == 0 {
			t.Errorf("no test in %s", line)
		}
		for _, n := range names {
			if !strings.Contains(sources.String(), "func "+n[1]+"(") {
				t.Errorf("there is no %s: %s", n[1], line)
			}
		}
	}
	if rows < 40 {
		t.Errorf("%d rows were found", rows)
	}
}
