package config

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
	"github.com/hashicorp/go-version"
)

var sha256Hex = regexp.MustCompile(`^[0-9a-f]{64}$`)

// program checks what a plugin is made of, and what may be run as it.
func (c *checker) program(name string, p Plugin) {
	path := "plugin." + name + "."
	c.pin(name, p)
	if c.ok(path+"dir") && p.Dir != "" && !filepath.IsAbs(p.Dir) && !filepath.IsLocal(p.Dir) {
		c.bad(path+"dir", "Directory outside plugin_dir", "%sdir leads out of plugin_dir: write an absolute path if that is meant.", path)
	}
	if c.ok(path+"dir", path+"files") && p.Dir != "" && len(p.Files) == 0 {
		c.bad(path+"dir", "Setting without effect", "%sdir is the directory of files, and there are none.", path)
	}
	for i, f := range p.Files {
		if !filepath.IsLocal(f) || !doublestar.ValidatePattern(f) {
			c.badElement(path+"files", i, "Invalid pattern", "%sfiles must be patterns of paths inside dir, such as %q.", path, "lib/**")
		}
	}
	for i, v := range p.EnvPass {
		if !varName.MatchString(v) {
			c.badElement(path+"env_pass", i, "Invalid name", "%senv_pass must be names of environment variables.", path)
		}
	}
	if c.ok(path+"version") && p.Version != "" {
		if _, err := version.NewConstraint(p.Version); err != nil {
			c.bad(path+"version", "Invalid version constraint", "%sversion must be one such as %q or %q.", path, "~> 1.2", ">= 1.2, < 2.0")
		}
	}
}

// pin checks that only what the operator has seen is run.
func (c *checker) pin(name string, p Plugin) {
	path := "plugin." + name + ".sha256"
	switch {
	case !c.ok(path, "plugin."+name+".dev"):
	case p.SHA256 != "" && !sha256Hex.MatchString(p.SHA256):
		c.bad(path, "Invalid hash", "%s must be 64 hexadecimal digits in lower case: securetag plugin pin %s writes it.", path, name)
	case p.SHA256 != "" && p.Dev:
		c.bad("plugin."+name+".dev", "Conflicting settings", "plugin.%s.dev takes any executable, and sha256 only one: remove one of the two.", name)
	case p.SHA256 != "" || p.Dev || c.opts.Unpinned:
	case slices.Contains(c.opts.BuiltIn, name) && p.Command == name && len(p.Files) == 0:
	default:
		at, ok := c.w.blocks["plugin."+name]
		c.bad(path, "Plugin not pinned", "Plugin %q has no sha256, so nothing says which executable may run as it. When it is the one you mean, write it with: securetag plugin pin %s. While you are writing the plugin, set dev = true.", name, name)
		if d := c.diags[len(c.diags)-1]; ok {
			d.Subject = &at
			d.Detail = strings.TrimSuffix(d.Detail, " "+path+" has its default value.")
		}
	}
}
