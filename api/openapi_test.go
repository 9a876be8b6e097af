package api_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/securetaghq/securetag/api"
	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/intake"
)

//go:generate go test -run ^(TestProblemPages|TestCommittedDocument)$ -update .

var update = flag.Bool("update", false, "write problems.json and openapi.json")

// committed compares a file with what it is made of.
func committed(t *testing.T, path string, want []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, want, 0o644); err != nil { //nolint:gosec // it is no secret
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
		t.Errorf("api/%s is not what it is made of: run go generate ./api (%v)", path, err)
	}
}

// problemRow is what hosts show of a problem.
type problemRow struct {
	Code   string `json:"code"`
	Status string `json:"status"`
	Means  string `json:"means"`
	Do     string `json:"do,omitempty"`
}

var markdownLink = regexp.MustCompile(`\[([^]]*)\]\([^)]*\)`)

// problemRows reads the tables below Problems of docs/api.md; that they have every
// code, and no other, is a test of internal/doctest.
func problemRows(t *testing.T) (all []problemRow) {
	t.Helper()
	page, err := os.ReadFile("../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "\n## Problems\n")
	section, _, _ = strings.Cut(section, "\n## ")
	for line := range strings.Lines(section) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) < 3 || !strings.HasPrefix(line, "| `") || strings.Contains(cells[0], "`code`") {
			continue
		}
		for i, c := range cells {
			cells[i] = strings.ReplaceAll(markdownLink.ReplaceAllString(strings.TrimSpace(c), "$1"), "`", "")
		}
		row := problemRow{Code: cells[0], Status: cells[1], Means: cells[2]}
		if len(cells) > 3 {
			row.Do = cells[3]
		} else {
			row.Means = "the archive " + row.Means
		}
		all = append(all, row)
	}
	if len(all) < 20 {
		t.Fatalf("only %d problems are on the page", len(all))
	}
	slices.SortFunc(all, func(a, b problemRow) int { return strings.Compare(a.Code, b.Code) })
	return all
}

// TestProblemPages: hosts show what docs/api.md says of each problem, at the path
// of its type.
func TestProblemPages(t *testing.T) {
	t.Parallel()
	var want bytes.Buffer
	enc := json.NewEncoder(&want)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	rows := problemRows(t)
	if err := enc.Encode(rows); err != nil {
		t.Fatal(err)
	}
	committed(t, "problems.json", want.Bytes())
	if *update {
		return // this program has the file as it was
	}
	e := newEnv(t, api.Config{})
	for _, row := range rows {
		resp, body := e.ask(t, http.MethodGet, "/problems/"+row.Code, nil, "")
		if resp.StatusCode != http.StatusOK || !strings.Contains(body, row.Code) || !strings.Contains(body, row.Status) {
			t.Errorf("the page of %s: status %d", row.Code, resp.StatusCode)
		}
	}
	if resp, body := e.ask(t, http.MethodGet, "/problems/nothing", nil, ""); problem(t, resp, body).Status != http.StatusNotFound {
		t.Errorf("the page of no problem: %s", body)
	}
}

// TestPages: what is served to people loads nothing and runs nothing, and shows
// every operation.
func TestPages(t *testing.T) {
	t.Parallel()
	e := newEnv(t, api.Config{})
	for _, path := range []string{"/docs", "/problems", "/problems/invalid"} {
		resp, body := e.ask(t, http.MethodGet, path, nil, "")
		policy := resp.Header.Get("Content-Security-Policy")
		if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/html; charset=utf-8" || !strings.HasPrefix(policy, "default-src 'none'; style-src 'sha256-") {
			t.Errorf("%s: status %d, %v", path, resp.StatusCode, resp.Header)
		}
		for _, bad := range []string{"<script", "src=", "http://", "https://", "<link", "@import", "style=", "onclick", "ZgotmplZ"} {
			if i := strings.Index(body, bad); i >= 0 {
				t.Errorf("%s holds %s: %.80s", path, bad, body[i:])
			}
		}
	}
	_, body := e.ask(t, http.MethodGet, "/docs", nil, "")
	for path, methods := range routes(t, e) {
		if !strings.Contains(body, "<code>"+path+"</code>") {
			t.Errorf("/docs does not show %v %s", methods, path)
		}
	}
	if strings.Count(body, "<h3 id=\"schema-") < 10 {
		t.Error("/docs shows no schemas")
	}
}

// saysWhere checks that whatever is made, or goes on when it was answered, says
// where it is. Keys are only in lists: one by itself has no address to read.
func saysWhere(t *testing.T, doc *openAPI) {
	t.Helper()
	for path, methods := range doc.raw["paths"].(map[string]any) {
		for method, raw := range methods.(map[string]any) {
			op, ok := raw.(map[string]any)
			if !ok || strings.Contains(path, "/keys") {
				continue
			}
			for _, status := range []string{"201", "202"} {
				answer, ok := op["responses"].(map[string]any)[status].(map[string]any)
				if headers, _ := answer["headers"].(map[string]any); ok && headers["Location"] == nil {
					t.Errorf("%s %s answers %s without Location", method, path, status)
				}
			}
		}
	}
}

// TestCommittedDocument: what a host with the scan types that come with SecureTag
// serves is committed, for people who make clients and for the tools that hold
// it to api/openapi.v1.json.
func TestCommittedDocument(t *testing.T) {
	t.Parallel()
	e := newEnv(t, api.Config{})
	types := []intake.ScanType{
		{Name: "codeaudit", Input: host.InputArchive, Plugins: []string{"secrets"}, Timeout: time.Hour, Attempts: 3},
		{Name: "web", Input: host.InputURL, Timeout: time.Hour, Attempts: 3},
	}
	in, err := intake.New(e.store, nil, checkZip, types, func() {}, intake.Config{MaxArchive: 50 << 20}, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	deps := e.deps
	deps.Intake = in
	served, err := api.New(deps, api.Config{Version: "1"})
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	served.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/openapi.json", nil))
	var want bytes.Buffer
	if err := json.Indent(&want, w.Body.Bytes(), "", " "); err != nil {
		t.Fatal(err)
	}
	want.WriteByte('\n')
	committed(t, "openapi.json", want.Bytes())

	doc := loadDoc(t, served)
	saysWhere(t, doc)
	for name, schema := range doc.raw["components"].(map[string]any)["schemas"].(map[string]any) {
		shown, _ := schema.(map[string]any)["examples"].([]any)
		for _, example := range shown {
			compiled, err := doc.compile("#/components/schemas/" + name)
			if err != nil {
				t.Fatal(err)
			}
			if err := compiled.Validate(example); err != nil {
				t.Errorf("the example of %s: %v", name, err)
			}
		}
	}
}
