package conformance_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/host/executor/conformance"
)

var update = flag.Bool("update", false, "write the checks to docs/plugins/testing.md")

// TestPage: the page for authors has every check, in the words of the kit.
func TestPage(t *testing.T) {
	t.Parallel()
	const mark = "-run TestPage -update`. -->\n"
	path := filepath.Join(repository, "docs", "plugins", "testing.md")
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, tail, ok := strings.Cut(string(page), mark)
	if !ok {
		t.Fatalf("%s has no line that ends in %q", path, mark)
	}
	var b strings.Builder
	group := ""
	for _, c := range conformance.Checks() {
		if c.Group() != group {
			group = c.Group()
			fmt.Fprintf(&b, "\n### %s\n", group)
		}
		level := ""
		if c.Level == conformance.Should {
			level = " Only warns."
		}
		fmt.Fprintf(&b, "\n**`%s`**: %s.%s *Do:* %s [%s](../../%s)\n", c.ID, c.Title, level, c.Fix, strings.ReplaceAll(c.Rule, conformance.Contract, "Contract"), file(c))
	}
	if *update {
		if err := os.WriteFile(path, []byte(head+mark+b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(b.String(), tail); diff != "" {
		t.Errorf("%s is not what the kit does; write it anew with -update (-kit +page):\n%s", path, diff)
	}
}

// file is where the rule of a check is written down.
func file(c conformance.Check) string {
	name, _, _ := strings.Cut(c.Rule, ":")
	return name
}
