package sdk_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/securetaghq/securetag/sdk"
	"github.com/securetaghq/securetag/sdk/sdktest"
)

// beTool is the test binary as a program that scanners run: what it does is in
// its first argument.
func beTool() {
	switch do := os.Args[1]; do {
	case "print": // a file
		text, err := os.ReadFile(os.Args[2])
		if err != nil {
			panic(err)
		}
		_, _ = os.Stdout.Write(text)
	case "copy":
		text, err := os.ReadFile(os.Args[2])
		if err == nil {
			err = os.WriteFile(os.Args[3], text, 0o600)
		}
		if err != nil {
			panic(err)
		}
	case "fail":
		fmt.Fprintln(os.Stderr, "first\nno licence\x1b found")
		os.Exit(3)
	case "environment":
		home, _ := os.ReadDir(os.Getenv("HOME") + "/tmp")
		wd, _ := os.Getwd()
		fmt.Println(len(home), wd, strings.Join(os.Environ(), " "))
	case "flood":
		for {
			fmt.Println(strings.Repeat("x", 1<<16))
		}
	case "leave", "hang": // a child that holds a pipe: its end tells of the child's
		child := exec.Command(os.Args[0], "sleep")
		child.Env, child.ExtraFiles = os.Environ(), []*os.File{os.NewFile(3, "")}
		if p := os.Args[2]; p != "" {
			w, err := os.OpenFile(p, os.O_WRONLY, 0)
			if err != nil {
				panic(err)
			}
			child.ExtraFiles[0] = w
		}
		if err := child.Start(); err != nil {
			panic(err)
		}
		if do == "leave" {
			return
		}
		time.Sleep(time.Hour)
	case "sleep":
		time.Sleep(time.Hour)
	}
}

func tool(c sdk.Command) sdk.Command {
	c.Args = append([]string{os.Args[0]}, c.Args...)
	c.Env = append(c.Env, roleEnv+"=tool")
	return c
}

// running is a scan that runs c; then gets what came of it.
func running(t *testing.T, c sdk.Command, then func(sdk.Ran, error)) sdktest.Result {
	t.Helper()
	s := scanner(func(ctx context.Context, _ *struct{}, t *sdk.Target, _ *sdk.Out) error {
		ran, err := t.Run(ctx, tool(c))
		then(ran, err)
		return nil
	})
	return sdktest.Scan(t, s, nil, "")
}

func TestCommandFails(t *testing.T) {
	t.Parallel()
	base := filepath.Base(os.Args[0])
	for name, tt := range map[string]struct {
		command sdk.Command
		want    string // "": no error
	}{
		"exit status":   {sdk.Command{Args: []string{"fail"}}, "run " + base + ": exit status 3: no licence\x1b found"},
		"accepted":      {sdk.Command{Args: []string{"fail"}, ExitCodes: []int{0, 3}}, ""},
		"zero is not":   {sdk.Command{Args: []string{"environment"}, ExitCodes: []int{1}}, "exit status 0"},
		"too much":      {sdk.Command{Args: []string{"flood"}, MaxOutput: 1 << 20}, "it printed more than 1MiB and was killed"},
		"too much kept": {sdk.Command{Args: []string{"flood"}, MaxOutput: 1 << 20, Stdout: io.Discard}, "it printed more than 1MiB"},
		"too long":      {sdk.Command{Args: []string{"sleep"}, Timeout: 50 * time.Millisecond}, "it took longer than 50ms and was killed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			running(t, tt.command, func(ran sdk.Ran, err error) {
				if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
					t.Errorf("%v, want %q", err, tt.want)
				}
				if len(ran.Stdout) > 1<<20 {
					t.Errorf("%d bytes were kept", len(ran.Stdout))
				}
			})
		})
	}
	if _, err := (&sdk.Target{}).Run(t.Context(), sdk.Command{Args: []string{"no-such-program"}}); !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("no such program: %v", err)
	}
}

// A command gets nothing of the plugin's environment, runs outside the tree, and
// has an empty home.
func TestCommandEnvironment(t *testing.T) {
	// Not parallel: it sets a variable.
	t.Setenv("SDK_TEST_SECRET", "hunter2")
	t.Setenv("SECURETAG_PROCESS", "mark")
	t.Setenv("GOMEMLIMIT", "1GiB")
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1") // the operator's own, which is the plugin's alone
	running(t, sdk.Command{Args: []string{"environment"}, Env: []string{"MORE=1"}}, func(ran sdk.Ran, err error) {
		out := string(ran.Stdout)
		if err != nil || strings.Contains(out, "hunter2") || strings.Contains(out, "HTTP_PROXY") || !strings.HasPrefix(out, "0 ") {
			t.Errorf("%q, %v", out, err)
		}
		for _, want := range []string{"MORE=1", "PATH=", "HOME=", "TMPDIR=", "SECURETAG_PROCESS=mark", "GOMEMLIMIT=1GiB"} {
			if !strings.Contains(out, want) {
				t.Errorf("no %s in %q", want, out)
			}
		}
	})
	// But where the host has the plugin go out by its proxy, so must the command.
	t.Setenv("SECURETAG_EGRESS_SOCKET", "/run/p/egress")
	t.Setenv("no_proxy", "")
	running(t, sdk.Command{Args: []string{"environment"}}, func(ran sdk.Ran, err error) {
		for _, want := range []string{"SECURETAG_EGRESS_SOCKET=/run/p/egress", "HTTP_PROXY=http://127.0.0.1:1", "no_proxy="} {
			if out := string(ran.Stdout); err != nil || !strings.Contains(out, want) {
				t.Errorf("no %s in %q, %v", want, out, err)
			}
		}
	})
}
