package record

import (
	"strings"

	"github.com/securetaghq/securetag/host"
)

// Scopes are a key's as they are stored: words with a space between.
func Scopes(s host.Scopes) string {
	if len(s) == 0 {
		s = host.DefaultScopes()
	}
	return Clean(s.String())
}

// ReadScopes reads them. A word that this program does not know stays: it allows
// nothing here.
func ReadScopes(text string) (s host.Scopes) {
	for w := range strings.FieldsSeq(text) {
		s = append(s, host.Scope(w))
	}
	return s
}
