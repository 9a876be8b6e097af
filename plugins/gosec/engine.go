package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"github.com/securego/gosec/v2"
	"github.com/securego/gosec/v2/issue"
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
	Failed   []string                 `json:"failed"` // what gosec says of rules that did not come to their end
	Done     bool                     `json:"done"`   // it came to the end
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
	stop := far.tell()
	defer stop() // when it was not called
	out := newAudit(*workers, *tests, far).all(dirs)
	stop()
	out.Failed = far.failures()
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

func newFound(i *issue.Issue) found {
	return found{
		Rule: i.RuleID, What: i.What, File: i.File, Line: i.Line, Column: i.Col,
		Severity: int(i.Severity), Confidence: int(i.Confidence), Code: strings.TrimRight(i.Code, "\n"),
	}
}
