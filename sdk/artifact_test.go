package sdk_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/sdk"
	"github.com/securetaghq/securetag/sdk/proto/pluginv1"
)

func text(s string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.WriteString(w, s)
		return err
	}
}

func TestArtifacts(t *testing.T) {
	t.Parallel()
	var errs []error
	c := dial(t, newServer(t, scanner(func(_ context.Context, _ *struct{}, t *sdk.Target, out *sdk.Out) error {
		write := func(name, text string) {
			if err := os.WriteFile(filepath.Join(t.WorkDir(), name), []byte(text), 0o600); err != nil {
				errs = append(errs, err)
			}
		}
		write("report.json", "{}")
		if err := os.Symlink("/etc/passwd", filepath.Join(t.WorkDir(), "link")); err != nil {
			return err
		}
		if err := os.Symlink("report.json", filepath.Join(t.WorkDir(), "inner")); err != nil {
			return err
		}
		errs = append(errs, []error{
			out.Artifact("sbom.json", "application/json", text("1234")),
			out.ArtifactFile("raw.json", "", filepath.Join(t.WorkDir(), "report.json")),
			out.Artifact("sbom.json", "", text("again")),
			out.Artifact("../x", "", text("")),
			out.Artifact(strings.Repeat("ä", 129), "", text("")),
			out.Artifact("a\nb", "", text("")),
			out.Artifact("a", "application/json; charset=utf-8", text("")),
			out.Artifact("large", "", text("12345")),
			out.Artifact("broken", "", func(io.Writer) error { return errors.New("no power") }),
			out.ArtifactFile("b", "", "../report.json"),
			out.ArtifactFile("c", "", "link"),
			out.ArtifactFile("d", "", "inner"),
			out.ArtifactFile("e", "", "."),
			out.Artifact("last", "", text("x")),
			out.Artifact("one too many", "", text("")),
		}...)
		return nil
	})))
	configure(t, c, "")
	req := request("a", t.TempDir())
	req.WorkDir, req.Limits = t.TempDir(), &pluginv1.Limits{MaxArtifacts: 3, MaxArtifactsBytes: 10}
	stream, err := c.Scan(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	r, err := collect(stream)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"", "", "of that name already", "must be a file name", "must be a file name", "must be a file name", "media type",
		"at most 10B", "no power", "not in the work directory", "link on its path", "link on its path", "not a regular file", "", "at most 3"}
	if len(errs) != len(want) {
		t.Fatalf("%d answers, want %d: %v", len(errs), len(want), errs)
	}
	for i, err := range errs {
		if (err == nil) != (want[i] == "") || err != nil && !strings.Contains(err.Error(), want[i]) {
			t.Errorf("%d: %v, want %q", i, err, want[i])
		}
	}
	var got []string
	for _, ev := range r.all() {
		if a := ev.GetArtifact(); a != nil {
			got = append(got, a.Name+" "+a.MediaType+" "+a.Sha256[:8])
			if _, err := os.Stat(filepath.Join(req.WorkDir, a.Path)); err != nil {
				t.Error(err)
			}
		}
	}
	if diff := cmp.Diff([]string{"sbom.json application/json 03ac6742", "raw.json  44136fa3", "last  2d711642"}, got); diff != "" {
		t.Error(diff)
	}
	r.completed(t) // last
}
