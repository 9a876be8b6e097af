package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/securetaghq/securetag/sdk"
)

// plugin has the engines, which are compiled when the first scan needs them.
type plugin struct {
	engines map[language]func() (*engine, error)
	now     func() time.Time
}

func newPlugin() *plugin {
	p := &plugin{engines: map[language]func() (*engine, error){}, now: time.Now}
	for _, l := range []language{dockerfile, kubernetes} {
		p.engines[l] = sync.OnceValues(func() (*engine, error) {
			// Not the scan's context: the next scan has the same engine.
			e, err := newEngine(context.Background(), l)
			if err != nil {
				return nil, fmt.Errorf("compile the checks for %s: %w", l, err)
			}
			return e, nil
		})
	}
	return p
}

// scan is one scan under way.
type scan struct {
	*plugin
	config *Config
	wanted map[*check]bool
	out    *sdk.Out
	charts map[string]bool // directories with a Chart.yaml

	mu        sync.Mutex
	found     int   // Dockerfiles and manifests, read or not
	templates int   // of charts
	broken    error // the engine
}

func (p *plugin) scan(ctx context.Context, c *Config, t *sdk.Target, out *sdk.Out) error {
	s := &scan{plugin: p, config: c, wanted: map[*check]bool{}, out: out, charts: map[string]bool{}}
	for _, k := range allChecks() {
		s.wanted[k] = c.wants(k)
	}
	skip := func(name string) bool {
		if path.Base(name) == "Chart.yaml" {
			s.charts[path.Dir(name)] = true
		}
		return path.Base(name) == ".git"
	}
	if err := t.EachFile(ctx, sdk.FileOptions{Skip: skip, Workers: c.Workers}, s.file); err != nil {
		return err
	}
	switch {
	case s.broken != nil:
		return s.broken
	case s.found == 0 && s.templates == 0:
		return sdk.NotApplicable("no Dockerfiles and no Kubernetes manifests")
	case s.templates > 0:
		out.Partial(fmt.Sprintf("%d templates of Helm charts were not looked at: charts are not rendered", s.templates))
	}
	return nil
}

// file looks at one file, if its name is that of one to look at.
func (s *scan) file(ctx context.Context, f sdk.File) error {
	docker := isDockerfile(f.Path)
	if !docker && !isManifest(f.Path) {
		return nil
	}
	text, whole, err := s.read(f)
	switch {
	case err != nil:
		return err
	case !whole:
		if !docker && !s.isTemplate(f.Path, text) {
			if is, err := isLargeManifest(ctx, f); err != nil || !is {
				return err
			}
		}
		s.unread(f.Path, fmt.Errorf("it is larger than %s", s.config.MaxFileSize))
		return nil
	case !docker && !mayBeManifest(text) && !s.isTemplate(f.Path, text):
		return nil
	}
	if docker {
		err = s.dockerfile(ctx, f.Path, text)
	} else {
		err = s.manifest(ctx, f.Path, text)
	}
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, context.DeadlineExceeded):
		s.unread(f.Path, errors.New("it took longer than file_timeout"))
	case err != nil:
		s.unread(f.Path, err)
	}
	return nil
}

// peek is how much of a file that is too large is looked at, at once, to see what
// it is.
const peek = 64 << 10

// read gives the text, or the beginning of one that is too large.
func (s *scan) read(f sdk.File) (text []byte, whole bool, err error) {
	r, err := f.Open()
	if err != nil {
		return nil, false, err
	}
	defer r.Close()
	most := int64(s.config.MaxFileSize)
	if f.Size > most {
		most = peek - 1
	}
	text, err = io.ReadAll(io.LimitReader(r, most+1))
	if err != nil {
		return nil, false, err
	}
	return bytes.TrimPrefix(text, []byte("\ufeff")), int64(len(text)) <= most && f.Size <= int64(s.config.MaxFileSize), nil
}

// isLargeManifest looks through a file that is too large for what manifests have:
// it may be in the last of many documents.
func isLargeManifest(ctx context.Context, f sdk.File) (bool, error) {
	r, err := f.Open()
	if err != nil {
		return false, err
	}
	defer r.Close()
	const carried = 256 // of one piece into the next: a key may be on its edge
	buf := make([]byte, 0, peek+carried)
	version, kind := false, false
	for ctx.Err() == nil {
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		version = version || bytes.Contains(buf, []byte("apiVersion")) && keyVersion.Match(buf)
		kind = kind || bytes.Contains(buf, []byte("kind")) && keyKind.Match(buf)
		if version && kind || errors.Is(err, io.EOF) {
			return version && kind, nil
		}
		if err != nil {
			return false, err
		}
		buf = buf[:copy(buf, buf[max(0, len(buf)-carried):])]
	}
	return false, context.Cause(ctx)
}

// unread says that a Dockerfile or manifest, or a part of it, was not looked at.
func (s *scan) unread(name string, why error) {
	s.saw()
	s.out.Note(sdk.Note{Level: sdk.Warning, Path: name, Summary: "was not looked at whole: " + why.Error()})
	s.out.Partial("some Dockerfiles or manifests could not be looked at")
}

// saw counts something that it is here for.
func (s *scan) saw() {
	s.mu.Lock()
	s.found++
	s.mu.Unlock()
}

// isTemplate reports whether a file is one that only Helm can make a manifest of.
func (s *scan) isTemplate(name string, text []byte) bool {
	if !bytes.Contains(text, []byte("{{")) {
		return false
	}
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if path.Base(dir) == "templates" && s.charts[path.Dir(dir)] {
			return true
		}
	}
	return false
}

// maxTemplates is how many are named; the others are counted.
const maxTemplates = 20

func (s *scan) template(name string) {
	s.mu.Lock()
	s.templates++
	named := s.templates <= maxTemplates
	s.mu.Unlock()
	if named {
		s.out.Note(sdk.Note{
			Level: sdk.Warning, Path: name, Summary: "was not looked at: it is a template of a Helm chart, and charts are not rendered",
			Detail: "What \"helm template\" prints, put beside it, is looked at.",
		})
	}
}

// isFrom judges what could not be parsed.
var isFrom = regexp.MustCompile(`(?im)^[ \t]*FROM[ \t]`)

func (s *scan) dockerfile(ctx context.Context, name string, text []byte) error {
	document, err := readDockerfile(text, name)
	if err != nil && !isFrom.Match(text) {
		s.out.Note(sdk.Note{Path: name, Summary: "is called like a Dockerfile, and is none: it has no FROM"})
		return nil
	}
	if err != nil {
		return err
	}
	s.saw()
	s.out.Scanned(1, uint64(len(text)))
	value, err := ast.InterfaceToValue(document)
	if err != nil {
		return err
	}
	e, err := s.engine(dockerfile)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, s.config.FileTimeout)
	defer cancel()
	ctx, scripts := withUnread(ctx)
	ignores := readIgnores(text)
	err = s.look(ctx, e, name, "", value, func(p problem) {
		f := newFinding(p, name)
		if p.check.id != secretsInDockerfile {
			f.Snippet = excerpt(text, p.from, p.to)
		}
		if waived(ignores, p, s.now()) {
			f.Properties["suppressed"] = "inSource"
		}
		s.out.Finding(p.check.id, f)
	})
	if n := len(scripts.scripts); n > 0 {
		s.out.Note(sdk.Note{Level: sdk.Warning, Path: name, Summary: fmt.Sprintf("%d RUN instructions are no shell scripts that can be read: the checks of commands passed them over", n)})
		s.out.Partial("some RUN instructions could not be read as shell scripts")
	}
	return err
}

// secretsInDockerfile is the check whose snippets would be secrets.
const secretsInDockerfile = "DS-0031"

func (s *scan) manifest(ctx context.Context, name string, text []byte) error {
	if s.isTemplate(name, text) {
		s.template(name)
		return nil
	}
	parts := []part{{text: text}}
	if !isJSON(text) {
		parts = split(text)
	}
	if len(parts) > maxDocuments {
		s.unread(name, fmt.Errorf("it has more than %d documents; those after were left out", maxDocuments))
		parts = parts[:maxDocuments]
	}
	var e *engine
	for _, p := range parts {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		all, err := readPart(p)
		if err != nil {
			if looksLikeManifest(p.text) {
				s.unread(name, explain(p, err))
			}
			continue
		}
		for _, o := range all {
			if e == nil {
				s.saw()
				s.out.Scanned(1, uint64(len(text)))
				if e, err = s.engine(kubernetes); err != nil {
					return err
				}
				limited, cancel := context.WithTimeout(ctx, s.config.FileTimeout)
				defer cancel() // once: e is nil once
				ctx = limited
			}
			if err := s.object(ctx, e, name, o); err != nil {
				return err
			}
		}
	}
	return nil
}

// readPart reads JSON, or YAML that begins like it.
func readPart(p part) ([]object, error) {
	if !mayBeManifest(p.text) {
		return nil, nil
	}
	if isJSON(p.text) {
		if all, err := readJSON(p.text); err == nil || errors.Is(err, errTooBig) || errors.Is(err, errTooDeep) {
			return all, err
		}
	}
	return readYAML(p)
}

// explain says where the document is and, of a template, what it is.
func explain(p part, err error) error {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	if bytes.Contains(p.text, []byte("{{")) {
		text += "; it has {{ }}, so it is a template"
	}
	if p.lines == 0 {
		return errors.New(text)
	}
	return fmt.Errorf("the document after line %d: %s", p.lines, text)
}

func (s *scan) object(ctx context.Context, e *engine, name string, o object) error {
	value, err := ast.InterfaceToValue(o.body)
	if err != nil {
		return err
	}
	return s.look(ctx, e, name, o.kind, value, func(p problem) {
		if p.from == 0 {
			p.from, p.to = o.from, o.to
		}
		f := newFinding(p, name)
		f.Properties["object"] = o.String()
		s.out.Finding(p.check.id, f)
	})
}

// engine gives that of a language. It comes before the clock of file_timeout
// starts: who is first has it compiled.
func (s *scan) engine(l language) (*engine, error) {
	e, err := s.engines[l]()
	if err != nil {
		s.mu.Lock()
		s.broken = err
		s.mu.Unlock()
	}
	return e, err
}

// look makes the checks that the operator wants and that are for this kind. When
// they fail together each is made alone: one that fails costs no other, and is no
// pass.
func (s *scan) look(ctx context.Context, e *engine, name, kind string, document ast.Value, give func(problem)) error {
	g := e.group(kind)
	all, err := g.look(ctx, document)
	if err != nil && ctx.Err() == nil {
		all = s.oneByOne(ctx, e, g, name, document)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	for _, p := range all {
		if s.wanted[p.check] {
			give(p)
		}
	}
	return nil
}

func (s *scan) oneByOne(ctx context.Context, e *engine, g *group, name string, document ast.Value) (all []problem) {
	for _, k := range g.checks {
		if !s.wanted[k] || ctx.Err() != nil {
			continue
		}
		problems, err := e.look(ctx, k, document)
		if err != nil && ctx.Err() == nil {
			s.out.Note(sdk.Note{Level: sdk.Warning, Path: name, Summary: fmt.Sprintf("the check %s failed: %v", k.id, err)})
			s.out.Partial("some checks failed")
		}
		all = append(all, problems...)
	}
	return all
}

func newFinding(p problem, name string) sdk.Finding {
	f := sdk.Finding{
		Message: p.message, Severity: p.check.severity, At: sdk.Location{Path: name, StartLine: p.from, EndLine: p.to},
		Identity: []string{p.message}, Properties: map[string]string{},
	}
	for _, a := range p.check.aliases {
		if strings.HasPrefix(a, "AVD-") {
			f.Properties["avd_id"] = a
		}
	}
	return f
}

// maxExcerpt is what the host keeps of a snippet.
const maxExcerpt = 2 << 10

// excerpt is the lines from one to another, or the beginning of them.
func excerpt(text []byte, from, to int) string {
	if from < 1 {
		return ""
	}
	var b strings.Builder
	n := 0
	for line := range bytes.Lines(text) {
		if n++; n > max(from, to) || b.Len() > maxExcerpt {
			break
		}
		if n >= from {
			b.Write(line)
		}
	}
	return strings.TrimRight(b.String(), "\r\n")
}
