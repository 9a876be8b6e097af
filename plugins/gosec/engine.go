package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"go/build"
	"io"
	"log"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"github.com/securego/gosec/v2"
	"github.com/securego/gosec/v2/analyzers"
	"github.com/securego/gosec/v2/issue"
	"github.com/securego/gosec/v2/rules"
)

// engineArg makes a process of this program the engine: gosec cannot be
// stopped, so it runs in a process that can.
const engineArg = "gosec-engine"

// report is what the engine prints.
type report struct {
	Issues   []found                  `json:"issues"`
	Errors   map[string][]gosec.Error `json:"errors"` // by package directory or file
	Files    int                      `json:"files"`
	Built    int                      `json:"built"`   // files that a build here has, all of which gosec should look at
	Unbuilt  int                      `json:"unbuilt"` // those for other systems, tags or cgo, which it does not
	Packages int                      `json:"packages"`
	Done     bool                     `json:"done"` // it came to the end
}

// found is one issue.
type found struct {
	Rule       string `json:"rule"`
	What       string `json:"what"`
	File       string `json:"file"`
	Line       string `json:"line"` // "12" or "12-14"
	Column     string `json:"column"`
	Severity   int    `json:"severity"` // as gosec's: 0 is low
	Confidence int    `json:"confidence"`
	Code       string `json:"code"`
}

// engine runs gosec over a tree and prints how far it is, a line each, and then
// the report.
func engine(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet(engineArg, flag.ContinueOnError)
	flags.SetOutput(stderr)
	tests := flags.Bool("tests", false, "test files too")
	workers := flags.Int("workers", 0, "packages at once")
	if err := flags.Parse(args); err != nil || flags.NArg() != 1 {
		return 2
	}
	if *workers == 0 {
		*workers = runtime.GOMAXPROCS(0)
	}
	root := flags.Arg(0)
	dirs, err := gosec.PackagePaths(filepath.Join(root, "..."), []*regexp.Regexp{leftOut(root)})
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	slices.Sort(dirs)
	far := &progress{out: stdout}
	conf := gosec.NewConfig()
	conf.SetGlobal(gosec.Nosec, "true") // the target does not decide what is found in it
	a := gosec.NewAnalyzer(conf, *tests, false, false, *workers, log.New(far, "", 0))
	a.LoadRules(rules.Generate(false).RulesInfo())
	a.LoadAnalyzers(analyzers.Generate(false).AnalyzersInfo())
	stop := far.tell()
	defer stop() // when it was not called
	if err := a.Process(nil, dirs...); err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	issues, metrics, errs := a.Report()
	out := report{Errors: errs, Files: metrics.NumFiles, Packages: len(dirs), Done: true}
	for _, dir := range dirs {
		built, unbuilt := countGo(dir, *tests)
		out.Built, out.Unbuilt = out.Built+built, out.Unbuilt+unbuilt
	}
	for _, i := range issues {
		out.Issues = append(out.Issues, newFound(i))
	}
	stop()
	if err := json.NewEncoder(stdout).Encode(out); err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	return 0
}

// leftOut fits the directories that gosec leaves out, and what is in them. Its own
// pattern fits whatever has their names in its path, such as a vendorlist.
func leftOut(root string) *regexp.Regexp {
	return regexp.MustCompile("^" + regexp.QuoteMeta(filepath.ToSlash(root)) + `/(?:.*/)?(?:vendor|\.git)(?:/|$)`)
}

// countGo counts as gosec chooses files. It leaves out a package of which the go
// command knows nothing, and files that are not built here, without a word.
func countGo(dir string, tests bool) (built, unbuilt int) {
	p, err := build.ImportDir(dir, 0)
	var none *build.NoGoError
	if err != nil && !errors.As(err, &none) {
		return 0, 0 // among gosec's errors
	}
	built = len(p.GoFiles) + len(p.CgoFiles)
	if tests {
		built += len(p.TestGoFiles) + len(p.XTestGoFiles)
	}
	for _, f := range p.IgnoredGoFiles {
		if tests || !strings.HasSuffix(f, "_test.go") {
			unbuilt++
		}
	}
	return built, unbuilt
}

func newFound(i *issue.Issue) found {
	return found{
		Rule: i.RuleID, What: i.What, File: i.File, Line: i.Line, Column: i.Col,
		Severity: int(i.Severity), Confidence: int(i.Confidence), Code: strings.TrimRight(i.Code, "\n"),
	}
}
