package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"

	"github.com/securetaghq/securetag/sdk/proto/pluginv1"
)

// noSuchSetting is declared by no plugin.
const noSuchSetting = "securetag_no_such_setting"

func configureChecks() []check {
	const answer = "Answer with a diagnostic of severity ERROR whose attribute_path names the setting, not with a gRPC error."
	return []check{
		must("configure.defaults", described, "It takes its settings: those that were given, with defaults for the rest",
			"Every setting that is not required must have a usable default. When it needs settings, give them with --config.",
			contract("Configure"), func(k *kit, _ context.Context) outcome {
				if k.configErr != nil {
					return failed("%v", k.configErr)
				}
				return pass()
			}),
		must("configure.unknown-attribute", configured, "A setting that is not declared is refused by name",
			answer, contract("Configure, Diagnostic.attribute_path"), (*kit).refusesUnknown),
		must("configure.wrong-type", configured, "A setting of the wrong type is refused by name",
			answer, contract("Attribute.type"), refuses(wrongTypes, "no settings are declared")),
		must("configure.required", configured, "A required setting that is missing is refused by name",
			answer, contract("Attribute.required"), (*kit).refusesMissing),
		must("configure.range", configured, "A number out of range is refused by name",
			answer, contract("Attribute.min, Attribute.max"), refuses(outOfRange, "no setting has a min or max")),
		must("configure.one-of", configured, "A value that is not one of those allowed is refused by name",
			answer, contract("Attribute.one_of"), refuses(notOneOf, "no setting has one_of")),
		must("configure.pattern", configured, "A text that does not match the pattern is refused by name",
			answer, contract("Attribute.pattern"), refuses(notMatching, "no setting has a pattern")),
		must("configure.not-an-object", configured, "Settings that are not one JSON object are refused",
			"Answer with a diagnostic of severity ERROR, not with a gRPC error, a crash or a good word.",
			contract("ConfigureRequest.config_json"), (*kit).refusesNonsense),
		must("configure.validate-only", configured, "validate_only checks the same and keeps nothing",
			"With validate_only check the settings as always, and return before you keep anything.",
			contract("ConfigureRequest.validate_only"), (*kit).validatesOnly),
		must("configure.twice", configured, "Configure may be called again: the last success counts",
			"Check new settings first, and put them in the place of the old ones only when they are good.",
			contract("Configure"), (*kit).configuresTwice),
	}
}

// settings are the author's, and for required ones that are missing a value
// made up from the schema.
func (k *kit) settings() ([]byte, error) {
	given := map[string]any{}
	if len(k.plugin.Config) > 0 {
		if err := json.Unmarshal(k.plugin.Config, &given); err != nil {
			return nil, fmt.Errorf("the settings are not a JSON object: %w", err)
		}
	}
	for _, a := range k.desc.GetConfigSchema().GetAttributes() {
		if _, there := given[a.GetName()]; there || !a.GetRequired() {
			continue
		}
		v, ok := goodValue(a)
		if !ok {
			return nil, fmt.Errorf("the setting %q is required: give it with --config", a.GetName())
		}
		given[a.GetName()] = v
	}
	return json.Marshal(given)
}

// with is the settings in use with one other value.
func (k *kit) with(name string, v any) []byte {
	var m map[string]any
	_ = json.Unmarshal(k.config, &m) // it was made by Marshal
	m = maps.Clone(m)
	if m == nil {
		m = map[string]any{}
	}
	m[name] = v
	return encode(m)
}

func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		return []byte("{}") // cannot be: made of JSON
	}
	return b
}

// wants tries settings that must be refused with a path that names name. The
// outcome is not a pass when they are not.
func (k *kit) wants(ctx context.Context, name, what string, settings []byte) outcome {
	p, err := k.scanner(ctx)
	if err != nil {
		return k.trouble(err)
	}
	diags, err := p.tryConfig(ctx, settings, true)
	if err != nil {
		if !p.alive() {
			k.drop()
		}
		return failed("%s: %v", what, err)
	}
	errs := complaints(diags)
	if len(errs) == 0 {
		return failed("%s was accepted", what)
	}
	if name == "" {
		return pass()
	}
	for _, d := range errs {
		if path := d.GetAttributePath(); len(path) > 0 && path[0] == name {
			return pass()
		}
	}
	return failed("%s was refused without attribute_path [%q]: %s", what, name, strings.Join(describeDiagnostics(errs), "; "))
}

func (k *kit) refusesUnknown(ctx context.Context) outcome {
	return k.wants(ctx, noSuchSetting, fmt.Sprintf("the setting %q", noSuchSetting), k.with(noSuchSetting, "x"))
}

// refuses is the check that all values that make gives are refused.
func refuses(make func(*pluginv1.Block) []bad, none string) judgeFunc {
	return func(k *kit, ctx context.Context) outcome {
		wrong := make(k.desc.GetConfigSchema())
		if len(wrong) == 0 {
			return notApplicable("%s", none)
		}
		for _, b := range wrong {
			what := fmt.Sprintf("%s = %s", b.attribute, encode(b.value))
			if out := k.wants(ctx, b.attribute, what, k.with(b.attribute, b.value)); out.status != Pass {
				return out
			}
		}
		return pass()
	}
}

func (k *kit) refusesMissing(ctx context.Context) outcome {
	any := false
	for _, a := range k.desc.GetConfigSchema().GetAttributes() {
		if !a.GetRequired() {
			continue
		}
		any = true
		var m map[string]json.RawMessage
		_ = json.Unmarshal(k.config, &m) // it was made by Marshal
		delete(m, a.GetName())
		if out := k.wants(ctx, a.GetName(), fmt.Sprintf("no %q", a.GetName()), encode(m)); out.status != Pass {
			return out
		}
	}
	if !any {
		return notApplicable("no setting is required")
	}
	return pass()
}

func (k *kit) refusesNonsense(ctx context.Context) outcome {
	for _, text := range []string{`[]`, `"x"`, `{"a":`, `nonsense`, "\xff"} {
		if out := k.wants(ctx, "", fmt.Sprintf("%q", text), []byte(text)); out.status != Pass {
			return out
		}
	}
	return pass()
}

// validatesOnly compares the two kinds of check, and scans with what
// validate_only must not have kept: a plugin that refuses to scan before it is
// configured must do so after it too.
func (k *kit) validatesOnly(ctx context.Context) outcome {
	p, err := k.start(ctx)
	if err != nil {
		return k.trouble(err)
	}
	defer p.stop()
	strict := k.refusesScan(ctx, p)
	for _, s := range []struct {
		settings []byte
		good     bool
	}{{k.with(noSuchSetting, "x"), false}, {k.config, true}} {
		diags, err := p.tryConfig(ctx, s.settings, true)
		if err != nil && s.good {
			return failed("with validate_only: %v", err)
		}
		if errs := complaints(diags); s.good && len(errs) > 0 {
			return failed("settings that are good are refused with validate_only: %s", strings.Join(describeDiagnostics(errs), "; "))
		}
	}
	if strict && !k.refusesScan(ctx, p) {
		return failed("it refuses scans before it is configured, and takes them after validate_only")
	}
	return pass()
}

// refusesScan tries a scan that must not count.
func (k *kit) refusesScan(ctx context.Context, p *proc) bool {
	r, err := k.smallest()
	if err != nil {
		return false
	}
	t, err := k.scan(ctx, p, r)
	return err == nil && t.completed == nil && t.died == "" && !t.timedOut && !errors.Is(t.err, io.EOF)
}

func (k *kit) configuresTwice(ctx context.Context) outcome {
	p, err := k.ready(ctx)
	if err != nil {
		return k.trouble(err)
	}
	defer p.stop()
	if err := p.configure(ctx, k.config); err != nil {
		return failed("the second time: %v", err)
	}
	// Whether it refuses these well is another check's question.
	_, _ = p.tryConfig(ctx, k.with(noSuchSetting, "x"), false)
	r, err := k.smallest()
	if err != nil {
		return k.trouble(err)
	}
	t, err := k.scan(ctx, p, r)
	if err != nil {
		return k.trouble(err)
	}
	if !t.taken() {
		return failed("wrong settings took the good ones before them away: a scan of %s: %s", t.what, why(t))
	}
	return pass()
}
