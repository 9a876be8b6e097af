// Names that leave the directory they are unpacked into are errors of the
// readers themselves, before our own checks see them.
//
//go:debug zipinsecurepath=0
//go:debug tarinsecurepath=0

// Command securetag is the scanner host and its client: it serves the API, runs
// scans, and looks after tenants, keys, plugins and configuration.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/securetaghq/securetag/host/executor/sandbox"
	"github.com/securetaghq/securetag/host/redisstream"
)

// version and pluginSums are set by the linker. The sums are those of the plugins
// that were built with this program: "secrets=9f86…,noop=ba78…". A build without
// them is for development, and takes its built-in plugins as they are.
var (
	version    = "dev"
	pluginSums = "" //nolint:gochecknoglobals // set by the linker, like version, which the linter knows
)

func main() {
	sandbox.Main() // does not return when this process is to become a plugin
	tuneGC()
	redisstream.SilenceDriver()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C does not wait for what the first one began
	code := (&program{
		version: version, sums: parseSums(pluginSums),
		stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr,
		environ: os.Environ(),
	}).run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}
