package main

import (
	"cmp"
	"regexp"
	"slices"
	"strings"

	"github.com/google/osv-scalibr/extractor"
	"github.com/google/osv-scalibr/extractor/filesystem/language/python/requirements"
	"github.com/google/osv-scalibr/purl"
)

// dependency is one package at one place.
type dependency struct {
	name      string
	version   string // exact or, with allows, one that the requirement takes; "": not known
	allows    string // the requirement, when it takes others too: ">=3.0"
	ecosystem string // as OSV calls it; "": OSV has none for it
	purl      string // with the version when that is exact
	path      string
	line      int // 0: not known
	dev       bool
}

// Versions are exact when they look like one. Maven's may be words.
var exact = regexp.MustCompile(`^[vV]?[0-9][0-9A-Za-z.+_~!:-]*$`)

const maxName = 1000 // bytes; a longer name is no package's

func newDependency(p *extractor.Package, lockfile string) dependency {
	d := dependency{
		name: p.Name, version: strings.TrimSpace(p.Version), ecosystem: string(p.Ecosystem().Ecosystem),
		path: lockfile, dev: development(p.Metadata),
	}
	if l := p.Location.Descriptor; l != nil && l.File != nil {
		if l.File.Path != "" {
			d.path = l.File.Path
		}
		d.line = max(l.File.LineNumber, 0)
	}
	if m, ok := p.Metadata.(*requirements.Metadata); ok && m.VersionComparator != "==" && m.VersionComparator != "===" {
		if d.version != "" {
			d.allows = m.VersionComparator + d.version
		}
	}
	if d.ecosystem == "Go" && d.name == "stdlib" && d.version != "" {
		d.allows = "go " + d.version // the least that the module asks for
	}
	maven := d.ecosystem == "Maven" && !strings.ContainsAny(d.version, "[](),${} ")
	if !exact.MatchString(d.version) && !maven || len(d.version) > maxName {
		d.version = ""
	}
	u := p.PURL()
	if u == nil {
		u = &purl.PackageURL{Type: "generic", Name: p.Name}
	}
	// The engine notes there where npm has it from; nobody else knows of that.
	kept := u.Qualifiers[:0:0]
	for _, q := range u.Qualifiers {
		if q.Key != "source" {
			kept = append(kept, q)
		}
	}
	u.Qualifiers = kept
	if u.Version = d.version; d.allows != "" {
		u.Version = ""
	}
	d.purl = u.String()
	d.name = osvName(d.name, d.ecosystem, u.Namespace)
	return d
}

// development reports whether a package is for building or testing only.
func development(metadata any) bool {
	m, ok := metadata.(interface{ DepGroups() []string })
	if !ok || len(m.DepGroups()) == 0 {
		return false
	}
	return !slices.ContainsFunc(m.DepGroups(), func(g string) bool {
		switch strings.ToLower(g) {
		case "dev", "develop", "development", "test", "tests", "require-dev", "packages-dev", "dev-dependencies":
			return false
		}
		return true
	})
}

var pypi = regexp.MustCompile(`[-_.]+`)

// osvName is how advisories call a package.
func osvName(name, ecosystem, namespace string) string {
	switch {
	case ecosystem == "PyPI":
		return strings.ToLower(pypi.ReplaceAllLiteralString(name, "-"))
	case namespace == "":
		return name
	case ecosystem == "Maven" && !begins(name, namespace+":"):
		return namespace + ":" + name
	case ecosystem != "Maven" && !begins(name, namespace+"/"):
		return namespace + "/" + name
	}
	return name
}

// begins leaves the case out: a purl has some namespaces in lower case, such as
// those of Go.
func begins(s, with string) bool {
	return len(s) >= len(with) && strings.EqualFold(s[:len(with)], with)
}

// keyOf is the name under which a package is looked up: registries for which case
// makes no other package take any.
func keyOf(name, ecosystem string) string {
	if ecosystem == "NuGet" || ecosystem == "Packagist" {
		return strings.ToLower(name)
	}
	return name
}

// inOrder sorts by place and drops what two extractors found at the same.
func inOrder(all []dependency) []dependency {
	slices.SortFunc(all, func(a, b dependency) int {
		return cmp.Or(cmp.Compare(a.path, b.path), cmp.Compare(a.line, b.line), cmp.Compare(a.purl, b.purl), cmp.Compare(a.allows, b.allows))
	})
	return slices.CompactFunc(all, func(a, b dependency) bool {
		return a.path == b.path && a.line == b.line && a.purl == b.purl && a.allows == b.allows
	})
}
