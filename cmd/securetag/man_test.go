package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// TestManual: each command has a page with its name, its flags and its text.
func TestManual(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "man1")
	var said bytes.Buffer
	if code := (&program{stdout: &said, stderr: &said, version: "1.2.3"}).run(t.Context(), []string{"man", dir}); code != 0 || said.Len() > 0 {
		t.Fatalf("exit code %d: %s", code, said.String())
	}
	var pages int
	var check func(*cobra.Command)
	check = func(cmd *cobra.Command) {
		if cmd.Hidden {
			return
		}
		pages++
		raw, err := os.ReadFile(filepath.Join(dir, strings.ReplaceAll(cmd.CommandPath(), " ", "-")+".1"))
		if err != nil {
			t.Error(err)
			return
		}
		page := strings.NewReplacer(`\`, "", "\n", " ").Replace(string(raw))
		want := strings.Fields(cmd.Short + " " + cmd.Long)
		cmd.NonInheritedFlags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden {
				want = append(append(want, "--"+f.Name), strings.Fields(f.Usage)...)
			}
		})
		for _, word := range want {
			if !strings.Contains(page, word) {
				t.Errorf("the page of %q does not have %q", cmd.CommandPath(), word)
			}
		}
		if !strings.Contains(page, "securetag 1.2.3") {
			t.Errorf("the page of %q does not say of which version it is", cmd.CommandPath())
		}
		for _, c := range cmd.Commands() {
			check(c)
		}
	}
	check((&program{}).rootCommand())
	if pages < 40 {
		t.Errorf("only %d commands were looked at", pages)
	}
	scan, err := os.ReadFile(filepath.Join(dir, "securetag-scan.1"))
	if err != nil || !strings.Contains(string(scan), "\n0    clean: ") || !strings.Contains(string(scan), "\n130  interrupted") {
		t.Errorf("the table of exit codes is no table: %v\n%s", err, scan)
	}
}

// TestManualIsRefused where there can be no directory.
func TestManualIsRefused(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	if code := (&program{stdout: &said, stderr: &said}).run(context.Background(), []string{"man", file}); code != 2 {
		t.Errorf("exit code %d, want 2: %s", code, said.String())
	}
}
