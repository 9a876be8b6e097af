package main

import (
	"archive/zip"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/osv-scalibr/log"
	"go.uber.org/goleak"

	"github.com/securetaghq/securetag/sdk"
	"github.com/securetaghq/securetag/sdk/sdktest"
)

func TestMain(m *testing.M) {
	log.SetLogger(quiet{}) // as main does
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if dir, err := sampleDatabase(); err == nil {
			_ = os.RemoveAll(dir) // of the machine's temporary files
		}
		os.Exit(code)
	}))
}

// today is a few days after the newest advisory of the sample.
var today = time.Date(2024, 12, 10, 12, 0, 0, 0, time.UTC)

func atToday() time.Time { return today }

// sampleDatabase is made once of testdata/osv.
var sampleDatabase = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "dependencies-test-*")
	if err != nil {
		return "", err
	}
	_, err = update{from: "testdata/osv", to: dir, ecosystems: ecosystems, log: io.Discard}.run(context.Background())
	return dir, err
})

func sampleDir(t testing.TB) string {
	t.Helper()
	dir, err := sampleDatabase()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func scanApp(t testing.TB, req sdktest.Request) sdktest.Result {
	t.Helper()
	if req.Root != "" {
		root, err := filepath.Abs(req.Root)
		if err != nil {
			t.Fatal(err)
		}
		req.Root = root
	}
	return sdktest.Run(t, scanner(atToday), req)
}

// sbom is the one artifact of a result.
func sbom(t testing.TB, r sdktest.Result) []byte {
	t.Helper()
	if len(r.Artifacts) != 1 || r.Artifacts[0].MediaType != sbomType {
		t.Fatalf("artifacts %v", r.Artifacts)
	}
	return r.Artifacts[0].Data
}

func writeFiles(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// zipOf packs the JSON files of a directory, none where it is not there.
func zipOf(t testing.TB, dir string, w io.Writer) {
	t.Helper()
	z := zip.NewWriter(w)
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		f, err := z.Create(filepath.Base(path))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
}

func noted(r sdktest.Result, text string) bool {
	return strings.Contains(strings.Join(r.Notes, "\n"), text)
}

func TestSelftest(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	if code := sdk.Execute(t.Context(), scanner(atToday), []string{"selftest"}, &out, &out); code != 0 {
		t.Errorf("exit code %d\n%s", code, out.String())
	}
}
