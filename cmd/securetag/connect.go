package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"github.com/securetaghq/securetag/api"
	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/config"
	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/workspace"
)

// connection is a client of the server, or of a host in this process.
type connection struct {
	client    *client.Client
	close     func() error // ends that host and removes what it kept
	pluginDir string       // where it looks for plugins; "": a server, whose business that is
}

// connect makes one. giveUp ends ctx when the host in this process ends first.
func (p *program) connect(ctx context.Context, cmd *cobra.Command, f scanFlags, logs io.Writer, giveUp context.CancelCauseFunc) (*connection, error) {
	if f.local {
		return p.connectEmbedded(ctx, cmd, f, logs, giveUp)
	}
	on, err := p.resolve(ctx, f.on)
	if err != nil {
		return nil, err
	}
	if on.server == "" {
		return p.connectEmbedded(ctx, cmd, f, logs, giveUp)
	}
	if first(f.on.server, p.getenv(envServer)) == "" && !f.quiet {
		fmt.Fprintf(p.stderr, "Scanning on %s, as logged in; --local scans here.\n", on.server)
	}
	c, err := p.dial(ctx, on)
	if err != nil {
		return nil, err
	}
	return &connection{client: c, close: func() error { return nil }}, nil
}

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

// connectEmbedded starts a whole host for one scan, on a temporary directory
// and a loopback port, with the plugins of the configuration that --config names
// or the machine has.
func (p *program) connectEmbedded(ctx context.Context, cmd *cobra.Command, f scanFlags, logs io.Writer, giveUp context.CancelCauseFunc) (*connection, error) {
	// People scan what others wrote, from inside it: a securetag.hcl that lies
	// there must not choose the plugins, which are programs that run here.
	opts := p.configOptions(cmd)
	opts.SkipDir = true
	loaded, err := p.loadWith(opts)
	if err != nil {
		return nil, err
	}
	if err := checkScanType(loaded.Config.Scans, f.kind, f.url); err != nil {
		return nil, usageError{err}
	}
	dir, err := os.MkdirTemp("", "securetag-scan-")
	if err != nil {
		return nil, fmt.Errorf("make a temporary directory: %w", err)
	}
	remove := func() error { return os.RemoveAll(dir) }
	log := hclog.New(&hclog.LoggerOptions{Name: "securetag", Level: hclog.Error, Output: logs})
	n, err := openNode(ctx, forOneScan(loaded.Config, dir), purpose{archives: ownLimits()}, p.version, log)
	if err != nil {
		return nil, errors.Join(err, remove())
	}
	key, err := createTenantKey(ctx, n.store, "local", "scan")
	if err != nil {
		return nil, errors.Join(err, n.close(), remove())
	}
	// The host outlives an interrupt, so that the scan can still be canceled.
	runCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	go func() {
		err := n.run(runCtx)
		if err != nil && runCtx.Err() == nil { // nobody serves any more, and requests would wait for ever
			giveUp(fmt.Errorf("%w: %w", errHostEnded, err))
		}
		ended <- err
	}()
	stop := func() error {
		cancel()
		return errors.Join(<-ended, n.close(), remove())
	}
	c, err := client.New(n.url(), key, client.Options{MinWait: 20 * time.Millisecond, MaxWait: 500 * time.Millisecond, IgnoreRetryAfter: true})
	if err != nil {
		return nil, errors.Join(err, stop())
	}
	return &connection{c, stop, loaded.Config.PluginDir}, nil
}

// checkScanType says what the host would refuse only after the upload.
func checkScanType(scans map[string]config.Scan, kind string, url bool) error {
	input, other := host.InputArchive, "takes URLs, not archives"
	if url {
		input, other = host.InputURL, "takes archives, not URLs"
	}
	var fit []string
	for _, name := range slices.Sorted(maps.Keys(scans)) {
		if scans[name].Input == string(input) && name != api.ImportType {
			fit = append(fit, name)
		}
	}
	s, ok := scans[kind]
	switch {
	case !ok:
		return fmt.Errorf("there is no scan type %q: there is %s", kind, strings.Join(fit, ", "))
	case !slices.Contains(fit, kind):
		return fmt.Errorf("scan type %q %s: there is %s", kind, other, strings.Join(fit, ", "))
	case len(s.Plugins) == 0:
		return fmt.Errorf("scan type %q has no plugins: name some in securetag.hcl, in scan %q", kind, kind)
	}
	return nil
}

// forOneScan is the configuration of a host that scans for its own user:
// nothing is kept and nobody else reaches it.
func forOneScan(cfg config.Config, dir string) config.Config {
	cfg.DataDir = dir
	cfg.Database, cfg.Redis = config.Default().Database, config.Default().Redis
	cfg.Server.Role, cfg.Server.Listen = config.RoleAll, "127.0.0.1:0"
	cfg.Limits.ArchiveSize, cfg.Limits.UnpackedSize = 64*config.GiB, 256*config.GiB // see ownLimits
	cfg.Plans = config.Default().Plans
	cfg.Retention.Scans, cfg.Retention.Archives = 0, 0 // all of it goes when the scan has ended
	cfg.Telemetry = config.Default().Telemetry
	return unlimitedRates(cfg)
}

// ownLimits guard a user against accidents, not against strangers.
func ownLimits() workspace.Limits {
	return workspace.Limits{
		UnpackedBytes: 256 << 30, FileBytes: 64 << 30, Entries: 5_000_000,
		DeflateRatio: 1 << 20, ZstdRatio: 1 << 20, DirectoryBytes: 1 << 30, Time: time.Hour,
	}
}
