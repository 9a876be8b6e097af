package main

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/sdk/proto/pluginv1"
)

// identities gives those of a tree's findings, by file, as a host with this key
// gets them; nil is none.
func identities(t *testing.T, files map[string]string, key []byte) map[string]string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := scanWith(t, &pluginv1.ScanRequest{Target: &pluginv1.Target{Kind: &pluginv1.Target_Root{Root: root}}, IdentityKey: key})
	if len(key) > 0 && bytes.Contains(r.wire.Bytes(), key) {
		t.Error("the key is on the wire")
	}
	out := map[string]string{}
	for _, f := range r.findings {
		out[f.Location.Path] = strings.Join(f.Identity, "|")
	}
	if len(out) != len(files) {
		t.Fatalf("found in %v, want one in each of %v", out, slices.Collect(maps.Keys(files)))
	}
	return out
}

// TestIdentity: one secret in place of another is another finding, though both look
// the same when they are redacted; the same one further down is not, nor the same
// one in another file. Who has another key, or none, sees nothing of that.
func TestIdentity(t *testing.T) {
	t.Parallel()
	token := func(last string) string { return "gh" + "p_" + "q7Zt2Rk9Xw4Lp8Vb3Nc6Md1Hs5Jf0Gy" + "Ax7z" + last }
	key, other := []byte("a key of the tenant's"), []byte("a key of another's")
	files := map[string]string{
		"a.py":     "token = '" + token("Q") + "'\n",
		"moved.py": strings.Repeat("# more\n", 50) + "    token = '" + token("Q") + "'\n",
		"b.py":     "token = '" + token("R") + "'\n",
	}
	got := identities(t, files, key)
	if got["a.py"] != got["moved.py"] || got["a.py"] == got["b.py"] {
		t.Errorf("identities %v, want the two of one secret the same, and that of another different", got)
	}
	if diff := cmp.Diff(got, identities(t, files, key)); diff != "" {
		t.Errorf("not the same twice (-first +second):\n%s", diff)
	}
	foreign := identities(t, files, other)
	if got["a.py"] == foreign["a.py"] || foreign["a.py"] != foreign["moved.py"] {
		t.Errorf("identities %v with one key and %v with another", got, foreign)
	}
	if none := identities(t, files, nil); none["a.py"] != none["b.py"] || strings.Contains(none["a.py"], token("Q")[:12]) {
		t.Errorf("identities %v without a key, want the redacted text", none)
	}
}
