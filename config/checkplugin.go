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
	c.read(path+"read", p)
	c.pluginEgress(name, p)
	if c.ok(path+"version") && p.Version != "" {
		if _, err := version.NewConstraint(p.Version); err != nil {
			c.bad(path+"version", "Invalid version constraint", "%sversion must be one such as %q or %q.", path, "~> 1.2", ">= 1.2, < 2.0")
		}
	}
}

// read checks what a plugin is shown beside what it has to see.
func (c *checker) read(path string, p Plugin) {
	if !c.ok(path) {
		return
	}
	for i, f := range p.Read {
		switch {
		case !filepath.IsAbs(f):
			c.badElement(path, i, "Relative path", "%s must be absolute paths, such as %q, and %.200q is none.", path, "/var/lib/rules", f)
		case f == "/":
			c.badElement(path, i, "Everything is shown", "%s has the root in it, and with that all that the sandbox keeps from the plugin: name what it needs.", path)
		case filepath.Clean(f) != f || strings.ContainsRune(f, 0):
			c.badElement(path, i, "Unclean path", "%s must be paths without %q, %q and doubled or trailing slashes: write %.200q.", path, ".", "..", filepath.Clean(f))
		case c.opts.Present != nil:
			if err := c.opts.Present(f); err != nil {
				c.badElement(path, i, "Path that is not there", "%s names %.200q, and the sandbox could not show it to the plugin: %v. Make it, or take it out of the list.", path, f, err)
			}
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
	case slices.Contains(c.opts.BuiltIn, p.Command) && len(p.Files) == 0:
	default:
		at, ok := c.w.blocks["plugin."+name]
		c.bad(path, "Plugin not pinned", "Plugin %q has no sha256, so nothing says which executable may run as it. When it is the one you mean, write it with: securetag plugin pin %s. While you are writing the plugin, set dev = true.", name, name)
		if d := c.diags[len(c.diags)-1]; ok {
			d.Subject = &at
			d.Detail = strings.TrimSuffix(d.Detail, " "+path+" has its default value.")
		}
	}
}
