// Command sarif is the scanner plugin that runs another scanner: any command
// that writes SARIF 2.1.0, as the operator declares it. README.md says how, and
// which reports count.
package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/securetaghq/securetag/sdk"
)

const version = "0.1.0"

// defaultPath is where a tool is looked for when the operator gives no PATH: a
// host passes none on.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// maxRules is how large a report that describes rules may be.
const maxRules = 32 << 20

// identity is what the plugin is before it has settings: it comes from the
// arguments alone, because a host remembers it by them.
type identity struct {
	name    string
	rules   []sdk.Rule
	imports bool // it runs no tool, but reads a report that is there
}

func main() {
	id, rest, err := parseArgs(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "sarif:", err)
		os.Exit(2)
	}
	if os.Getenv("PATH") == "" {
		_ = os.Setenv("PATH", defaultPath) // fails for odd names only
	}
	os.Args = append(os.Args[:1], rest...)
	if id.imports {
		sdk.Main(newImporter(id.name))
	}
	sdk.Main(newScanner(id))
}

// parseArgs takes --import, --name and --rules from the front of args and leaves
// the verbs that every plugin has, some of which begin with dashes as well.
func parseArgs(args []string) (id identity, rest []string, err error) {
	id.name = "sarif"
	if len(args) > 0 && args[0] == "--import" {
		id.imports, id.name, args = true, "import", args[1:]
	}
	for len(args) > 0 {
		flag, value, given := strings.Cut(strings.TrimLeft(args[0], "-"), "=")
		if args[0][:min(1, len(args[0]))] != "-" || flag != "name" && flag != "rules" {
			break
		}
		args = args[1:]
		if !given {
			if len(args) == 0 {
				return id, nil, fmt.Errorf("--%s needs a value", flag)
			}
			value, args = args[0], args[1:]
		}
		if flag == "name" {
			id.name = value
		} else if id.rules, err = readRules(value); err != nil {
			return id, nil, fmt.Errorf("--rules: %w", err)
		}
	}
	return id, args, nil
}

// readRules reads the rules that a report of the tool describes, so that they
// are declared with their titles, severities, CWE and links.
func readRules(path string) ([]sdk.Rule, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxRules+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxRules {
		return nil, fmt.Errorf("%s is larger than %d MiB", path, maxRules>>20)
	}
	rules, err := sdk.SARIFRules(text)
	if err == nil && len(rules) == 0 {
		err = fmt.Errorf("%s describes no rule", path)
	}
	return rules, err
}

func newScanner(id identity) sdk.Scanner[Config] {
	p := &plugin{id: id}
	return sdk.Scanner[Config]{
		Name:        id.name,
		Version:     version,
		Description: "Runs a command that writes SARIF, and reports what it says.",
		Vendor:      "SecureTag",
		License:     "Apache-2.0",
		Consumes:    []sdk.Input{sdk.Tree},
		Needs:       sdk.Needs{SpawnsProcesses: true},
		Rules:       p.declared(),
		// The tool decides how much one scan takes; so one at a time.
		MaxConcurrentScans: 1,
		Scan:               p.scan,
		Health:             p.health,
	}
}

// declared are the rules of the tool that are known, and the one for the rest.
func (p *plugin) declared() []sdk.Rule {
	rules := []sdk.Rule{{
		ID: p.id.name, Title: "Reported by " + p.id.name, Severity: sdk.Medium,
		Description: "What the tool reports by a rule that is not declared; the properties of a finding name it.",
	}}
	for _, r := range p.id.rules {
		if r.ID != p.id.name {
			rules = append(rules, r)
		}
	}
	return rules
}
