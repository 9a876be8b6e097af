package doctest_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"flag"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

//go:generate go test -run ^TestTypeScript$ -update .

var update = flag.Bool("update", false, "write the types of api/client-ts")

// TestTypeScript holds the client in api/client-ts to what a host serves: its
// types are those of the host's document, they fit the client and its tests, and
// the tests pass on the host. So does the example.
func TestTypeScript(t *testing.T) {
	t.Parallel()
	dir, err := filepath.Abs(filepath.Join(repository, "api", "client-ts"))
	if err != nil {
		t.Fatal(err)
	}
	do := func(stdin []byte, env []string, name string, args ...string) []byte {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Dir, cmd.Stdin, cmd.Env = dir, bytes.NewReader(stdin), append(os.Environ(), env...)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s %v: %v\n%s%s", name, args, err, out, &stderr)
		}
		return out
	}
	do(nil, nil, "sh", "../../scripts/kit-deps.sh", "node", "api/client-ts")
	h := startHost(t)

	types := do(document(t, h), nil, "node", "generate.mjs")
	schema := filepath.Join(dir, "src", "schema.ts")
	if *update {
		if err := os.WriteFile(schema, types, 0o644); err != nil { //nolint:gosec // it is no secret
			t.Fatal(err)
		}
	}
	committed, err := os.ReadFile(schema)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(committed), string(types)); diff != "" {
		t.Fatalf("api/client-ts/src/schema.ts is older than the API: run make generate (-committed +generated)\n%s", diff)
	}

	if err := os.RemoveAll(filepath.Join(dir, "dist")); err != nil { // of files that are gone
		t.Fatal(err)
	}
	do(nil, nil, "node", "node_modules/typescript/bin/tsc", "-p", ".")
	archive := filepath.Join(t.TempDir(), "a.tar.gz")
	if err := os.WriteFile(archive, twoSecrets(t), 0o600); err != nil {
		t.Fatal(err)
	}
	env := []string{"SECURETAG_SERVER_URL=" + h.url, "SECURETAG_API_KEY=" + h.key, "ARCHIVE=" + archive}
	do(nil, env, "node", "--test", "dist/test/")
	// Of two that are as bad, either may be found first.
	printed := slices.Sorted(strings.Lines(string(do(nil, env, "node", "dist/example.js", h.url, archive))))
	if diff := cmp.Diff([]string{"high aws-access-token a.ini:1\n", "high aws-access-token b.ini:1\n"}, printed); diff != "" {
		t.Errorf("the example prints (-want +got):\n%s", diff)
	}
}

// document is what the host says its API is.
func document(t *testing.T, h server) []byte {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, h.url+"/openapi.json", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var doc bytes.Buffer
	if _, err := doc.ReadFrom(resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %v", resp.Status, err)
	}
	return doc.Bytes()
}

// twoSecrets is an archive with one in each of two files.
func twoSecrets(t *testing.T) []byte {
	t.Helper()
	var out bytes.Buffer
	zw := gzip.NewWriter(&out)
	tw := tar.NewWriter(zw)
	text := "key = AKIA" + "Q3EGRIZ7WT5KHJMN\n"
	for name := range strings.FieldsSeq("a.ini b.ini") {
		err := tw.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(text))})
		if err == nil {
			_, err = tw.Write([]byte(text))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(tw.Close(), zw.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
