package sdk_test

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/securetaghq/securetag/sdk"
)

// Run by hand, artifacts are listed, and copied where that is asked for.
func TestArtifactsByHand(t *testing.T) {
	t.Parallel()
	s := scanner(func(_ context.Context, _ *struct{}, _ *sdk.Target, out *sdk.Out) error {
		return out.Artifact("sbom.json", "application/json", func(w io.Writer) error {
			_, err := io.WriteString(w, "{}")
			return err
		})
	})
	var out bytes.Buffer
	if code := sdk.Execute(t.Context(), s, []string{"scan", t.TempDir()}, &out, &out); code != 0 || !strings.Contains(out.String(), "artifact sbom.json (application/json, 2 bytes)\n") {
		t.Errorf("code %d\n%s", code, &out)
	}
	dir := filepath.Join(t.TempDir(), "kept")
	code := sdk.Execute(t.Context(), s, []string{"scan", "--out", dir, t.TempDir()}, &out, &out)
	if text, err := os.ReadFile(filepath.Join(dir, "sbom.json")); code != 0 || err != nil || string(text) != "{}" {
		t.Errorf("code %d, %q, %v\n%s", code, text, err, &out)
	}
}

func TestNotApplicableByHand(t *testing.T) {
	t.Parallel()
	s := scanner(func(context.Context, *struct{}, *sdk.Target, *sdk.Out) error { return sdk.NotApplicable("no Go files") })
	var out bytes.Buffer
	if code := sdk.Execute(t.Context(), s, []string{"scan", t.TempDir()}, &out, &out); code != 0 || !strings.Contains(out.String(), "no Go files\n") {
		t.Errorf("code %d\n%s", code, &out)
	}
}
