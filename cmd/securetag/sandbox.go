package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/go-hclog"

	"github.com/securetaghq/securetag/config"
	"github.com/securetaghq/securetag/host/executor"
	"github.com/securetaghq/securetag/host/executor/sandbox"
)

// openSandbox finds out what this machine can do; main calls sandbox.Main, so
// this program can start itself as a shim, also after it was replaced on disk.
func openSandbox(log hclog.Logger) *sandbox.Sandbox {
	return sandbox.Open("/proc/self/exe", log.Named("sandbox"))
}

// confinement is how an executor confines plugins, and where their trees lie.
type confinement struct {
	sandbox         *sandbox.Sandbox
	slots, treeDirs []string
}

// confined is this host's.
func (n *node) confined() confinement {
	c := confinement{sandbox: openSandbox(n.log), treeDirs: []string{n.workspaces.disk.Dir()}}
	n.onClose(func() error { c.sandbox.Close(); return nil })
	// Run directories are on the disk's file system already, but for those of a
	// data directory whose path is too long.
	c.slots = append(c.slots, filepath.Join(n.workspaces.disk.Dir(), "run"))
	if m := n.workspaces.memory; m != nil {
		c.treeDirs = append(c.treeDirs, m.Dir())
		c.slots = append(c.slots, filepath.Join(m.Dir(), "run"))
	}
	n.confinement = c
	return c
}

// apply puts it into an executor's configuration.
func (c confinement) apply(ec *executor.Config, cfg config.Config) error {
	ec.Sandbox, ec.TreeDirs = c.sandbox, c.treeDirs
	if dir, err := filepath.Abs(cfg.DataDir); err == nil {
		ec.Hide = append(slices.Clone(c.treeDirs), dir)
	}
	for _, dir := range c.slots {
		if !onDataDisk(cfg.DataDir, ec.RunDir) || !onDataDisk(cfg.DataDir, dir) {
			ec.SlotDirs = append(ec.SlotDirs, dir)
		}
	}
	for i := range ec.Plugins {
		to, p := &ec.Plugins[i], cfg.Plugins[ec.Plugins[i].Name]
		to.Sandbox, to.Network, to.Read = executor.Confinement(p.Sandbox), p.Network == "host", p.Read
		to.Disk = int64(p.Limits.Disk)
		to.Limits = sandbox.Limits{
			Memory: int64(p.Limits.Memory), PIDs: p.Limits.PIDs, CPUs: p.Limits.CPUs,
			OpenFiles: p.Limits.OpenFiles, FileSize: int64(p.Limits.FileSize),
		}
		var err error
		if to.Egress, err = egressOf(p); err != nil {
			return fmt.Errorf("plugin %q: %w", to.Name, err)
		}
	}
	return nil
}

func onDataDisk(dataDir, dir string) bool {
	abs, err := filepath.Abs(dataDir)
	return err == nil && strings.HasPrefix(dir, abs+string(filepath.Separator))
}

// layers says for the metrics which layers there are; none where no plugin runs.
func (n *node) layers() map[string]bool {
	if n.confinement.sandbox == nil {
		return nil
	}
	given := map[string]bool{}
	for _, l := range sandbox.Layers() {
		given[string(l)] = n.confinement.sandbox.Support().Has(l)
	}
	return given
}
