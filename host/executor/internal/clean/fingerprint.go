package clean

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"strings"

	"github.com/securetaghq/securetag/host"
)

// Fingerprint is the identity of a finding across scans:
//
//	"v1:" + hex(SHA-256 over plugin, rule, "path" or "url", the place,
//	            "identity" or "snippet", the parts)
//
// with an 8-byte length before each field, so that no two lists of fields
// hash the same bytes. Line numbers, messages and severities are not in it: a
// finding keeps its identity when code above it moves or a rule is reworded.
// Twins (one text twice in one file) share a fingerprint and are told apart by
// counting. Without identity the snippet stands in, its white space evened
// out, because re-indenting code makes no new problem.
func Fingerprint(plugin, rule string, at host.Location, identity []string, snippet string) string {
	h := sha256.New()
	put := func(s string) {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(s)))
		h.Write(n[:])
		h.Write([]byte(s))
	}
	put(plugin)
	put(rule)
	if at.URL != "" && at.Path == "" {
		put("url")
		put(at.URL)
	} else {
		put("path")
		put(at.Path)
	}
	if len(identity) > 0 {
		put("identity")
		for _, part := range identity {
			put(part)
		}
	} else {
		put("snippet")
		put(strings.Join(strings.Fields(snippet), " "))
	}
	return "v1:" + hex.EncodeToString(h.Sum(nil))
}
