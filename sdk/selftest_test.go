package sdk_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/securetaghq/securetag/sdk"
)

func TestSelftest(t *testing.T) {
	t.Parallel()
	type config struct {
		Token string    `required:"true" pattern:"^t"`
		Size  sdk.Bytes `default:"1MiB"`
	}
	for name, tt := range map[string]struct {
		change func(*sdk.Scanner[config])
		args   []string
		code   int
		want   []string
	}{
		"good":             {args: []string{"--config", `{"token":"t"}`}, want: []string{"✓ describes", "✓ takes", "✓ refuses", "✓ scans an empty tree", "✓ scans a tree with odd", "✓ ends within", "✓ scans on"}},
		"what is required": {code: 1, want: []string{`✗ takes the settings`, `"token" is required: give one that works`}},
		"wrong settings":   {args: []string{"--config", `{"token":"x"}`}, code: 1, want: []string{`"token" must match ^t`}},
		"usage":            {args: []string{"more"}, code: 2},
		"no title":         {change: func(s *sdk.Scanner[config]) { s.Rules = []sdk.Rule{{ID: "r1"}} }, code: 1, want: []string{"✗ describes", `rule "r1" has no Title`}},
		"fails": {change: func(s *sdk.Scanner[config]) {
			s.Scan = func(context.Context, *config, *sdk.Target, *sdk.Out) error { return errors.New("no\x1b luck") }
		}, args: []string{"--config", `{"token":"t"}`}, code: 1, want: []string{"✗ scans an empty tree\n    failed: no? luck"}},
		"panics": {change: func(s *sdk.Scanner[config]) {
			s.Scan = func(context.Context, *config, *sdk.Target, *sdk.Out) error { panic("boom") }
		}, args: []string{"--config", `{"token":"t"}`}, code: 1, want: []string{"the scanner panicked: boom"}},
		"outside": {change: func(s *sdk.Scanner[config]) {
			s.Scan = func(_ context.Context, _ *config, t *sdk.Target, out *sdk.Out) error {
				out.Finding("r1", sdk.Finding{At: sdk.Location{Path: t.Root()}})
				return nil
			}
		}, args: []string{"--config", `{"token":"t"}`}, code: 1, want: []string{"paths are relative to the root"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := scanner(func(ctx context.Context, _ *config, t *sdk.Target, out *sdk.Out) error {
				return t.EachLine(ctx, sdk.LineOptions{}, func(sdk.Line) {})
			})
			s.Description = "A test."
			if tt.change != nil {
				tt.change(&s)
			}
			var out bytes.Buffer
			code := sdk.Execute(t.Context(), s, append([]string{"selftest"}, tt.args...), &out, &out)
			if code != tt.code {
				t.Errorf("code %d, want %d", code, tt.code)
			}
			for _, want := range tt.want {
				if !strings.Contains(out.String(), want) {
					t.Errorf("%q is not in:\n%s", want, &out)
				}
			}
		})
	}
}
