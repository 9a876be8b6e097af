package api_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/api"
	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/host"
)

// reportOf is a log with a run of each tool.
func reportOf(tools ...string) string {
	var runs []string
	for _, t := range tools {
		runs = append(runs, `{"results":[],"tool":{"driver":{"name":"`+t+`"}}}`)
	}
	return `{"version":"2.1.0","runs":[` + strings.Join(runs, ",") + `]}`
}

func TestImport(t *testing.T) {
	t.Parallel()
	e := newEnv(t, api.Config{})
	c := e.client(t, "alice")
	if _, err := c.ImportSARIF(t.Context(), "shop", []byte(reportOf("x")), ""); status(err) != http.StatusNotFound {
		t.Errorf("into a project that is not there: %v", err)
	}
	if _, err := c.CreateProject(t.Context(), "shop", client.GatePolicy{}); err != nil {
		t.Fatal(err)
	}
	s, err := c.ImportSARIF(t.Context(), "shop", []byte("\ufeff"+reportOf("zap", "gosec", "zap")), "k")
	if err != nil || s.Type != "import" || s.Project != "shop" {
		t.Fatalf("%+v, %v", s, err)
	}
	if diff := cmp.Diff(`{"import":{"tools":["gosec","zap"]}}`, string(s.Options)); diff != "" {
		t.Error(diff)
	}
	again, err := c.ImportSARIF(t.Context(), "shop", []byte("\ufeff"+reportOf("zap", "gosec", "zap")), "k")
	if err != nil || again.ID != s.ID {
		t.Errorf("the same request again: %+v, %v", again, err)
	}
	if _, err := c.ImportSARIF(t.Context(), "shop", []byte(reportOf("zap")), "k"); status(err) != http.StatusUnprocessableEntity {
		t.Errorf("another with its key: %v", err)
	}
}

// TestImportRefused: what is no log is refused with its place, and nothing of it
// stays.
func TestImportRefused(t *testing.T) {
	t.Parallel()
	e := newEnvMax(t, api.Config{}, 64<<10)
	if _, err := e.client(t, "alice").CreateProject(t.Context(), "shop", client.GatePolicy{}); err != nil {
		t.Fatal(err)
	}
	run := `{"tool":{"driver":{"name":"x"}}}`
	for name, tt := range map[string]struct {
		body, media string
		status      int
		want        string
	}{
		"no JSON":         {"hello", "", 422, `"#"`},
		"empty":           {"", "", 422, "not JSON"},
		"cut off":         {reportOf("x")[:40], "", 422, "not JSON"},
		"twice":           {reportOf("x") + reportOf("x"), "", 422, "behind the log"},
		"list":            {"[]", "", 422, "must be an object"},
		"old":             {`{"version":"2.0.0","runs":[]}`, "", 422, `"#/version"`},
		"no version":      {`{"runs":[` + run + `]}`, "", 422, `"#/version"`},
		"no runs":         {`{"version":"2.1.0","runs":[]}`, "", 422, `"#/runs"`},
		"no tool":         {`{"version":"2.1.0","runs":[` + run + `,{"results":[]}]}`, "", 422, `"#/runs/1"`},
		"name no text":    {`{"version":"2.1.0","runs":[{"tool":{"driver":{"name":1}}}]}`, "", 422, `"#/runs/0/tool/driver/name"`},
		"name of NUL":     {reportOf(`a\u0000`), "", 422, "printable"},
		"half a pair":     {reportOf(`a\ud800`), "", 422, "printable"},
		"many runs":       {reportOf(strings.Split(strings.Repeat("x,", 20)+"x", ",")...), "", 422, "more than 20 runs"},
		"deep":            {`{"version":"2.1.0","x":` + strings.Repeat("[", 10_000), "", 422, "nested deeper"},
		"huge":            {`{"version":"2.1.0","x":"` + strings.Repeat("x", 64<<10) + `"}`, "", 413, "limit of 65536 bytes"},
		"of another type": {reportOf("x"), "text/plain", 415, "content type"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			media := tt.media
			if media == "" {
				media = "application/sarif+json"
			}
			resp, text := e.do(t, "alice", http.MethodPost, "/projects/shop/sarif", media, strings.NewReader(tt.body))
			if resp.StatusCode != tt.status || !strings.Contains(text, tt.want) {
				t.Errorf("%d, want %d with %s\n%s", resp.StatusCode, tt.status, tt.want, text)
			}
		})
	}
	t.Cleanup(func() {
		all, err := e.store.Scans(t.Context(), e.tenants["alice"], host.ScanQuery{Limit: 10})
		if err == nil && len(all) > 0 {
			t.Errorf("a refused log became a scan: %+v", all)
		}
	})
}

// FuzzReport: whatever is sent is refused with its place, or has a tool for the
// scan's options; and what is taken is JSON to its end.
func FuzzReport(f *testing.F) {
	for _, s := range []string{
		`{"version":"2.1.0","runs":[{"tool":{"driver":{"name":"semgrep"}},"results":[{"ruleId":"r"}]}]}`,
		"\ufeff" + `{"version":"2.1.0","runs":[{"tool":{"driver":{"name":"a"}}},{"tool":{"driver":{"name":"b"}}}]}`,
		`{"version":"2.1.0","runs":[{"tool":{"driver":{"name":"a"}}}],"runs":[{}]}`,
		`{"version":"2.1.0","runs":[{"tool":{"driver":{"name":"\ud800"}}}]}`, `{"runs":[]}`, `{"runs":{}}`, `[]`, `null`, ``, `{"version":"2.1.0"`,
		strings.Repeat(`{"a":`, 100), `{"version":"2.1.0","runs":[{"tool":{"driver":{"name":"a"}}}]} {}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, log []byte) {
		tools, err := api.LookAtReport(bytes.NewReader(log))
		if err != nil {
			return
		}
		if len(tools) == 0 || slices.Contains(tools, "") {
			t.Errorf("%q is taken, with the tools %q", log, tools)
		}
		if !json.Valid(bytes.TrimPrefix(log, []byte("\ufeff"))) {
			t.Errorf("%q is taken and is no JSON", log)
		}
	})
}
