package main

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/zricethezav/gitleaks/v8/detect"
	"github.com/zricethezav/gitleaks/v8/sources"
)

func base64Of(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// checkPage detects in text and checks every place and snippet.
func checkPage(t *testing.T, e *engine, text string) {
	t.Helper()
	if len(text) > 64<<10 {
		return
	}
	f := sources.Fragment{Raw: text, FilePath: "x", StartLine: 1}
	found := e.detector.DetectContext(t.Context(), detect.Fragment(f)) //nolint:staticcheck // deprecated for v9, but the only way in v8
	p := newPage(f, 0, found, &secrets{})
	for i, g := range found {
		if g.StartLine == 0 {
			continue
		}
		l := p.location(i, "x")
		if l.StartLine < 1 || l.StartColumn < 1 || l.EndLine < l.StartLine || l.EndLine == l.StartLine && l.EndColumn < l.StartColumn {
			t.Errorf("place %+v", l)
		}
		for _, h := range found {
			// A short secret may be part of the word REDACTED, or of a key's name.
			if s := strings.TrimSpace(h.Secret); len(s) >= 12 && strings.Contains(p.snippet(i), s) {
				t.Errorf("%s shows the secret of %s", g.RuleID, h.RuleID)
			}
		}
	}
}

// In a file with too many secrets to look for, snippets show nothing.
func TestManySecrets(t *testing.T) {
	t.Parallel()
	e, err := newEngine()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for i := range maxKnown + 10 {
		key := []byte(fakes()["github"])
		key[10], key[11], key[12] = byte('a'+i%26), byte('a'+i/26%26), byte('A'+i/676)
		b.WriteString("k = '" + string(key) + "'\n")
	}
	f := sources.Fragment{Raw: b.String(), FilePath: "x", StartLine: 1}
	found := e.detector.DetectContext(t.Context(), detect.Fragment(f)) //nolint:staticcheck // deprecated for v9, but the only way in v8
	if len(found) < maxKnown+10 {
		t.Fatalf("%d findings", len(found))
	}
	p := newPage(f, 0, found, &secrets{})
	for i := range found {
		if got := p.snippet(i); got != redacted {
			t.Fatalf("snippet %q", got)
		}
	}
}
