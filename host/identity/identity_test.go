package identity_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/securetaghq/securetag/host/identity"
)

// tree is what one scan sees. Few names, so that twins and renames are common.
func tree(t *rapid.T, label string) []identity.Seen {
	n := rapid.IntRange(0, 12).Draw(t, label)
	out := make([]identity.Seen, n)
	for i := range out {
		path := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "path")
		text := rapid.SampledFrom([]string{"x", "y", ""}).Draw(t, "text")
		rule := rapid.SampledFrom([]string{"r", "q"}).Draw(t, "rule")
		out[i] = identity.Seen{
			ID: fmt.Sprint(label, i), Rule: rule, Fingerprint: rule + "|" + path + "|" + text,
			Line: rapid.IntRange(1, 40).Draw(t, "line"), Digest: rapid.SampledFrom([]string{"d", "e"}).Draw(t, "digest"),
		}
		if text != "" {
			out[i].Content = rule + "|" + text
		}
	}
	return out
}

// project is a model of what keeps project findings: it applies decisions.
type project struct {
	known []identity.Known
	next  int
}

func at(n int) identity.Moment { return identity.Moment{At: int64(n), Scan: fmt.Sprint("s", n)} }

func run(n int) identity.Run { return identity.Run{At: at(n), Whole: true, Scope: "all"} }

func (p *project) take(seen []identity.Seen, r identity.Run) map[identity.State]int {
	d := identity.Decide(p.known, seen, r)
	count := map[identity.State]int{identity.Absent: len(d.Absent)}
	for _, i := range d.Absent {
		p.known[i].Absent, p.known[i].Decided = true, r.At
	}
	for i, as := range d.Seen {
		count[as.State]++
		s := seen[i]
		k := identity.Known{Rule: s.Rule, Fingerprint: s.Fingerprint, Content: s.Content, Line: s.Line, Digest: s.Digest, Decided: r.At, Scope: r.Scope}
		if as.Known >= 0 && !as.Late {
			k.ID = p.known[as.Known].ID
			p.known[as.Known] = k
		}
		if as.Known < 0 {
			p.next++
			k.ID = fmt.Sprint("k", p.next)
			if as.Late {
				k.Absent, k.Decided = true, r.Newer
			}
			p.known = append(p.known, k)
		}
	}
	return count
}

func (p *project) present() (out []string) {
	for _, k := range p.known {
		if !k.Absent {
			out = append(out, k.Fingerprint)
		}
	}
	slices.Sort(out)
	return out
}

func fingerprints(seen []identity.Seen) (out []string) {
	for _, s := range seen {
		out = append(out, s.Fingerprint)
	}
	slices.Sort(out)
	return out
}

// TestIdempotent: the same tree again is all unchanged, whatever came before.
func TestIdempotent(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var p project
		p.take(tree(t, "first"), run(1))
		second := tree(t, "second")
		p.take(second, run(2))
		got := p.take(second, run(3))
		if got[identity.Unchanged] != len(second) || got[identity.New]+got[identity.Updated]+got[identity.Absent] != 0 {
			t.Fatalf("the same %d findings again: %v", len(second), got)
		}
	})
}

// TestCountsConserve: each finding is in one pair at most, what is present
// afterwards is what was seen, and none is gained or lost.
func TestCountsConserve(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var p project
		for n, label := range []string{"first", "second", "third"} {
			seen := tree(t, label)
			before := len(p.present())
			k, s := map[int]bool{}, map[int]bool{}
			for _, pair := range identity.Match(p.known, seen, true) {
				if k[pair.Known] || s[pair.Seen] {
					t.Fatalf("%+v is not one to one", pair)
				}
				k[pair.Known], s[pair.Seen] = true, true
			}
			got := p.take(seen, run(n+1))
			if got[identity.New]+got[identity.Updated]+got[identity.Unchanged] != len(seen) ||
				got[identity.Updated]+got[identity.Unchanged]+got[identity.Absent] != before {
				t.Fatalf("%d known and %d seen: %v", before, len(seen), got)
			}
			if diff := cmp.Diff(fingerprints(seen), p.present()); diff != "" {
				t.Fatalf("present (-seen +present):\n%s", diff)
			}
		}
	})
}

// TestOrderDoesNotMatter: neither that of what is known nor that of what is
// seen.
func TestOrderDoesNotMatter(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var p project
		p.take(tree(t, "first"), run(1))
		p.take(tree(t, "second"), run(2))
		seen := tree(t, "third")
		want := named(p.known, seen, identity.Decide(p.known, seen, run(3)))
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		r.Shuffle(len(seen), func(i, j int) { seen[i], seen[j] = seen[j], seen[i] })
		r.Shuffle(len(p.known), func(i, j int) { p.known[i], p.known[j] = p.known[j], p.known[i] })
		got := named(p.known, seen, identity.Decide(p.known, seen, run(3)))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("shuffled (-want +got):\n%s", diff)
		}
	})
}

func named(known []identity.Known, seen []identity.Seen, d identity.Decision) (out []string) {
	for i, as := range d.Seen {
		who := "-"
		if as.Known >= 0 {
			who = known[as.Known].ID
		}
		out = append(out, fmt.Sprint(seen[i].ID, " ", who, " ", as.State, " ", as.Late))
	}
	for _, i := range d.Absent {
		out = append(out, known[i].ID+" absent")
	}
	slices.Sort(out)
	return out
}

// TestLinesAboveChangeNothing: with lines inserted at the top of each file, every
// finding is the one that it was.
func TestLinesAboveChangeNothing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var p project
		seen := tree(t, "first")
		p.take(seen, run(1))
		before := slices.Clone(p.known)
		shift := rapid.IntRange(1, 5000).Draw(t, "lines")
		for i := range seen {
			seen[i].Line += shift
		}
		d := identity.Decide(p.known, seen, run(2))
		if len(d.Absent) > 0 {
			t.Fatalf("absent: %v", d.Absent)
		}
		for i, as := range d.Seen {
			if as.State != identity.Unchanged && before[as.Known].Digest == seen[i].Digest {
				t.Fatalf("%+v is %s", seen[i], as.State)
			}
			if before[as.Known].Line+shift != seen[i].Line {
				t.Fatalf("the finding of line %d is now that of line %d", before[as.Known].Line, seen[i].Line)
			}
		}
	})
}

// TestPartialNeverFixes: without the whole target nothing is absent and nothing
// moves.
func TestPartialNeverFixes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var p project
		p.take(tree(t, "first"), run(1))
		before := len(p.present())
		r := run(2)
		switch rapid.IntRange(0, 1).Draw(t, "how") {
		case 0:
			r.Whole = false
		case 1:
			r.Scope = "another"
		}
		if got := p.take(tree(t, "second"), r); got[identity.Absent] > 0 || len(p.present()) < before {
			t.Fatalf("%v, %d of %d are left", got, len(p.present()), before)
		}
	})
}

// TestLateChangesNothing: the same two scans in either order leave the same
// findings present.
func TestLateChangesNothing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var in, late project
		base, older, newer := tree(t, "base"), tree(t, "older"), tree(t, "newer")
		in.take(base, run(1))
		in.take(older, run(2))
		in.take(newer, run(3))
		late.take(base, run(1))
		late.take(newer, run(3))
		r := run(2)
		r.Newer = at(3)
		if got := late.take(older, r); got[identity.Absent] > 0 {
			t.Fatalf("a late scan made %d absent", got[identity.Absent])
		}
		if diff := cmp.Diff(in.present(), late.present()); diff != "" {
			t.Fatalf("present (-in order +late):\n%s", diff)
		}
	})
}

func TestMatch(t *testing.T) {
	t.Parallel()
	known := func(fp string, line int, absent bool) identity.Known {
		return identity.Known{ID: fmt.Sprint(fp, line), Rule: "r", Fingerprint: fp, Content: fp[1:], Line: line, Absent: absent}
	}
	seen := func(fp string, line int) identity.Seen {
		return identity.Seen{ID: fmt.Sprint(fp, line), Rule: "r", Fingerprint: fp, Content: fp[1:], Line: line}
	}
	for name, c := range map[string]struct {
		known []identity.Known
		seen  []identity.Seen
		want  []identity.Pair
	}{
		"a twin above": {
			[]identity.Known{known("ax", 10, false)}, []identity.Seen{seen("ax", 3), seen("ax", 11)},
			[]identity.Pair{{Known: 0, Seen: 1}},
		},
		"the middle one gone": {
			[]identity.Known{known("ax", 10, false), known("ax", 20, false), known("ax", 30, false)}, []identity.Seen{seen("ax", 12), seen("ax", 32)},
			[]identity.Pair{{Known: 0, Seen: 0}, {Known: 2, Seen: 1}},
		},
		"present before absent": {
			[]identity.Known{known("ax", 10, true), known("ax", 90, false)}, []identity.Seen{seen("ax", 10)},
			[]identity.Pair{{Known: 1, Seen: 0}},
		},
		"back again": {
			[]identity.Known{known("ax", 10, true)}, []identity.Seen{seen("ax", 10)}, []identity.Pair{{Known: 0, Seen: 0}},
		},
		"renamed": {
			[]identity.Known{known("ax", 10, false)}, []identity.Seen{seen("bx", 10)}, []identity.Pair{{Known: 0, Seen: 0, Moved: true}},
		},
		"renamed, or copied twice": {
			[]identity.Known{known("ax", 10, false)}, []identity.Seen{seen("bx", 10), seen("cx", 10)}, nil,
		},
		"one of two renamed": {
			[]identity.Known{known("ax", 10, false), known("bx", 10, false)}, []identity.Seen{seen("cx", 10)}, nil,
		},
		"absent is no rename": {
			[]identity.Known{known("ax", 10, true)}, []identity.Seen{seen("bx", 10)}, nil,
		},
		"no content": {
			[]identity.Known{known("a", 10, false)}, []identity.Seen{seen("b", 10)}, nil,
		},
	} {
		if diff := cmp.Diff(c.want, identity.Match(c.known, c.seen, true)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestManyTwins: too many to weigh are still paired, one to one.
func TestManyTwins(t *testing.T) {
	t.Parallel()
	known, seen := make([]identity.Known, 2000), make([]identity.Seen, 2001)
	for i := range known {
		known[i] = identity.Known{ID: fmt.Sprintf("%05d", i), Fingerprint: "f"}
	}
	for i := range seen {
		seen[i] = identity.Seen{ID: fmt.Sprintf("%05d", i), Fingerprint: "f"}
	}
	if n := len(identity.Match(known, seen, true)); n != len(known) {
		t.Errorf("%d pairs, want %d", n, len(known))
	}
}
