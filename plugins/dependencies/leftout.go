package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/securetaghq/securetag/sdk"
)

// notLookedUp counts the packages for which nobody looked for vulnerabilities,
// so that their absence from the findings is not taken for a good sign.
type notLookedUp struct {
	unversioned map[string]bool
	unknown     map[string]int // ecosystems that OSV or the engine does not cover, "" for those without a name
	missing     map[string]int // ecosystems that this database has nothing of
}

func newLeftOut() *notLookedUp {
	return &notLookedUp{map[string]bool{}, map[string]int{}, map[string]int{}}
}

// why reports whether a package cannot be looked up, and counts it.
func (n *notLookedUp) why(db *database, d dependency) bool {
	kind, _, _ := strings.Cut(strings.TrimPrefix(d.purl, "pkg:"), "/")
	switch {
	case d.ecosystem == "" || !compares(d.ecosystem):
		n.unknown[kind]++
	case !db.has(d.ecosystem):
		n.missing[d.ecosystem]++
	case d.version == "" || len(d.name) > maxName:
		n.unversioned[d.name] = true
	default:
		return false
	}
	return true
}

func (n *notLookedUp) tell(out *sdk.Out) {
	if names := sortedKeys(n.unversioned); len(names) > 0 {
		out.Note(sdk.Note{
			Level:   sdk.Warning,
			Summary: count(len(names), "package") + " without an exact version not looked up",
			Detail:  "Keep a lockfile, or pin them: " + strings.Join(names[:min(len(names), 20)], ", "),
		})
	}
	for _, kind := range sortedKeys(n.unknown) {
		out.Note(sdk.Note{Summary: fmt.Sprintf("%s of type %s not looked up: OSV has no versions to compare for them", count(n.unknown[kind], "package"), kind)})
	}
	for _, ecosystem := range sortedKeys(n.missing) {
		out.Note(sdk.Note{
			Level:   sdk.Warning,
			Summary: fmt.Sprintf("%s of %s not looked up: the database has no advisories for it", count(n.missing[ecosystem], "package"), ecosystem),
			Detail:  "Fill it with \"dependencies update\" from a source that has them.",
		})
		out.Partial("the vulnerability database has nothing for " + ecosystem)
	}
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// count is "1 package", "2 packages".
func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
