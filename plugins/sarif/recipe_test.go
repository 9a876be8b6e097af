package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2/hclparse"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	ctyjson "github.com/zclconf/go-cty/cty/json"
)

const examples = "../../examples/plugins/"

// recipe is the plugin block of an example's configuration.
type recipe struct {
	id       identity
	settings map[string]any
}

// readRecipe reads it as the host does, with the places of this machine put in:
// pairs of what is written there and what is here.
func readRecipe(t *testing.T, name string, places ...string) recipe {
	t.Helper()
	file, diags := hclparse.NewParser().ParseHCLFile(filepath.Join(examples, name, "securetag.hcl"))
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	put := strings.NewReplacer(places...)
	out := recipe{settings: map[string]any{}}
	for _, b := range file.Body.(*hclsyntax.Body).Blocks {
		if b.Type != "plugin" {
			continue
		}
		var args []string
		values(t, b.Body, "args", put, &args)
		id, rest, err := parseArgs(args)
		if err != nil || len(rest) > 0 || id.name != b.Labels[0] {
			t.Fatalf("arguments %q of %q: %v", args, b.Labels[0], err)
		}
		out.id = id
		for _, inner := range b.Body.Blocks {
			if inner.Type == "config" {
				for k := range inner.Body.Attributes {
					var v any
					values(t, inner.Body, k, put, &v)
					out.settings[k] = v
				}
			}
		}
	}
	return out
}

// values puts the attribute called name into to.
func values(t *testing.T, b *hclsyntax.Body, name string, put *strings.Replacer, to any) {
	t.Helper()
	v, diags := b.Attributes[name].Expr.Value(nil)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	text, err := ctyjson.Marshal(v, cty.DynamicPseudoType)
	if err != nil {
		t.Fatal(err)
	}
	var wrapped struct{ Value json.RawMessage }
	if err := json.Unmarshal(text, &wrapped); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(put.Replace(string(wrapped.Value))), to); err != nil {
		t.Fatal(err)
	}
}

func (r recipe) config(t *testing.T) string {
	t.Helper()
	b, err := json.Marshal(r.settings)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// installed is where scripts/kit-deps.sh has put what a lock file names.
func installed(t *testing.T, kind, lock string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "../../scripts/kit-deps.sh", kind, lock)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("install %s: %v", lock, err)
	}
	return strings.TrimSpace(string(out))
}

func abs(t *testing.T, path string) string {
	t.Helper()
	full, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return full
}

// Every recipe's settings are ones that the plugin takes, also of tools that are
// not here.
func TestRecipes(t *testing.T) {
	t.Parallel()
	rules := abs(t, examples+"semgrep/rules.sarif")
	for _, name := range []string{"ast-grep", "bandit", "checkov", "flawfinder", "opengrep", "semgrep", "trivy"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := readRecipe(t, name, "/etc/securetag/semgrep/rules.sarif", rules)
			r.settings["command"] = "/nowhere/" + name // so that it is not run
			if got := scan(t, r, t.TempDir()); got.Status != "failed" || !strings.Contains(got.Reason, "cannot be run") {
				t.Errorf("%s: %s", got.Status, got.Reason)
			}
		})
	}
}
