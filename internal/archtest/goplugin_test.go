package archtest_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/hashicorp/go-version"
)

// Names of go-plugin that the host leaves alone, each a trap.
var goPluginTraps = map[string]string{
	"Managed":             "the list of managed clients only grows",
	"CleanupClients":      "it works once, and only for managed clients",
	"SecureConfig":        "it hashes a path and runs it later, and nothing where there is a runner: package catalog pins",
	"AutoMTLS":            "its certificates are P-521, which not every gRPC reads, and cost 30 ms; see decision 0002",
	"GRPCBrokerMultiplex": "only Go plugins can do it",
	"Reattach":            "it kills by the pid, which may be another's by then: attach.go dials",
	"Discover":            "what lies in a directory is not thereby wanted: the operator names plugins",
	"Ping":                "it has no deadline and ignores the answer: health.go asks",
}

// TestGoPluginTraps: nothing of the host uses what is a trap however it is used.
func TestGoPluginTraps(t *testing.T) {
	t.Parallel()
	read := 0
	for _, pattern := range []string{"../../host/executor/*.go", "../../host/executor/*/*.go", "../../cmd/securetag/*.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if strings.HasSuffix(f, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(token.NewFileSet(), f, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(file.Imports, func(i *ast.ImportSpec) bool {
				path, _ := strconv.Unquote(i.Path.Value)
				return path == "github.com/hashicorp/go-plugin"
			}) {
				continue
			}
			read++
			ast.Inspect(file, func(n ast.Node) bool {
				if id, ok := n.(*ast.Ident); ok && goPluginTraps[id.Name] != "" {
					t.Errorf("%s uses %s of go-plugin: %s", f, id.Name, goPluginTraps[id.Name])
				}
				return true
			})
		}
	}
	if read == 0 {
		t.Error("no file of the host uses go-plugin any more: this test is for nothing")
	}
}

// TestGRPCVersion: go-plugin asks for a gRPC with known holes.
func TestGRPCVersion(t *testing.T) {
	t.Parallel()
	mod, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`(?m)^\s*google\.golang\.org/grpc v(\S+)`).FindSubmatch(mod)
	if line == nil {
		t.Fatal("go.mod does not require google.golang.org/grpc")
	}
	if v, err := version.NewVersion(string(line[1])); err != nil || v.LessThan(version.Must(version.NewVersion("1.81.1"))) {
		t.Errorf("gRPC %s, %v; want 1.81.1 or later", line[1], err)
	}
}
