package config

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/go-viper/mapstructure/v2"
	"github.com/hashicorp/hcl/v2"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"
)

// Options says where to look. The zero value reads ./securetag.hcl or
// /etc/securetag/securetag.hcl if there is one, and no variables or flags.
type Options struct {
	// Path of the file, or of a directory whose files *.hcl are read together. It
	// must exist. Empty: look in the usual places.
	Path string
	// Environ is the environment as "NAME=value", usually os.Environ().
	Environ []string
	// KnownEnv names variables that begin with EnvPrefix and are no settings.
	KnownEnv []string
	// Flags that AddFlag made; nil for none. Only those that were given count.
	Flags *pflag.FlagSet
	// Dir is the working directory. Default: the process's.
	Dir string
	// SkipDir does not look for a file in Dir: when Dir is what is scanned, a
	// file there is somebody else's and must not say which programs run.
	SkipDir bool
	// BuiltIn names the plugins that come with this program, which need no
	// sha256 while their command is the name alone, whatever the block is called.
	BuiltIn []string
	// Unpinned takes plugins without sha256 as well: for what writes it.
	Unpinned bool
	// Present looks whether a path that the configuration names is on this
	// machine; its error says why not. Default: nobody looks, since a configuration
	// may be checked on another machine than its own, and what is missing for one
	// plugin must not stop a host.
	Present func(path string) error
	// Executable is the path of this program, beside which the directory
	// plugins is. Default: os.Executable().
	Executable string
}

// FileName is what the file is called where Load looks for it, and SystemPath
// where it looks last.
const (
	FileName   = "securetag.hcl"
	SystemPath = "/etc/securetag/securetag.hcl"
)

// Loaded is a configuration that is valid as a whole.
type Loaded struct {
	Config Config
	// File is the path of the file or directory as it was given or found; empty:
	// none.
	File     string
	schema   *node
	origins  map[string]origin
	settings map[string]hcl.Range // of each one in the config block of a plugin
	literals map[string]bool      // those of them that are written out
	sources  map[string][]byte
	blocks   map[string]hcl.Range // of the file, by path
}

// origin is where a value comes from; the zero value is the default.
type origin struct {
	file      *hcl.Range
	env, flag string
}

// name is the origin as a noun.
func (o origin) name() string {
	switch {
	case o.flag != "":
		return "--" + o.flag
	case o.env != "":
		return o.env
	case o.file != nil:
		return fmt.Sprintf("%s:%d", o.file.Filename, o.file.Start.Line)
	default:
		return "default"
	}
}

// Source says where the value of a setting comes from: "default",
// "securetag.hcl:12", "env SECURETAG_SERVER__LISTEN" or "flag --listen".
func (l *Loaded) Source(path string) string {
	switch o := l.origins[path]; {
	case o.flag != "":
		return "flag " + o.name()
	case o.env != "":
		return "env " + o.name()
	default:
		return o.name()
	}
}

// Load reads and checks all layers. Its error is an [*Error] with every
// mistake of the operator's; only a fault of the machine gives another.
func Load(opts Options) (*Loaded, error) {
	if err := opts.fill(); err != nil {
		return nil, err
	}
	l := &loading{opts: opts, schema: newSchema(), fail: &Error{sources: map[string][]byte{}}}
	return l.run()
}

func (o *Options) fill() (err error) {
	if o.Dir == "" {
		if o.Dir, err = os.Getwd(); err != nil {
			return fmt.Errorf("find the working directory: %w", err)
		}
	}
	if o.Dir, err = filepath.Abs(o.Dir); err != nil {
		return fmt.Errorf("find the working directory: %w", err)
	}
	if o.Executable == "" {
		if o.Executable, err = os.Executable(); err != nil {
			return fmt.Errorf("find this executable: %w", err)
		}
	}
	return nil
}

// getenv looks a variable up for env().
func (o *Options) getenv(name string) (string, bool) {
	for _, kv := range o.Environ {
		if k, v, ok := strings.Cut(kv, "="); ok && k == name {
			return v, true
		}
	}
	return "", false
}

// inDir makes a path absolute.
func (o *Options) inDir(path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(o.Dir, path)
}

// loading is one Load on its way.
type loading struct {
	opts   Options
	schema *node
	fail   *Error
}

func (l *loading) run() (*Loaded, error) {
	name, files := l.read()
	if len(l.fail.Diagnostics) > 0 {
		return nil, l.fail
	}
	dir := l.opts.Dir
	if len(files) > 0 {
		dir = filepath.Dir(l.opts.inDir(files[0].name))
	}
	w := newWalker(l.schema, evalContext(dir, l.opts.getenv))
	file, whole := l.parse(files, w)
	if !whole { // what seems missing may be there
		return nil, l.fail
	}
	o := &overlay{schema: l.schema, origins: map[string]origin{}, broken: w.broken}
	for path, at := range w.places {
		o.origins[path] = origin{file: &at}
	}
	cfg, err := l.merge(file, o)
	if err != nil {
		return nil, err
	}
	l.report(o.diags)
	l.report(check(cfg, w, o, l.opts))
	if len(l.fail.Diagnostics) > 0 {
		return nil, l.fail
	}
	l.resolve(cfg, dir, o.origins)
	loaded := &Loaded{
		Config: *cfg, File: name, schema: l.schema, origins: o.origins, settings: w.settings, literals: w.literals, blocks: w.blocks, sources: l.fail.sources,
	}
	loaded.place()
	return loaded, nil
}

func (l *loading) report(diags hcl.Diagnostics) {
	l.fail.Diagnostics = append(l.fail.Diagnostics, diags...)
	sortDiagnostics(l.fail.Diagnostics)
}

// merge lays the layers over each other.
func (l *loading) merge(file map[string]any, o *overlay) (*Config, error) {
	defaults := l.schema.layer(reflect.ValueOf(Default()))
	newBlocks(defaults, file, l.schema)
	for _, p := range defaults["plugin"].(map[string]any) {
		p.(map[string]any)["places"], p.(map[string]any)["literals"] = map[string]any{}, map[string]any{} // no settings; see place
	}
	env, err := o.env(l.opts, l.schema.paths(defaults, ""))
	if err != nil {
		return nil, fmt.Errorf("read the environment: %w", err)
	}
	flags, err := o.flags(l.opts.Flags)
	if err != nil {
		return nil, fmt.Errorf("read the flags: %w", err)
	}
	k := koanf.New(".")
	for _, layer := range []map[string]any{defaults, file, env, flags} {
		if err := k.Load(confmap.Provider(layer, ""), nil); err != nil {
			return nil, fmt.Errorf("merge the configuration: %w", err)
		}
	}
	cfg := &Config{}
	err = k.UnmarshalWithConf("", cfg, koanf.UnmarshalConf{DecoderConfig: &mapstructure.DecoderConfig{
		Result: cfg, TagName: "koanf", ErrorUnused: true, ErrorUnset: true,
		DecodeHook: mapstructure.ComposeDecodeHookFunc(
			mapstructure.StringToTimeDurationHookFunc(), mapstructure.TextUnmarshallerHookFunc(), rawJSON),
	}})
	if err != nil {
		return nil, fmt.Errorf("decode the configuration: %w", err)
	}
	return cfg, nil
}

// rawJSON keeps the text of a free-form block as it is.
func rawJSON(from, to reflect.Type, v any) (any, error) {
	if from.Kind() == reflect.String && to == reflect.TypeFor[json.RawMessage]() {
		return json.RawMessage(v.(string)), nil
	}
	return v, nil
}

// resolve makes every path absolute: one from the file is relative to dir, where
// the file is, any other to the working directory, a command to plugin_dir.
func (l *loading) resolve(cfg *Config, dir string, from map[string]origin) {
	at := func(setting, path string) string {
		if from[setting].file != nil && !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		return l.opts.inDir(path)
	}
	cfg.DataDir = at("data_dir", cfg.DataDir)
	if cfg.PluginDir == "" {
		cfg.PluginDir = filepath.Join(filepath.Dir(l.opts.Executable), "plugins")
	}
	cfg.PluginDir = at("plugin_dir", cfg.PluginDir)
	for name, p := range cfg.Plugins {
		if !filepath.IsAbs(p.Command) {
			p.Command = filepath.Join(cfg.PluginDir, p.Command)
		}
		if len(p.Files) > 0 {
			p.Dir = cmp.Or(p.Dir, name)
		}
		if p.Dir != "" && !filepath.IsAbs(p.Dir) {
			p.Dir = filepath.Join(cfg.PluginDir, p.Dir)
		}
		p.Env = l.passed(p)
		cfg.Plugins[name] = p
	}
}

// passed is env with what the plugin inherits.
func (l *loading) passed(p Plugin) map[string]string {
	out := map[string]string{}
	for _, name := range p.EnvPass {
		if v, ok := l.opts.getenv(name); ok {
			out[name] = v
		}
	}
	maps.Copy(out, p.Env)
	return out
}
