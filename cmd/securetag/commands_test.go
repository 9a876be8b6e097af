package main

import (
	"archive/zip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/securetaghq/securetag/api/client"
)

// patience is how long a script waits for anything: far longer than it takes,
// also on a machine that does ten other things.
const patience = time.Minute

// until polls: what scripts wait for happens in other processes.
func until(ts *testscript.TestScript, what string, done func() bool) {
	for deadline := time.Now().Add(patience); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			ts.Fatalf("waited a minute for %s", what)
		}
	}
}

func usage(ts *testscript.TestScript, neg, ok bool, text string) {
	if neg || !ok {
		ts.Fatalf("usage: %s", text)
	}
}

func exit(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, len(args) >= 2, "exit CODE COMMAND...")
	checkExit(ts, args[0], ts.Exec(args[1], args[2:]...))
}

func checkExit(ts *testscript.TestScript, want string, err error) {
	got := 0
	var failed *exec.ExitError
	switch {
	case errors.As(err, &failed):
		got = failed.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if strconv.Itoa(got) != want {
		ts.Fatalf("exit code %d, want %s", got, want)
	}
}

// processes are those that a script started, by name.
type processes map[string]*exec.Cmd

type processesKey struct{}

func process(ts *testscript.TestScript, name string) *exec.Cmd {
	cmd := ts.Value(processesKey{}).(processes)[name]
	if cmd == nil {
		ts.Fatalf("there is no process %q", name)
	}
	return cmd
}

func start(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, len(args) >= 2, "start NAME COMMAND...")
	cmd := exec.Command(args[1], args[2:]...)
	cmd.Dir = ts.MkAbs(".")
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "GORACE", "SECURETAG_SCAN__CODEAUDIT__PLUGINS"} {
		if v := ts.Getenv(name); v != "" {
			cmd.Env = append(cmd.Env, name+"="+v)
		}
	}
	stdout, err := os.Create(ts.MkAbs(args[0] + ".out"))
	ts.Check(err)
	defer stdout.Close()
	stderr, err := os.Create(ts.MkAbs(args[0] + ".err"))
	ts.Check(err)
	defer stderr.Close()
	cmd.Stdout, cmd.Stderr = stdout, stderr
	ts.Check(cmd.Start())
	ts.Value(processesKey{}).(processes)[args[0]] = cmd
	ts.Defer(func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
		ts.Logf("[%s]\n%s", args[0], readAll(stderr.Name()))
	})
}

func readAll(name string) string {
	b, _ := os.ReadFile(name)
	return string(b)
}

func await(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, len(args) == 2 || len(args) == 3, "await FILE REGEXP [VARIABLE]")
	re, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	var found []string
	until(ts, args[1]+" in "+args[0], func() bool {
		found = re.FindStringSubmatch(readAll(ts.MkAbs(args[0])))
		return found != nil
	})
	if len(args) == 3 {
		ts.Setenv(args[2], found[1])
	}
}

func signalOne(ts *testscript.TestScript, neg bool, args []string) {
	signals := map[string]os.Signal{"INT": syscall.SIGINT, "TERM": syscall.SIGTERM, "HUP": syscall.SIGHUP}
	usage(ts, neg, len(args) == 2 && signals[args[0]] != nil, "signal INT|TERM|HUP NAME")
	ts.Check(process(ts, args[1]).Process.Signal(signals[args[0]]))
}

func ended(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, len(args) == 2, "ended NAME CODE")
	cmd := process(ts, args[0])
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	select {
	case err := <-exited:
		checkExit(ts, args[1], err)
	case <-time.After(patience):
		_ = cmd.Process.Kill()
		err := <-exited
		ts.Fatalf("%s did not end within a minute: %v", args[0], err)
	}
}

// plant writes secrets that are put together here, so that none stands in this
// repository: two that gitleaks calls high or worse in app/, one in ignored/.
func plant(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, len(args) == 1, "plant DIR")
	for name, text := range map[string]string{
		"src/billing.py": "import stripe\n\nstripe.api_key = \"sk_live_" + "4eC39HqLyjWDarjtT1zdp7dc" + "ZX81Qw0b\"\n",
		"deploy/prod.env": "AWS_REGION=eu-central-1\n" +
			"AWS_ACCESS_KEY_ID=AKIA" + "Q3EGRIZ7" + "WT5KHJMN\n",
		"ignored/old.env": "GITHUB_TOKEN=ghp_" + "0Zk9mQ4rT8xW2vB7" + "nL5cY1hD6sF3jG0pK9aE\n",
	} {
		path := filepath.Join(ts.MkAbs(args[0]), name)
		ts.Check(os.MkdirAll(filepath.Dir(path), 0o755))
		ts.Check(os.WriteFile(path, []byte(text), 0o644))
	}
}

func zipDir(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, len(args) == 2, "zip FILE DIR")
	f, err := os.Create(ts.MkAbs(args[0]))
	ts.Check(err)
	w := zip.NewWriter(f)
	ts.Check(w.AddFS(os.DirFS(ts.MkAbs(args[1]))))
	ts.Check(errors.Join(w.Close(), f.Close()))
}

func jsonValue(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, len(args) == 3, "json FILE PATH WANT")
	var v any
	if err := json.Unmarshal([]byte(ts.ReadFile(args[0])), &v); err != nil {
		ts.Fatalf("%s is not JSON: %v", args[0], err)
	}
	for part := range strings.SplitSeq(args[1], ".") {
		switch in := v.(type) {
		case map[string]any:
			v = in[part]
		case []any:
			i, err := strconv.Atoi(part)
			switch {
			case part == "len":
				v = len(in)
			case err != nil || i >= len(in):
				ts.Fatalf("no %q in a list of %d", part, len(in))
			default:
				v = in[i]
			}
		default:
			ts.Fatalf("%q: nothing is below %v", part, v)
		}
	}
	got, ok := v.(string)
	if !ok {
		b, err := json.Marshal(v)
		ts.Check(err)
		got = string(b)
	}
	if got != args[2] {
		ts.Fatalf("%s = %s, want %s", args[1], got, args[2])
	}
}

func scanned(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, len(args) == 3, "scanned SERVER KEY STATE")
	c, err := client.New(args[0], args[1], client.Options{})
	ts.Check(err)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	until(ts, "a scan that is "+args[2], func() bool {
		page, err := c.Scans(ctx, client.ScansQuery{})
		ts.Check(err)
		if n := len(page.Items); n != 1 {
			ts.Fatalf("%d scans, want 1", n)
		}
		return string(page.Items[0].State) == args[2]
	})
}

func fetched(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, len(args) == 2 || len(args) == 3, "fetched URL REGEXP [KEY]")
	re, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	until(ts, args[1]+" at "+args[0], func() bool {
		req, err := http.NewRequest(http.MethodGet, args[0], nil)
		ts.Check(err)
		if len(args) == 3 {
			req.Header.Set("X-API-Key", args[2])
		}
		resp, err := http.DefaultClient.Do(req)
		ts.Check(err)
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		ts.Check(err)
		return re.Match(body)
	})
}

func leftover(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: [!] leftover DIR")
	}
	var names []string
	ts.Check(filepath.WalkDir(ts.MkAbs(args[0]), func(path string, _ fs.DirEntry, err error) error {
		names = append(names, path)
		return err
	}))
	if left := names[1:]; (len(left) > 0) == neg {
		ts.Fatalf("in %s: %v", args[0], left)
	}
}
