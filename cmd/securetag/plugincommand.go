package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclparse"
	"github.com/spf13/pflag"
	"github.com/zclconf/go-cty/cty"
	ctyjson "github.com/zclconf/go-cty/cty/json"
)

// pluginFlags say how to start an executable that no configuration names.
type pluginFlags struct {
	env    []string
	config string
}

func (f *pluginFlags) add(fl *pflag.FlagSet) {
	fl.StringArrayVar(&f.env, "env", nil, "NAME=VALUE for the plugin's environment, or NAME to hand on this one's; it gets nothing else")
	fl.StringVar(&f.config, "config", "", "file with the plugin's settings: a JSON object, or HCL as in its config block")
}

// maxSettings is the largest file of settings that is read.
const maxSettings = 1 << 20

// pluginCommandLine finds the executable, and makes the files among its
// arguments absolute: the plugin does not start in this directory.
func pluginCommandLine(args []string) (command string, rest []string, err error) {
	command, err = exec.LookPath(args[0])
	if errors.Is(err, exec.ErrDot) {
		err = nil
	}
	if err == nil {
		command, err = filepath.Abs(command)
	}
	if err != nil {
		return "", nil, usageError{fmt.Errorf("find the plugin: %w", err)}
	}
	for _, a := range args[1:] {
		if info, err := os.Stat(a); err == nil && info.Mode().IsRegular() {
			if a, err = filepath.Abs(a); err != nil {
				return "", nil, fmt.Errorf("find the plugin's file %s: %w", a, err)
			}
		}
		rest = append(rest, a)
	}
	return command, rest, nil
}

func (p *program) pluginEnv(f pluginFlags) (map[string]string, error) {
	env := map[string]string{}
	for _, kv := range f.env {
		name, value, given := strings.Cut(kv, "=")
		if name == "" {
			return nil, usageError{fmt.Errorf("--env %q: write NAME=VALUE or NAME", kv)}
		}
		if !given {
			value = p.getenv(name)
		}
		env[name] = value
	}
	return env, nil
}

// settings reads the file with the plugin's settings; nil when none is named.
func (f pluginFlags) settings() (json.RawMessage, error) {
	if f.config == "" {
		return nil, nil
	}
	file, err := os.Open(f.config)
	if err != nil {
		return nil, usageError{fmt.Errorf("read the settings: %w", err)}
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxSettings+1))
	switch {
	case err != nil:
		return nil, usageError{fmt.Errorf("read the settings: %w", err)}
	case len(text) > maxSettings:
		return nil, usageError{fmt.Errorf("%s has more than %d bytes: it is no file of settings", f.config, maxSettings)}
	case strings.HasSuffix(f.config, ".json"):
		var object map[string]json.RawMessage
		if err := json.Unmarshal(text, &object); err != nil {
			return nil, usageError{fmt.Errorf("%s is not one JSON object: %w", f.config, err)}
		}
		return text, nil
	}
	return hclSettings(text, f.config)
}

// hclSettings reads attributes as they stand in a config block. There are no
// variables and no functions.
func hclSettings(text []byte, name string) (json.RawMessage, error) {
	file, diags := hclparse.NewParser().ParseHCL(text, name)
	if diags.HasErrors() {
		return nil, usageError{errors.New(firstOf(diags))}
	}
	attrs, diags := file.Body.JustAttributes()
	if diags.HasErrors() {
		return nil, usageError{fmt.Errorf("%s: write only what stands within the config block", firstOf(diags))}
	}
	values := map[string]cty.Value{}
	for attr, a := range attrs {
		v, diags := a.Expr.Value(nil)
		if diags.HasErrors() {
			return nil, usageError{errors.New(firstOf(diags))}
		}
		values[attr] = v
	}
	v := cty.ObjectVal(values)
	out, err := ctyjson.Marshal(v, v.Type())
	if err != nil {
		return nil, usageError{fmt.Errorf("%s cannot be written as JSON: %w", name, err)}
	}
	return out, nil
}

// firstOf is the first error, with its place.
func firstOf(diags hcl.Diagnostics) string { return diags.Errs()[0].Error() }
