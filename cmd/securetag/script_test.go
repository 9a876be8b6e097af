package main

import (
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/securetaghq/securetag/host/executor/sandbox"
	"github.com/securetaghq/securetag/internal/testhost"
)

var update = flag.Bool("update", false, "write what the scripts compare with")

// TestMain makes the program itself a command of the scripts, with the built-in
// plugins where an installation has them: beside the executable.
func TestMain(m *testing.M) {
	sandbox.Main() // as main does: what the program starts again is this
	testscript.Main(withPlugins{m}, map[string]func(){"securetag": main})
}

type withPlugins struct{ m *testing.M }

func (w withPlugins) Run() int {
	program, err := exec.LookPath("securetag")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if err := untraced(filepath.Dir(program)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	plugins := filepath.Join(filepath.Dir(program), "plugins")
	for _, b := range []struct{ name, dir, pkg string }{
		{"secrets", "../../plugins/secrets", "."},
		{"dependencies", "../../plugins/dependencies", "."},
		{"iac", "../../plugins/iac", "."},
		{"gosec", "../../plugins/gosec", "."},
		{"web", "../../plugins/web", "."},
		{"sarif", "../../plugins/sarif", "."},
		{"noop", "../..", "./plugins/noop"},
		{"awskeys", "../..", "./examples/plugins/awskeys"},
		{"wrong", "../..", "./host/executor/conformance/internal/wrong"},
	} {
		if err := testhost.Build(b.dir, filepath.Join(plugins, b.name), b.pkg); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return w.m.Run()
}

// untraced puts beside the program the same one without the race detector, and
// below it a securetag for scripts that chooses between them: to start with the
// detector takes three times the CPU, which three hundred commands do that send
// one request or read a file. What does several things at once, or runs plugins, is
// traced.
func untraced(beside string) error {
	if err := testhost.Build("../..", filepath.Join(beside, "untraced"), "./cmd/securetag"); err != nil {
		return err
	}
	choose := "#!/bin/sh\n" +
		"case \" $* \" in\n" +
		"*' serve '* | *' scan '* | *' plugin '* | *' watch '* | *' login '*) exec '" + beside + "/securetag' \"$@\" ;;\n" +
		"esac\n" +
		"exec '" + beside + "/untraced' \"$@\"\n"
	if err := os.Mkdir(filepath.Join(beside, "scripts"), 0o750); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(beside, "scripts", "securetag"), []byte(choose), 0o700) //nolint:gosec // a program
}

// TestScript runs testdata/script. Beside the commands of testscript there are:
//
//	exit CODE COMMAND...          runs it and checks how it exits
//	start NAME COMMAND...         starts it, with its output in NAME.out and NAME.err
//	await FILE REGEXP [VARIABLE]  waits for a line, keeps its first group
//	signal INT|TERM|HUP NAME      signals what start started
//	ended NAME CODE               waits for its end and checks how it exits
//	plant DIR                     writes a project with three secrets
//	zip FILE DIR                  makes an archive
//	json FILE PATH WANT           checks a value: path.to.0.it, len for a length
//	scanned SERVER KEY STATE      waits until the tenant's one scan is in a state
//	fetched URL REGEXP [KEY]      waits until a GET answers with a line
//	parrot FILE VARIABLE          starts a site that repeats requests, and keeps them in the file
//	nowhere TEXT PATH...          fails when it is in a file there
//	[!] leftover DIR              fails when there is nothing in DIR
//
// $DEAD is the address of a server that is not there, $PLUGINS the directory of
// the built-in plugins, with an example and one that is wrong.
func TestScript(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       *update,
		Setup:               setup,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exit": exit, "start": start, "await": await, "signal": signalOne, "ended": ended,
			"plant": plant, "zip": zipDir, "json": jsonValue, "scanned": scanned, "fetched": fetched, "leftover": leftover,
			"parrot": parrot, "nowhere": nowhere,
		},
	})
}

func setup(env *testscript.Env) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	env.Setenv("DEAD", l.Addr().String())
	program, err := exec.LookPath("securetag")
	if err != nil {
		return err
	}
	env.Setenv("PLUGINS", filepath.Join(filepath.Dir(program), "plugins"))
	env.Setenv("PATH", filepath.Join(filepath.Dir(program), "scripts")+string(os.PathListSeparator)+env.Getenv("PATH"))
	// A path so short that plugin sockets fit below it, so that the scripts see
	// all that a scan leaves there.
	tmp, err := os.MkdirTemp("/tmp", "st-")
	if err != nil {
		return err
	}
	env.Defer(func() { _ = os.RemoveAll(tmp) })
	env.Setenv("TMPDIR", tmp)
	env.Setenv("GORACE", "atexit_sleep_ms=0") // a second less for each command
	env.Values[processesKey{}] = processes{}
	return l.Close()
}
