package main

import (
	"fmt"
	"io"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/securetaghq/securetag/sdk"
)

// manifest is a file that asks for packages and leaves the choice of their versions
// to a lockfile. Without one nobody knows which are in use.
type manifest struct {
	asks  *regexp.Regexp // for a package at least
	locks []string       // patterns of names, any of which is enough, beside it or above
}

var manifests = func() map[string]manifest { //nolint:gochecknoglobals // never written
	of := func(asks string, locks ...string) manifest { return manifest{regexp.MustCompile(asks), locks} }
	python := []string{"poetry.lock", "pdm.lock", "uv.lock", "pylock*.toml", "Pipfile.lock", "*requirements*.txt"}
	gradle := of(`(?m)^\s*(?:api|implementation|compile|runtime|compileOnly|runtimeOnly|testImplementation)[\s(]+["'(]`, "gradle.lockfile", "buildscript-gradle.lockfile", "verification-metadata.xml", "*.versions.toml")
	return map[string]manifest{
		"package.json":     of(`"(?:d|devD|optionalD)ependencies"\s*:\s*\{\s*"`, "package-lock.json", "npm-shrinkwrap.json", "yarn.lock", "pnpm-lock.yaml", "bun.lock"),
		"pyproject.toml":   of(`(?m)^\s*dependencies\s*=\s*\[\s*["']|^\[tool\.poetry\.(?:group\.[^\]]+\.)?dependencies\]`, python...),
		"setup.py":         of(`install_requires\s*=\s*\[\s*["']`, python...),
		"Pipfile":          of(`(?m)^\[packages\]\s*\w`, python...),
		"Cargo.toml":       of(`(?m)^\[(?:[^\]]+\.)?dependencies(?:\]\s*\w|\.)`, "Cargo.lock"),
		"Gemfile":          of(`(?m)^\s*gem\s`, "Gemfile.lock", "gems.locked"),
		"composer.json":    of(`"require"\s*:\s*\{[^}]*/`, "composer.lock"),
		"build.gradle":     gradle,
		"build.gradle.kts": gradle,
		"Package.swift":    of(`\.package\(`, "Package.resolved"),
		"Podfile":          of(`(?m)^\s*pod\s`, "Podfile.lock"),
		"mix.exs":          of(`\{:\w+,\s*"`, "mix.lock"),
		"pubspec.yaml":     of(`(?m)^dependencies:\s*\n\s+\w`, "pubspec.lock"),
	}
}()

const maxManifest = 1 << 20 // bytes that are looked at

// unlocked are the manifests of a tree, and the names that could be lockfiles of
// theirs, until all files were seen. Safe for concurrent use.
type unlocked struct {
	mu     sync.Mutex
	asking []string // paths of manifests
	locks  []string // paths
}

// see takes a file into account.
func (u *unlocked) see(f sdk.File) error {
	name := path.Base(f.Path)
	if m, ok := manifests[name]; ok {
		asks, err := m.askedBy(f)
		if asks {
			u.add(&u.asking, f.Path)
		}
		return err
	}
	for _, m := range manifests {
		if m.lockedBy(name) {
			u.add(&u.locks, f.Path)
			break
		}
	}
	if inRequirements(f.Path) { // as if it were beside the directory
		u.add(&u.locks, path.Dir(f.Path)+".txt")
	}
	return nil
}

func (u *unlocked) add(to *[]string, path string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	*to = append(*to, path)
}

func (m manifest) askedBy(f sdk.File) (bool, error) {
	file, err := f.Open()
	if err != nil {
		return false, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxManifest))
	return err == nil && m.asks.Match(text), err
}

func (m manifest) lockedBy(name string) bool {
	return slices.ContainsFunc(m.locks, func(pattern string) bool {
		ok, err := path.Match(pattern, name)
		return ok && err == nil
	})
}

// alone gives the manifests that no lockfile is for, in order. That of a workspace
// is above its members.
func (u *unlocked) alone() []string {
	locked := map[string][]string{} // names by directory
	for _, p := range u.locks {
		locked[path.Dir(p)] = append(locked[path.Dir(p)], path.Base(p))
	}
	out := slices.DeleteFunc(slices.Clone(u.asking), func(p string) bool {
		m := manifests[path.Base(p)]
		for dir := path.Dir(p); ; dir = path.Dir(dir) {
			if slices.ContainsFunc(locked[dir], m.lockedBy) {
				return true
			}
			if dir == "." || dir == "/" {
				return false
			}
		}
	})
	slices.Sort(out)
	return out
}

// tell says for what nobody looked.
func (u *unlocked) tell(out *sdk.Out) {
	alone := u.alone()
	if len(alone) == 0 {
		return
	}
	out.Note(sdk.Note{
		Level:   sdk.Warning,
		Summary: fmt.Sprintf("%s without a lockfile: nobody knows the versions of what is asked for there, so it was not looked up", count(len(alone), "manifest")),
		Detail:  "Keep the lockfile beside it: " + strings.Join(alone[:min(len(alone), 20)], ", "),
	})
}
