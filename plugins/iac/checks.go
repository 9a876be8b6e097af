package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	checks "github.com/aquasecurity/trivy-checks"
	"go.yaml.in/yaml/v3"

	"github.com/securetaghq/securetag/sdk"
)

const (
	checksModule = "github.com/aquasecurity/trivy-checks"
	opaModule    = "github.com/open-policy-agent/opa"
)

// language is what a check reads.
type language string

// The names are those of the checks' selectors.
const (
	dockerfile language = "dockerfile"
	kubernetes language = "kubernetes"
)

// directories of the checks and of the libraries they import.
var directories = map[language]string{dockerfile: "docker", kubernetes: "kubernetes"} //nolint:gochecknoglobals // a table

// check is what the head of a check's file says of it.
type check struct {
	id          string // "DS-0002"
	aliases     []string
	title       string
	description string
	advice      string
	severity    sdk.Severity
	language    language
	kinds       []string // of Kubernetes objects it is for, in lower case; nil: all
	file        string
	rule        string // "data.builtin.dockerfile.DS002.deny"
}

// is reports whether the check has this id or alias.
func (k *check) is(name string) bool {
	return strings.EqualFold(k.id, name) || slices.ContainsFunc(k.aliases, func(a string) bool { return strings.EqualFold(a, name) })
}

// fits reports whether the check is for objects of this kind.
func (k *check) fits(kind string) bool {
	return len(k.kinds) == 0 || slices.Contains(k.kinds, strings.ToLower(kind))
}

// allChecks reads the heads of all checks, by id. Compiling them is another
// matter: a process that only describes itself, or finds nothing to look at,
// never does.
var allChecks = sync.OnceValue(func() []*check { //nolint:gochecknoglobals // what is compiled in, read once
	var all []*check
	for _, l := range []language{dockerfile, kubernetes} {
		entries, err := checks.EmbeddedPolicyFileSystem.ReadDir("checks/" + directories[l])
		if err != nil {
			panic(err) // it is compiled in
		}
		for _, e := range entries {
			if k := readCheck(l, path.Join("checks", directories[l], e.Name())); k != nil {
				all = append(all, k)
			}
		}
	}
	slices.SortFunc(all, func(a, b *check) int { return strings.Compare(a.id, b.id) })
	return all
})

// head is the annotation of a check's package, less what is not used.
type head struct {
	Title       string
	Description string
	Custom      struct {
		ID                 string
		LongID             string `yaml:"long_id"`
		Aliases            []string
		Severity           string
		RecommendedAction  string `yaml:"recommended_action"`
		RecommendedActions string `yaml:"recommended_actions"`
		Deprecated         bool
		Frameworks         map[string]any
		Input              struct {
			Selector []struct {
				Type     string
				Subtypes []struct{ Kind string }
			}
		}
	}
}

var packageLine = regexp.MustCompile(`(?m)^package +(\S+)`)

// readCheck reads the head of one file; nil when it is none that a source tree
// is checked with: a test, a library, one that is for another language, that was
// given up, that is part of a named benchmark only, or that is for what a running
// node reports of itself.
func readCheck(l language, file string) *check {
	if !isRego(file) {
		return nil
	}
	text, err := fs.ReadFile(checks.EmbeddedPolicyFileSystem, file)
	if err != nil {
		panic(err) // it is compiled in
	}
	h, err := readHead(text)
	if err != nil {
		panic(fmt.Sprintf("%s: %v", file, err))
	}
	c := &h.Custom
	pkg := packageLine.FindSubmatch(text)
	if c.ID == "" || c.Deprecated || c.Frameworks != nil || pkg == nil || len(c.Input.Selector) == 0 {
		return nil
	}
	k := &check{
		id: c.ID, aliases: c.Aliases, title: h.Title, description: h.Description, advice: c.RecommendedAction + c.RecommendedActions,
		severity: severities[strings.ToLower(c.Severity)], language: l, file: file, rule: "data." + string(pkg[1]) + ".deny",
	}
	if c.LongID != "" {
		k.aliases = append(k.aliases, c.LongID)
	}
	for _, s := range c.Input.Selector {
		if s.Type != string(l) {
			return nil
		}
		for _, t := range s.Subtypes {
			k.kinds = append(k.kinds, strings.ToLower(t.Kind))
		}
	}
	if len(k.kinds) == 1 && k.kinds[0] == "nodeinfo" {
		return nil
	}
	return k
}

func isRego(file string) bool {
	return strings.HasSuffix(file, ".rego") && !strings.HasSuffix(file, "_test.rego")
}

// readHead takes the comment that begins with "# METADATA" for the YAML it is.
func readHead(text []byte) (h head, err error) {
	var doc []byte
	inside := false
	for line := range bytes.Lines(text) {
		rest, isComment := bytes.CutPrefix(line, []byte("#"))
		switch {
		case !isComment && inside:
			return h, yaml.Unmarshal(doc, &h)
		case inside:
			doc = append(doc, bytes.TrimPrefix(rest, []byte(" "))...)
		case isComment && string(bytes.TrimSpace(rest)) == "METADATA":
			inside = true
		}
	}
	return h, nil
}

// rules declares the checks.
func rules() []sdk.Rule {
	var out []sdk.Rule
	for _, k := range allChecks() {
		out = append(out, sdk.Rule{
			ID: k.id, Title: k.title, Description: k.description, Recommendation: k.advice, Severity: k.severity,
			HelpURL: "https://avd.aquasec.com/misconfig/" + strings.ToLower(k.id), Tags: append([]string{string(k.language)}, k.aliases...),
		})
	}
	return out
}

// moduleVersion is that of a module in this program, as go.mod says.
func moduleVersion(module string) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "v0"
	}
	for _, m := range info.Deps {
		if m.Path == module {
			return m.Version
		}
	}
	return "v0" // a test
}

var commitDate = regexp.MustCompile(`[-.](\d{14})-[0-9a-f]{12}$`)

// health tells how old the checks are: the date in the version of their module.
func health() sdk.Health {
	if m := commitDate.FindStringSubmatch(moduleVersion(checksModule)); m != nil {
		if t, err := time.Parse("20060102150405", m[1]); err == nil {
			return sdk.Health{DataUpdated: t}
		}
	}
	return sdk.Health{}
}
