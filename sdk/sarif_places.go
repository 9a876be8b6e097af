package sdk

import (
	"cmp"
	"net/url"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// places makes paths in the target of the URIs of a report.
type places struct {
	roots   []string // absolute, and the same without links
	work    string
	moved   bool // the roots are those of another machine
	outside int
}

// maxRoots is how many roots of a run are looked at, for each of its results.
const maxRoots = 16

// move takes the places of another machine from the run that tells of it: a base
// of its paths, or where the tool ran. The outermost comes first.
func (p *places) move(run *sarifRun) {
	p.moved, p.roots, p.work = true, nil, ""
	var all []string
	for name := range run.Bases {
		all = append(all, absolute(run, sarifURI{Base: name}))
	}
	for _, inv := range run.Invocations {
		all = append(all, absolute(run, inv.Dir))
	}
	slices.SortFunc(all, func(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b)) })
	for _, root := range slices.Compact(all) {
		if root = path.Clean(root); path.IsAbs(root) && root != "/" && len(p.roots) < maxRoots {
			p.roots = append(p.roots, root)
		}
	}
}

// inRoot is the path from the root of another machine, "" for one that leads out
// of it. An absolute one that is in none is taken from the root of all.
func (p *places) inRoot(name string) string {
	name = path.Clean(strings.ReplaceAll(name, `\`, "/"))
	for _, root := range p.roots {
		if rel, ok := strings.CutPrefix(name, root+"/"); ok {
			return rel
		}
	}
	name = strings.TrimPrefix(name, "/")
	if name == "" || name == "." || name == ".." || strings.HasPrefix(name, "../") {
		return ""
	}
	return name
}

// newPlaces: copy is a directory that stands for the target; "" for none.
func newPlaces(t *Target, copy string) *places {
	p := &places{work: t.WorkDir()}
	for _, root := range []string{copy, t.Root()} {
		if root == "" {
			continue
		}
		clean := filepath.Clean(root)
		p.roots = append(p.roots, clean)
		if real, err := filepath.EvalSymlinks(root); err == nil && real != clean {
			p.roots = append(p.roots, real)
		}
	}
	return p
}

// hide takes the places of the machine out of what a tool says.
func (p *places) hide(text string) string {
	places := p.roots
	if p.work != "" {
		places = append(slices.Clip(places), p.work) // after a copy of the target in it
	}
	for _, place := range places {
		text = strings.ReplaceAll(strings.ReplaceAll(text, place+"/", ""), place, ".")
	}
	return text
}

func (p *places) at(run *sarifRun, l *sarifLocation) (at Location, snippet string) {
	snippet = l.Physical.Region.Snippet.Text
	uri := l.Physical.Artifact
	if i := uri.Index; uri.URI == "" && i != nil && *i >= 0 && *i < len(run.Artifacts) {
		uri = run.Artifacts[*i].Location
	}
	if uri.URI == "" {
		return at, snippet
	}
	full := absolute(run, uri)
	if strings.HasPrefix(full, "http://") || strings.HasPrefix(full, "https://") {
		at.URL = full
		return at, snippet
	}
	if at.Path = p.inTarget(full); at.Path == "" {
		p.outside++
		return at, snippet
	}
	r := l.Physical.Region
	at.StartLine, at.StartColumn, at.EndLine, at.EndColumn = r.StartLine, r.StartColumn, r.EndLine, r.EndColumn
	if at.EndLine == 0 && at.EndColumn > 0 {
		at.EndLine = at.StartLine // as the standard says
	}
	return at, snippet
}

// absolute puts the bases before a URI, a few at the most, and makes a path of
// it when it is one.
func absolute(run *sarifRun, u sarifURI) string {
	uri := u.URI
	for range 8 {
		if strings.Contains(uri, "://") || strings.HasPrefix(uri, "file:") || strings.HasPrefix(uri, "/") {
			break
		}
		base, ok := run.Bases[u.Base]
		if u.Base == "" || !ok || base.URI == "" {
			break
		}
		uri, u = strings.TrimSuffix(base.URI, "/")+"/"+uri, base
	}
	parsed, err := url.Parse(uri)
	switch {
	case err != nil:
		return uri // a path that nobody has escaped
	case parsed.Scheme == "http", parsed.Scheme == "https":
		return uri
	case parsed.Scheme == "file" && parsed.Opaque != "":
		return parsed.Opaque
	case parsed.Scheme == "file":
		return parsed.Path
	case parsed.Scheme == "" && parsed.RawQuery == "" && parsed.Fragment == "":
		return parsed.Path
	}
	return uri
}

// inTarget is the path from the root, "" for one that is not in it. Tools write
// absolute paths, some without the first slash, paths from the root, and paths
// from where they run.
func (p *places) inTarget(name string) string {
	if p.moved {
		return p.inRoot(name)
	}
	name = filepath.ToSlash(name)
	for _, try := range []string{name, "/" + name, path.Join(p.work, name)} {
		for _, root := range p.roots {
			if rel, ok := strings.CutPrefix(path.Clean(try), root+"/"); ok {
				return rel
			}
		}
	}
	rel := path.Clean(name)
	if len(p.roots) == 0 || path.IsAbs(rel) || rel == "." || rel == ".." || strings.HasPrefix(rel, "../") {
		return ""
	}
	return rel
}
