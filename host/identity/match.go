package identity

import (
	"cmp"
	"slices"
)

// Known is a finding of the project, of one plugin.
type Known struct {
	ID          string
	Rule        string
	Fingerprint string
	Content     string // the fingerprint without the place; "": none
	Line        int
	Digest      string // of what is shown and may change
	Absent      bool
	Decided     Moment // by which scan's
	Scope       string // in which it was last seen
}

// Seen is a finding of the scan, of the same plugin.
type Seen struct {
	ID          string
	Rule        string
	Fingerprint string
	Content     string
	Line        int
	Digest      string
}

// Pair says that a seen finding is a known one. Both are places in what Match
// was given.
type Pair struct {
	Known, Seen int
	Moved       bool // to another path
}

// Match pairs seen findings with known ones. Each is in one pair at most.
// Findings whose fingerprints are the same always pair, as many as there are on
// both sides: first with known ones that are not absent. With whole, which says
// that the plugin saw the whole target, one known finding that is left over
// pairs with one seen finding of the same rule and content elsewhere, if there
// is exactly one of each.
func Match(known []Known, seen []Seen, whole bool) []Pair {
	k, s := map[string][]int{}, map[string][]int{}
	for i, f := range known {
		k[f.Fingerprint] = append(k[f.Fingerprint], i)
	}
	for i, f := range seen {
		s[f.Fingerprint] = append(s[f.Fingerprint], i)
	}
	var out []Pair
	for fingerprint, there := range s {
		out = append(out, twins(known, seen, k[fingerprint], there)...)
	}
	if whole {
		out = append(out, renames(known, seen, out)...)
	}
	slices.SortFunc(out, func(a, b Pair) int { return cmp.Compare(a.Seen, b.Seen) })
	return out
}

// twins pairs findings of one fingerprint.
func twins(known []Known, seen []Seen, k, s []int) []Pair {
	// On one line those that look the same are the same.
	byLine := func(line func(int) (int, string, string)) func(a, b int) int {
		return func(a, b int) int {
			la, da, ia := line(a)
			lb, db, ib := line(b)
			return cmp.Or(cmp.Compare(la, lb), cmp.Compare(da, db), cmp.Compare(ia, ib))
		}
	}
	slices.SortFunc(k, byLine(func(i int) (int, string, string) { return known[i].Line, known[i].Digest, known[i].ID }))
	slices.SortFunc(s, byLine(func(i int) (int, string, string) { return seen[i].Line, seen[i].Digest, seen[i].ID }))
	var present, absent []int
	for _, i := range k {
		if known[i].Absent {
			absent = append(absent, i)
		} else {
			present = append(present, i)
		}
	}
	out, left := nearest(known, seen, present, s)
	more, _ := nearest(known, seen, absent, left)
	return append(out, more...)
}

// mostCells bounds the table that nearest fills: 4 MiB for twins by the
// thousand, which no person tells apart.
const mostCells = 1 << 19

// nearest pairs as many as there are on both sides, in the order of their lines,
// so that the distances add up to the least. It returns what is left of s.
func nearest(known []Known, seen []Seen, k, s []int) (pairs []Pair, left []int) {
	n, m := len(k), len(s)
	if n == m || n == 0 || m == 0 || n*m > mostCells {
		for i := range min(n, m) {
			pairs = append(pairs, Pair{Known: k[i], Seen: s[i]})
		}
		return pairs, s[min(n, m):]
	}
	// best[i][j] is the least for the first i known and j seen, of which as many
	// pair as can.
	best := make([][]int64, n+1)
	for i := range best {
		best[i] = make([]int64, m+1)
	}
	distance := func(i, j int) int64 {
		d := int64(known[k[i]].Line) - int64(seen[s[j]].Line)
		return max(d, -d)
	}
	for i := 1; i <= n; i++ {
		for j := 1; j <= m; j++ {
			best[i][j] = best[i-1][j-1] + distance(i-1, j-1)
			if j > i {
				best[i][j] = min(best[i][j], best[i][j-1])
			}
			if i > j {
				best[i][j] = min(best[i][j], best[i-1][j])
			}
		}
	}
	for i, j := n, m; i > 0 || j > 0; {
		switch {
		case j > i && (i == 0 || best[i][j] == best[i][j-1]):
			j--
			left = append(left, s[j])
		case i > j && (j == 0 || best[i][j] == best[i-1][j]):
			i--
		default:
			i, j = i-1, j-1
			pairs = append(pairs, Pair{Known: k[i], Seen: s[j]})
		}
	}
	slices.Reverse(left)
	return pairs, left
}

// renames pairs what exact pairs left over. An absent finding was gone before
// and is nowhere else now.
func renames(known []Known, seen []Seen, exact []Pair) []Pair {
	kDone, sDone := map[int]bool{}, map[int]bool{}
	for _, p := range exact {
		kDone[p.Known], sDone[p.Seen] = true, true
	}
	type key struct{ rule, content string }
	k, s := map[key][]int{}, map[key][]int{}
	for i, f := range known {
		if !kDone[i] && !f.Absent && f.Content != "" {
			at := key{f.Rule, f.Content}
			k[at] = append(k[at], i)
		}
	}
	for i, f := range seen {
		if !sDone[i] && f.Content != "" {
			at := key{f.Rule, f.Content}
			s[at] = append(s[at], i)
		}
	}
	var out []Pair
	for at, from := range k {
		if to := s[at]; len(from) == 1 && len(to) == 1 {
			out = append(out, Pair{Known: from[0], Seen: to[0], Moved: true})
		}
	}
	return out
}
