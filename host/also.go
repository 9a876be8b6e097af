package host

import (
	"encoding/binary"
	"hash/fnv"
	"slices"
	"strconv"
)

// Other is a finding of another plugin in the same scan that says the same: the
// same kind of problem at the same place. Both stay findings of their own.
type Other struct {
	Plugin string
	RuleID string
	ID     FindingID
}

const (
	// MaxOthers is how many are told of one finding.
	MaxOthers = 8
	// SpotReach is after how many lines a finding that goes on for longer counts
	// as ended, when others are looked for. It bounds what that costs.
	SpotReach = 100
	// SpotLook bounds how many findings at one spot are looked at for one.
	SpotLook = 256
)

// Spot is where a finding is, and what is wrong there. Findings of different
// plugins with the same key and lines that overlap are [Other] to each other.
type Spot struct {
	Key         int64 // of the path and the kind of problem
	First, Last int   // lines; 0: the whole file
}

// SpotOf gives the spot of a finding in a tree. One that nobody classified has
// none: that two plugins say something of one line does not make it the same.
//
// The kind of problem is "a secret", or else the first CWE, which is what rules
// put first that have several.
func SpotOf(f Finding) (s Spot, ok bool) {
	kind := kindOf(f)
	if f.Location.Path == "" || kind == "" {
		return s, false
	}
	h := fnv.New64a()
	h.Write(binary.AppendUvarint(nil, uint64(len(kind))))
	h.Write([]byte(kind + f.Location.Path))
	first := max(f.Location.StartLine, 0)
	last := min(max(first, f.Location.EndLine), first+SpotReach)
	if first == 0 {
		last = 0
	}
	return Spot{Key: int64(h.Sum64()), First: first, Last: last}, true
}

// ofSecrets reports whether a weakness is one that rules for secrets name:
// hard-coded credentials, passwords and keys.
func ofSecrets(cwe int) bool { return cwe == 798 || cwe == 259 || cwe == 321 }

func kindOf(f Finding) string {
	switch {
	case slices.Contains(f.Tags, "secret") || slices.ContainsFunc(f.CWE, ofSecrets):
		return "secret"
	case len(f.CWE) > 0:
		return "cwe-" + strconv.Itoa(f.CWE[0])
	}
	return ""
}
