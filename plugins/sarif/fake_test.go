package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// whole is a report with one result, by one rule, at a place that is put in.
func whole(target string) string {
	return `{"version": "2.1.0", "runs": [{"tool": {"driver": {"name": "fake", "rules": [
		{"id": "R1", "shortDescription": {"text": "Bad call"}, "properties": {"security-severity": "8.1", "tags": ["CWE-78"]}}]}},
		"results": [{"ruleId": "R1", "level": "error", "message": {"text": "bad"}, "locations": [
			{"physicalLocation": {"artifactLocation": {"uri": "` + target + `/a.c"}, "region": {"startLine": 2, "startColumn": 3}}}]}]}]}`
}

const clean = `{"version": "2.1.0", "runs": [{"tool": {"driver": {"name": "fake"}}, "results": []}]}`

// fakeSecret is put together, so that nobody takes this file for a leak.
var fakeSecret = "gh" + "p_q7Zt2Rk9Xw4Lp8Vb3Nc6Md1Hs5Jf0GyAx7zQ"

// printed are what the tool prints, whole, before it exits with 0.
var printed = map[string]string{
	"empty":          "",
	"white":          "  \n\t\n",
	"clean":          clean,
	"truncated":      clean[:len(clean)-3],
	"half a result":  whole("/x")[:300],
	"twice":          clean + clean,
	"words after":    clean + "\n1 problem found\n",
	"words before":   "scanning...\n" + clean,
	"other JSON":     `{"results": []}`,
	"list":           `[]`,
	"null":           `null`,
	"old version":    `{"version": "1.0.0", "runs": [{"results": []}]}`,
	"no runs":        `{"version": "2.1.0"}`,
	"empty runs":     `{"version": "2.1.0", "runs": []}`,
	"no results":     `{"version": "2.1.0", "runs": [{"tool": {"driver": {"name": "fake"}}}]}`,
	"results null":   `{"version": "2.1.0", "runs": [{"results": null}]}`,
	"wrong types":    `{"version": "2.1.0", "runs": [{"results": "none"}]}`,
	"unsuccessful":   `{"version": "2.1.0", "runs": [{"results": [], "invocations": [{"executionSuccessful": false, "exitSignalName": "SIGABRT"}]}]}`,
	"cut short":      strings.Replace(whole("."), `"results"`, `"invocations": [{"executionSuccessful": false}], "results"`, 1),
	"error":          `{"version": "2.1.0", "runs": [{"results": [], "invocations": [{"executionSuccessful": true, "toolExecutionNotifications": [{"level": "error", "message": {"text": "cannot parse a.c"}}]}]}]}`,
	"warning":        `{"version": "2.1.0", "runs": [{"results": [], "invocations": [{"executionSuccessful": true, "toolExecutionNotifications": [{"level": "warning", "message": {"text": "a.c took too long"}}]}]}]}`,
	"bad rule":       `{"version": "2.1.0", "runs": [{"results": [], "invocations": [{"executionSuccessful": true, "toolConfigurationNotifications": [{"level": "error", "message": {"text": "rule X is broken"}}]}]}]}`,
	"deep":           strings.Repeat("[", 20_000),
	"utf-16":         "\xff\xfe" + strings.Join(strings.Split(clean, ""), "\x00") + "\x00",
	"help":           "Usage: fake [options] DIR\n",
	"report of XML":  `<?xml version="1.0"?><results/>`,
	"another target": whole("/etc"),
}

// fakeTool is a tool that does as how says, and gives its exit code.
func fakeTool(how string, args []string) int {
	if text, ok := printed[how]; ok {
		fmt.Print(text)
		return 0
	}
	target, output := args[0], slices.Concat(args, []string{"", ""})[1]
	switch how {
	case "works":
		fmt.Print(whole(target))
	case "finds, exits 1":
		fmt.Print(whole(target))
		return 1
	case "exits 2":
		fmt.Print(clean)
		fmt.Fprintf(os.Stderr, "starting\nerror: no licence for %s\n", target)
		return 2
	case "mumbles":
		fmt.Print(whole(target))
		fmt.Fprintf(os.Stderr, "starting\n2 files in %s could not be parsed\n", target)
	case "crashes":
		fmt.Fprintf(os.Stderr, "Traceback (most recent call last):\n  File \"x.py\", line 3\nKeyError: 'rules'\n")
		return 1
	case "tells secrets":
		fmt.Fprintf(os.Stderr, "GET https://bob:hunter2@example.com/%s\npassword=hunter2hunter\nkey %s\nvalue %s\n", target, fakeSecret, os.Getenv("FAKE_VALUE"))
		return 3
	case "killed":
		fmt.Print(clean)
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		time.Sleep(time.Hour)
	case "killed in between":
		fmt.Print(clean[:40])
		_ = syscall.Kill(os.Getpid(), syscall.SIGTERM)
		time.Sleep(time.Hour)
	case "hangs":
		fmt.Print(clean)
		time.Sleep(time.Hour)
	case "waits":
		time.Sleep(time.Hour)
	case "leaves a child":
		return leaveChild(target)
	case "floods":
		for {
			if _, err := fmt.Println(strings.Repeat("x", 1<<16)); err != nil {
				return 0
			}
		}
	case "version":
		if args[0] == "--version" {
			fmt.Println("fake 1.2.3")
			return 0
		}
		fmt.Print(whole(target))
	case "environment":
		return tellEnvironment(target)
	default:
		return writeOutput(how, target, output)
	}
	return 0
}

// leaveChild ends while another process still has its standard output.
func leaveChild(target string) int {
	child := exec.Command(os.Args[0], target) //nolint:noctx // it is to outlive this process
	child.Env = []string{fakeEnv + "=waits"}
	child.Stdout = os.Stdout
	if err := child.Start(); err != nil {
		return 9
	}
	fmt.Print(whole(target))
	return 0
}

// tellEnvironment fails with all that it sees of the plugin's surroundings.
func tellEnvironment(target string) int {
	var names []string
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		names = append(names, name)
	}
	slices.Sort(names)
	dir, _ := os.Getwd()
	home, _ := os.ReadDir(os.Getenv("HOME"))
	inside := strings.HasPrefix(dir, target)
	in, _ := io.ReadAll(os.Stdin)
	fmt.Fprintf(os.Stderr, "%s; inside %v; home has %d, within %v; stdin %d\n", strings.Join(names, " "), inside, len(home), strings.HasPrefix(os.Getenv("HOME"), dir+"/"), len(in))
	return 9
}

// writeOutput puts something in the place of the report.
func writeOutput(how, target, output string) int {
	var err error
	switch how {
	case "writes":
		err = os.WriteFile(output, []byte(whole(target)), 0o600)
	case "writes its own":
		err = os.WriteFile(filepath.Join(output, "its_own.sarif"), []byte(whole(target)), 0o600)
	case "writes half":
		err = os.WriteFile(output, []byte(whole(target)[:200]), 0o600)
	case "writes nothing":
	case "writes empty":
		err = os.WriteFile(output, nil, 0o600)
	case "writes much":
		err = os.WriteFile(output, []byte(strings.Repeat(" ", 2<<20)+clean), 0o600)
	case "links":
		err = os.Symlink(filepath.Join(target, "clean.sarif"), output)
	case "pipe":
		err = syscall.Mkfifo(output, 0o600)
	case "directory":
		err = os.Mkdir(output, 0o700)
	default:
		return 99
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 98
	}
	fmt.Println("done")
	return 0
}
