package sdktest_test

import (
	"context"
	"errors"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/sdk"
	"github.com/securetaghq/securetag/sdk/proto/pluginv1"
	"github.com/securetaghq/securetag/sdk/sdktest"
)

type config struct {
	Word string `default:"TODO" pattern:"^[A-Z]+$"`
}

func todos() sdk.Scanner[config] {
	return sdk.Scanner[config]{
		Name: "todos", Version: "0.1.0", Consumes: []sdk.Input{sdk.Tree},
		Rules: []sdk.Rule{{ID: "todo", Title: "Left to do", Severity: sdk.Info}},
		Scan: func(ctx context.Context, c *config, t *sdk.Target, out *sdk.Out) error {
			return t.EachLine(ctx, sdk.LineOptions{}, func(l sdk.Line) {
				if l.Text == c.Word {
					out.Finding("todo", sdk.Finding{Message: "left to do", At: l.At(0, len(l.Text))})
				}
			})
		},
	}
}

// An author's test is this long.
func TestTodos(t *testing.T) {
	t.Parallel()
	r := sdktest.Scan(t, todos(), map[string]string{"b.go": "TODO\n", "a/a.go": "x\nTODO\n"}, "")
	if diff := cmp.Diff([]string{"a/a.go:2:1 todo", "b.go:1:1 todo"}, r.Places()); diff != "" {
		t.Error(diff)
	}
	if r.Status != sdktest.Succeeded || r.Files != 2 || r.Findings[0].Severity != sdk.Info {
		t.Errorf("result %+v", r)
	}
	if r := sdktest.Scan(t, todos(), nil, `{"word": "lower"}`); r.Status != sdktest.Refused || r.Reason != `"word" must match ^[A-Z]+$` {
		t.Errorf("wrong settings: %+v", r)
	}
}

func TestEndings(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		scan func(context.Context, *sdk.Out) error
		want sdktest.Result
	}{
		"not applicable": {func(context.Context, *sdk.Out) error { return sdk.NotApplicable("no Go files") },
			sdktest.Result{Status: sdktest.NotApplicable, Reason: "no Go files"}},
		"refused": {func(context.Context, *sdk.Out) error { return sdk.Refuse(errors.New("not this")) },
			sdktest.Result{Status: sdktest.Refused, Reason: "not this"}},
		"retryable": {func(context.Context, *sdk.Out) error { return sdk.Retryable(errors.New("busy")) },
			sdktest.Result{Status: sdktest.Failed, Reason: "busy", Retryable: true}},
		"cancelled": {func(ctx context.Context, _ *sdk.Out) error { <-ctx.Done(); return nil },
			sdktest.Result{Status: sdktest.Canceled, Reason: "cancelled: the test"}},
		"kept": {func(_ context.Context, out *sdk.Out) error {
			out.Note(sdk.Note{Path: "a", Summary: "odd"})
			out.Partial("half")
			return out.Artifact("a.txt", "text/plain", func(w io.Writer) error {
				_, err := io.WriteString(w, "text")
				return err
			})
		}, sdktest.Result{Status: sdktest.Partial, Reason: "half", Notes: []string{"a: odd"},
			Artifacts: []sdktest.Artifact{{Name: "a.txt", MediaType: "text/plain", Data: []byte("text")}}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := todos()
			s.Scan = func(ctx context.Context, _ *config, _ *sdk.Target, out *sdk.Out) error { return tt.scan(ctx, out) }
			req := sdktest.Request{}
			if name == "cancelled" {
				req.CancelAt = func(ev *pluginv1.ScanEvent) bool { return ev.GetProgress() != nil }
			}
			if diff := cmp.Diff(tt.want, sdktest.Run(t, s, req)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
