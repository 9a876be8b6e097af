package intake_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/intake"
)

// sealer shows what it was given.
type sealer struct{}

func (sealer) Seal(t host.TenantID, s host.ScanID, content []byte) []byte {
	return fmt.Appendf(nil, "%s %s %s", t, s, content)
}

func (sealer) Fingerprint(t host.TenantID, content []byte) []byte {
	return fmt.Appendf(nil, "%s %s", t, content)
}

func secretIntake(t *testing.T, s intake.Store, seal intake.Sealer) *intake.Intake {
	t.Helper()
	types := []intake.ScanType{
		{Name: "dast", Input: host.InputURL, Plugins: []string{"probe", "other"}, Timeout: time.Minute, Attempts: 1,
			Options: json.RawMessage(`{"properties":{"depth":{"type":"integer"},"headers":{"type":"string"}}}`)},
		{Name: "open", Input: host.InputURL, Plugins: []string{"other"}, Timeout: time.Minute, Attempts: 1},
		{Name: "new", Input: host.InputURL, Plugins: []string{"probe", "unknown"}, Timeout: time.Minute, Attempts: 1},
	}
	in, err := intake.New(s, nil, nil, types, func() {}, intake.Config{Sealer: seal, SecretOptions: func(_ context.Context, plugin string) ([]string, bool) {
		return map[string][]string{"probe": {"headers", "a/b"}}[plugin], plugin != "unknown"
	}}, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	return in
}

func TestSecrets(t *testing.T) {
	t.Parallel()
	tenant := host.NewTenantID()
	for name, tt := range map[string]struct {
		kind, options, secrets string
		names                  []string
		fields                 []string // that are refused
	}{
		"none":               {"dast", ``, ``, nil, nil},
		"null":               {"dast", ``, `null`, nil, nil},
		"empty":              {"dast", ``, `{}`, nil, nil},
		"one":                {"dast", `{"depth":1,"probe":{"x":1}}`, `{ "headers": {"a":"canary"} }`, []string{"headers"}, nil},
		"both":               {"dast", ``, `{"headers":{},"a/b":1}`, []string{"a/b", "headers"}, nil},
		"of a known plugin":  {"new", ``, `{"headers":{"a":"canary"}}`, []string{"headers"}, nil},
		"another's option":   {"dast", `{"other":{"headers":1}}`, ``, nil, nil},
		"shown":              {"dast", `{"probe":{"headers":"canary","a/b":"canary"}}`, ``, nil, []string{"options/probe/a~1b", "options/probe/headers"}},
		"shown and secret":   {"dast", `{"probe":{"headers":"canary"}}`, `{"headers":{}}`, nil, []string{"options/probe/headers"}},
		"shown of the type":  {"dast", `{"headers":"canary"}`, ``, nil, []string{"options/headers"}},
		"no secret":          {"dast", ``, `{"depth":"canary","headers":1}`, nil, []string{"secrets/depth"}},
		"by the plugin":      {"dast", ``, `{"probe":{"headers":"canary"}}`, nil, []string{"secrets/probe"}},
		"a type without any": {"open", ``, `{"headers":"canary"}`, nil, []string{"secrets/headers"}},
		"of an unknown one":  {"new", ``, `{"other":"canary"}`, nil, []string{"secrets/other"}},
		"no object":          {"dast", ``, `"canary"`, nil, []string{"secrets"}},
		"no JSON":            {"dast", ``, `{"headers":canary}`, nil, []string{"secrets"}},
		"too deep":           {"dast", ``, `{"headers":` + strings.Repeat(`{"canary":`, 9) + `1` + strings.Repeat("}", 10), nil, []string{"secrets"}},
		"too large":          {"dast", ``, `{"headers":"` + strings.Repeat("canary", 3000) + `"}`, nil, []string{"secrets"}},
	} {
		in := secretIntake(t, &keys{}, sealer{})
		scan, err := in.AcceptURL(t.Context(), intake.Request{Tenant: tenant, Type: tt.kind, Options: json.RawMessage(tt.options), Secrets: json.RawMessage(tt.secrets)}, "https://example.com/")
		var fields []string
		var refusal *intake.Refusal
		switch {
		case errors.As(err, &refusal) && errors.Is(err, host.ErrInvalid):
			fields = []string{refusal.Field}
			for i, f := range refusal.Faults {
				fields = append(fields[:i], f.Field)
			}
			if strings.Contains(fmt.Sprintf("%+v", *refusal), "canary") {
				t.Errorf("%s: the refusal repeats it: %+v", name, *refusal)
			}
		case err != nil:
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(tt.fields, fields); diff != "" {
			t.Errorf("%s: refused (-want +got):\n%s", name, diff)
		}
		if diff := cmp.Diff(tt.names, scan.SecretOptions); diff != "" {
			t.Errorf("%s: names (-want +got):\n%s", name, diff)
		}
		// What is refused of a whole request is refused of its parts, before the rest comes.
		if perr := in.CheckSecrets(t.Context(), tt.kind, json.RawMessage(tt.options), json.RawMessage(tt.secrets)); fmt.Sprint(perr) != fmt.Sprint(err) {
			t.Errorf("%s: checked alone: %v, accepted: %v", name, perr, err)
		}
		if strings.Contains(string(scan.Options), "canary") || (scan.Secrets != nil) != (tt.names != nil) {
			t.Errorf("%s: options %s, secrets %s", name, scan.Options, scan.Secrets)
		}
		if name == "one" && string(scan.Secrets) != fmt.Sprintf(`%s %s {"headers":{"a":"canary"}}`, tenant, scan.ID) {
			t.Errorf("sealed %s", scan.Secrets)
		}
	}
	if err := secretIntake(t, &keys{}, sealer{}).CheckSecrets(t.Context(), "nothing", nil, nil); !errors.Is(err, host.ErrNotFound) {
		t.Errorf("an unknown type: %v", err)
	}
	_, err := secretIntake(t, &keys{}, nil).AcceptURL(t.Context(), intake.Request{Tenant: tenant, Type: "dast", Secrets: json.RawMessage(`{"headers":1}`)}, "https://example.com/")
	if !errors.Is(err, host.ErrInvalid) {
		t.Errorf("without a key: %v", err)
	}
}

// TestSecretsOnce: the same request has the same secrets, however they are written.
func TestSecretsOnce(t *testing.T) {
	t.Parallel()
	in := secretIntake(t, &keys{known: map[[32]byte]*host.Earlier{}}, sealer{})
	req := request(host.NewTenantID(), "k")
	req.Type = "dast"
	for i, tt := range []struct {
		secrets string
		same    bool
	}{{`{"headers":{"a":"1","b":"2"}}`, true}, {` {"headers": {"b":"2","a":"1"}}`, true}, {`{"headers":{"a":"1"}}`, false}, {`{}`, false}, {``, false}} {
		req.Secrets = json.RawMessage(tt.secrets)
		_, replayed, err := asked(in.AcceptURL(t.Context(), req, "https://example.com/"))
		if (err == nil) != tt.same || replayed != (tt.same && i > 0) {
			t.Errorf("%s: replayed %t, %v", tt.secrets, replayed, err)
		}
	}
}
