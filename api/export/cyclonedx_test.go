package export_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/api/export"
	"github.com/securetaghq/securetag/host"
)

const firstBOM = `{"bomFormat":"CycloneDX","specVersion":"1.5","serialNumber":"urn:uuid:3e671687-395b-41f5-a30f-a58921a69b79","version":1,
"metadata":{"component":{"bom-ref":"root","type":"application","name":"app"},"tools":{"components":[{"type":"application","name":"one"}]}},
"components":[{"bom-ref":"a","type":"library","name":"a\u202e"}],
"dependencies":[{"ref":"root","dependsOn":["a"]}],
"compositions":[{"aggregate":"complete","assemblies":["root"]}]}`

const secondBOM = `{"bomFormat":"CycloneDX","specVersion":"1.6","version":1,
"metadata":{"component":{"bom-ref":"root","type":"application","name":"app"}},
"components":[{"bom-ref":"a","type":"library","name":"b"}],
"vulnerabilities":[{"bom-ref":"v","id":"CVE-2021-44228","affects":[{"ref":"a"}]}]}`

func cyclone(t *testing.T, s client.Scan, boms ...export.BOM) map[string]any {
	t.Helper()
	var b bytes.Buffer
	if err := export.WriteCycloneDX(&b, s, "1.2.3", boms); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsRune(b.String(), '\u202e') {
		t.Error("a character that reorders text")
	}
	var doc map[string]any
	if err := json.Unmarshal(b.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

func TestMergedCycloneDX(t *testing.T) {
	t.Parallel()
	end := time.Date(2026, 11, 26, 9, 0, 0, 0, time.UTC)
	s := client.Scan{ID: "s", Project: "shop", State: client.StateSucceeded, FinishedAt: &end, Jobs: []client.Job{
		{Plugin: "one", State: client.StateSucceeded}, {Plugin: "two", State: client.StateSucceeded},
	}}
	got := cyclone(t, s, export.BOM{Plugin: "one", JSON: []byte(firstBOM)}, export.BOM{Plugin: "two", JSON: []byte(secondBOM)})
	var want map[string]any
	if err := json.Unmarshal([]byte(`{"$schema":"http://cyclonedx.org/schema/bom-1.6.schema.json","bomFormat":"CycloneDX","specVersion":"1.6","version":1,
"metadata":{"timestamp":"2026-11-26T09:00:00Z","component":{"bom-ref":"scan","type":"application","name":"shop"},
 "tools":{"components":[{"type":"application","name":"SecureTag","version":"1.2.3"},{"type":"application","name":"one"}]}},
"components":[{"bom-ref":"one-1:root","type":"application","name":"app"},{"bom-ref":"one-1:a","type":"library","name":"a\u202e"},
 {"bom-ref":"two-2:root","type":"application","name":"app"},{"bom-ref":"two-2:a","type":"library","name":"b"}],
"dependencies":[{"ref":"one-1:root","dependsOn":["one-1:a"]}],
"compositions":[{"aggregate":"complete","assemblies":["one-1:root"]}],
"vulnerabilities":[{"bom-ref":"two-2:v","id":"CVE-2021-44228","affects":[{"ref":"two-2:a"}]}]}`), &want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// A scan of which a part is missing has no document that looks whole.
func TestIncompleteCycloneDX(t *testing.T) {
	t.Parallel()
	s := client.Scan{ID: "s", State: client.StatePartial, Jobs: []client.Job{{Plugin: "one", State: client.StatePartial}}}
	for _, bom := range []string{firstBOM, `{"bomFormat":"CycloneDX","specVersion":"1.4","version":1}`} {
		got := cyclone(t, s, export.BOM{Plugin: "one", JSON: []byte(bom)})
		all := got["compositions"].([]any)
		last := all[len(all)-1].(map[string]any)
		root := got["metadata"].(map[string]any)["component"].(map[string]any)["bom-ref"]
		if last["aggregate"] != "incomplete" || last["assemblies"].([]any)[0] != root || got["serialNumber"] != nil {
			t.Errorf("%v", got)
		}
	}
}

func TestNoCycloneDX(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", "null", "[]", "{}", firstBOM + "{}", firstBOM[:100], strings.Repeat("[", 100_000),
		`{"bomFormat":"CycloneDX","specVersion":1}`, `{"bomFormat":"CycloneDX","specVersion":"1.6","components":{}}`,
		`{"bomFormat":"CycloneDX","specVersion":"1.6","metadata":[]}`,
	} {
		err := export.WriteCycloneDX(&bytes.Buffer{}, client.Scan{}, "1", []export.BOM{{Plugin: "one", JSON: []byte(text)}})
		if !errors.Is(err, host.ErrConflict) || !strings.Contains(err.Error(), "plugin one") {
			t.Errorf("%.40q: %v", text, err)
		}
	}
}

// FuzzCycloneDX: whatever jobs kept, there is a document or an error, and the
// document is JSON.
func FuzzCycloneDX(f *testing.F) {
	f.Add(firstBOM, secondBOM)
	f.Add(`{"bomFormat":"CycloneDX","specVersion":"1.6","metadata":{"component":3,"tools":[]},"components":[[["ref"]],{"ref":{"ref":"x"}}]}`, firstBOM)
	f.Fuzz(func(t *testing.T, one, two string) {
		var b bytes.Buffer
		s := client.Scan{ID: "s", Jobs: []client.Job{{Plugin: "one", State: client.StatePartial}}}
		err := export.WriteCycloneDX(&b, s, "1", []export.BOM{{Plugin: "one", JSON: []byte(one)}, {Plugin: "two", JSON: []byte(two)}})
		if err == nil && !json.Valid(b.Bytes()) {
			t.Errorf("%s", b.String())
		}
	})
}
