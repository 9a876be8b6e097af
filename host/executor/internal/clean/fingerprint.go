package clean

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"slices"
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
	place := []string{"path", at.Path}
	if at.URL != "" && at.Path == "" {
		place = []string{"url", at.URL}
	}
	return hash(slices.Concat([]string{plugin, rule}, place, content(identity, snippet)))
}

// Content is the fingerprint without the place: by it a finding is known again
// in a file that was renamed. "" when there is nothing to know it by: no text
// at all, or one in which something was redacted, since another secret may look
// the same.
func Content(plugin, rule string, identity []string, snippet string) string {
	fields := content(identity, snippet)
	text := strings.Join(fields[1:], "")
	if text == "" || strings.Contains(text, "****") || strings.Contains(text, "REDACTED") {
		return ""
	}
	return hash(slices.Concat([]string{plugin, rule}, fields))
}

func content(identity []string, snippet string) []string {
	if len(identity) > 0 {
		return append([]string{"identity"}, identity...)
	}
	return []string{"snippet", strings.Join(strings.Fields(snippet), " ")}
}

func hash(fields []string) string {
	h := sha256.New()
	for _, s := range fields {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(s)))
		h.Write(n[:])
		h.Write([]byte(s))
	}
	return "v1:" + hex.EncodeToString(h.Sum(nil))
}
