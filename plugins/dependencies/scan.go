package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/osv-scalibr/extractor/filesystem"
	"github.com/google/osv-scalibr/extractor/filesystem/language/python/requirements"

	"github.com/securetaghq/securetag/sdk"
)

// extractors hold no state: all scans share them.
var extractors = sync.OnceValue(newExtractors) //nolint:gochecknoglobals // as it says

// scan is one scan under way.
type scan struct {
	config     *Config
	target     *sdk.Target
	root       *os.Root
	out        *sdk.Out
	extractors []filesystem.Extractor
	now        func() time.Time

	mu        sync.Mutex
	found     []dependency
	lockfiles int  // that were found, read or not
	failed    int  // of them
	full      bool // max_packages
	skipped   int  // directories
	unlocked  unlocked
}

func newScan(c *Config, t *sdk.Target, out *sdk.Out, now func() time.Time) *scan {
	return &scan{config: c, target: t, out: out, extractors: extractors(), now: now}
}

func (s *scan) run(ctx context.Context) error {
	root, err := os.OpenRoot(s.target.Root())
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }() // only read
	s.root = root
	skip := func(path string) bool {
		if leftOut(path) {
			s.skipped++
			return true
		}
		return false
	}
	if err := s.target.EachFile(ctx, sdk.FileOptions{Skip: skip, Workers: s.config.Workers}, s.file); err != nil {
		return err
	}
	s.unlocked.tell(s.out)
	if s.lockfiles == 0 {
		if alone := s.unlocked.alone(); len(alone) > 0 {
			return sdk.NotApplicable(fmt.Sprintf("there is no lockfile that it knows, and %s names no versions: keep the lockfile beside it", alone[0]))
		}
		return sdk.NotApplicable("there is no lockfile or manifest that it knows")
	}
	if s.skipped > 0 {
		s.out.Note(sdk.Note{Summary: fmt.Sprintf("node_modules or .git, %d of them,", s.skipped) + " left out: what a lockfile has installed, and history"})
	}
	all := inOrder(s.found)
	if err := s.lookUp(ctx, all); err != nil {
		return err
	}
	err = s.out.Artifact(sbomName, sbomType, func(w io.Writer) error { return writeSBOM(w, s.target.Name(), all, s.now(), s.whole()) })
	if err != nil && ctx.Err() == nil {
		s.out.Note(sdk.Note{Level: sdk.Warning, Summary: "the SBOM was not kept: " + err.Error()})
		s.out.Partial("the SBOM was not kept")
	}
	return nil
}

// whole reports whether everything that was found could be read.
func (s *scan) whole() bool { return s.failed == 0 && !s.full }

// file gives a file to each extractor that wants it.
func (s *scan) file(ctx context.Context, f sdk.File) error {
	if err := s.unlocked.see(f); err != nil {
		return err
	}
	for _, e := range s.extractors {
		if !e.FileRequired(candidate{f}) && (e.Name() != requirements.Name || !inRequirements(f.Path)) {
			continue
		}
		l := lockfile{extractor: e, file: f, tree: &tree{open: s.target.Open, stat: s.root.Stat, max: int64(s.config.MaxFileSize)}, timeout: s.config.FileTimeout}
		packages, err := l.read(ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		s.add(f, len(packages), func(i int) dependency { return newDependency(packages[i], f.Path) }, err)
	}
	return nil
}

// inRequirements reports whether a file is one of those that large projects keep in
// a directory, such as requirements/base.txt.
func inRequirements(p string) bool {
	return path.Ext(p) == ".txt" && path.Base(path.Dir(p)) == "requirements"
}

// add takes what one extractor found in a file. What it had when it failed
// counts as well.
func (s *scan) add(f sdk.File, n int, dependencyAt func(int) dependency, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lockfiles++
	if err != nil {
		s.failed++
		s.out.Note(sdk.Note{Level: sdk.Warning, Path: f.Path, Summary: "could not be read as a lockfile: " + err.Error(), Detail: "Its packages are missing from the result."})
		s.out.Partial("some lockfiles could not be read")
		var c *crash
		if errors.As(err, &c) {
			s.out.Log().Error("the parser panicked on a lockfile", "stack", string(c.stack))
		}
	} else {
		s.out.Scanned(1, uint64(f.Size))
	}
	for i := range n {
		if len(s.found) >= s.config.MaxPackages {
			s.full = true
			s.out.Partial(fmt.Sprintf("there are more than %d packages; the rest was left out", s.config.MaxPackages))
			return
		}
		s.found = append(s.found, dependencyAt(i))
	}
}

// lookUp finds the vulnerabilities, or says that nobody looked for them.
func (s *scan) lookUp(ctx context.Context, all []dependency) error {
	if s.config.Database == "" {
		s.out.Note(sdk.Note{
			Level:   sdk.Warning,
			Summary: count(len(all), "package") + " listed, and not matched against vulnerabilities: this host has no advisory database",
			Detail:  "The operator fills a directory with \"dependencies update\" and names it in the plugin's setting database.",
		})
		return nil
	}
	db, err := openDatabase(s.config.Database)
	if err != nil {
		s.unreadable("nobody looked for vulnerabilities: the database cannot be read", err)
		return nil
	}
	defer db.close()
	text, old := db.age(s.now(), s.config.MaxAge)
	if old {
		s.tooOld(text)
	} else {
		s.out.Note(sdk.Note{Summary: count(len(all), "package") + " found; in the vulnerability database " + text})
		behind := db.behind(s.now(), s.config.MaxAge)
		for _, e := range sortedKeys(behind) {
			if slices.ContainsFunc(all, func(d dependency) bool { return d.ecosystem == e }) {
				s.tooOld(behindOn + behind[e])
			}
		}
	}
	if n := db.meta.Skipped; n > 0 {
		s.out.Note(sdk.Note{Level: sdk.Warning, Summary: fmt.Sprintf("%s could not be read when the database was made, and are missing from it", count(n, "record"))})
	}
	if err := s.matchAll(ctx, db, all); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		s.unreadable("nobody looked for the vulnerabilities of all packages: the database cannot be read to its end", err)
	}
	return nil
}

func (s *scan) tooOld(text string) {
	s.out.Note(sdk.Note{
		Level: sdk.Warning, Summary: text + ", so newer vulnerabilities are not found",
		Detail: "The operator brings it up to date with \"dependencies update\".",
	})
}

// unreadable says that the database is not what it should be. Where it is, and
// what is wrong with it, is the operator's business.
func (s *scan) unreadable(what string, err error) {
	s.out.Log().Error("the vulnerability database cannot be used", "error", err)
	s.out.Note(sdk.Note{Level: sdk.Warning, Summary: what, Detail: "The plugin's log tells the operator why."})
	s.out.Partial(what)
}

// health tells operators of a database that is old or cannot be read. Where only
// some ecosystems are, its date is that of the oldest of them.
func health(c *Config, now time.Time) sdk.Health {
	if c.Database == "" {
		return sdk.Health{}
	}
	db, err := openDatabase(c.Database)
	if err != nil {
		return sdk.Health{Degraded: "no vulnerabilities are found: " + err.Error()}
	}
	defer db.close()
	text, old := db.age(now, c.MaxAge)
	if old {
		return sdk.Health{Degraded: text, DataUpdated: db.meta.Newest}
	}
	h := sdk.Health{DataUpdated: db.meta.Newest}
	behind := db.behind(now, c.MaxAge)
	var texts []string
	for _, e := range sortedKeys(behind) {
		texts = append(texts, behind[e])
		if newest := db.meta.Ecosystems[e].Newest; newest.Before(h.DataUpdated) {
			h.DataUpdated = newest
		}
	}
	if len(texts) > 0 {
		h.Degraded = behindOn + strings.Join(texts, "; ")
	}
	return h
}
