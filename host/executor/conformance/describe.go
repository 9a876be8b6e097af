package conformance

import (
	"context"
	"errors"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/securetaghq/securetag/host/executor"
	"github.com/securetaghq/securetag/host/executor/internal/clean"
	"github.com/securetaghq/securetag/sdk/proto/pluginv1"
)

var (
	pluginName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,62}$`)
	semver     = regexp.MustCompile(`^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$`)
)

func describeChecks() []check {
	return []check{
		must("describe.answer", started, "Describe answers within 5 seconds, before Configure",
			"Answer from constants: no files, no network, no settings. Do slow work in Configure.",
			contract("Describe"), func(k *kit, _ context.Context) outcome {
				if k.desc == nil {
					return failed("%v", k.descErr)
				}
				return pass()
			}),
		must("describe.stable", started, "Describe says the same every time, and in every process",
			"Leave out times, random numbers and what the machine looks like, and keep rules and settings in one order: the host keeps the answer by the hash of the file.",
			contract("Describe"), (*kit).describesAlike),
		must("describe.identity", started, "It has a name, a semantic version and speaks API version 1",
			"Set name (lower-case letters, digits and dashes), version (MAJOR.MINOR.PATCH) and api_versions with 1 in it.",
			contract("DescribeResponse"), ifDescribed(identity)),
		must("describe.inputs", started, "It says what it takes",
			"Put INPUT_TREE, INPUT_URL or both into consumes, each once.",
			contract("DescribeResponse.consumes"), ifDescribed(inputs)),
		must("describe.rules", started, "Its rules are at most 10000, unique, with a title and a known severity",
			"Give every rule an id of its own of at most 256 characters in one line, a title, and an https help_uri or none.",
			contract("DescribeResponse.rules, Rule"), ifDescribed(rules)),
		must("describe.schema", started, "Its schemas are well-formed: names, types, defaults, bounds",
			"Mend the schema: the host reads it to check settings before it starts the plugin.",
			contract("Block, Attribute"), ifDescribed(schemas)),
	}
}

// ifDescribed is for checks of what is said, also when the host would not take
// it.
func ifDescribed(f func(*pluginv1.DescribeResponse) string) judgeFunc {
	return func(k *kit, _ context.Context) outcome {
		if k.desc == nil {
			return notApplicable("the plugin does not describe itself")
		}
		if why := f(k.desc); why != "" {
			return failed("%s", why)
		}
		return pass()
	}
}

func (k *kit) describesAlike(ctx context.Context) outcome {
	if k.desc == nil {
		return notApplicable("the plugin does not describe itself")
	}
	second, err := k.start(ctx)
	if err != nil {
		return failed("a second process did not start: %v", err)
	}
	defer second.stop()
	for range 2 {
		again, _, err := second.describe(ctx)
		if err != nil {
			return failed("a second process: %v", err)
		}
		if wireOf(again) != wireOf(k.desc) {
			return failed("%s differs between two answers", difference(k.desc, again))
		}
	}
	return pass()
}

// difference names the first field that differs.
func difference(a, b *pluginv1.DescribeResponse) string {
	x, y := a.ProtoReflect(), b.ProtoReflect()
	fields := x.Descriptor().Fields()
	for i := range fields.Len() {
		if f := fields.Get(i); !x.Get(f).Equal(y.Get(f)) {
			return string(f.Name())
		}
	}
	return "the message"
}

func identity(d *pluginv1.DescribeResponse) string {
	switch {
	case !pluginName.MatchString(d.GetName()):
		return "the name is " + quote(d.GetName())
	case !semver.MatchString(d.GetVersion()):
		return "the version is " + quote(d.GetVersion())
	case !slices.Contains(d.GetApiVersions(), 1):
		return "api_versions has no 1"
	case slices.Contains(d.GetFeatures(), ""):
		return "a feature without a name"
	}
	return ""
}

func inputs(d *pluginv1.DescribeResponse) string {
	seen := map[pluginv1.Input]bool{}
	for _, in := range d.GetConsumes() {
		switch {
		case in == pluginv1.Input_INPUT_UNSPECIFIED:
			return "consumes has INPUT_UNSPECIFIED"
		case seen[in]:
			return "consumes has " + in.String() + " twice"
		}
		seen[in] = true
	}
	if !seen[pluginv1.Input_INPUT_TREE] && !seen[pluginv1.Input_INPUT_URL] {
		return "consumes names no kind of target that a host has"
	}
	return ""
}

func rules(d *pluginv1.DescribeResponse) string {
	if _, err := executor.CheckDescription(d); err != nil && identity(d) == "" && inputs(d) == "" && schemas(d) == "" {
		return err.Error()
	}
	for _, r := range d.GetRules() {
		id := quote(r.GetId())
		switch {
		case strings.TrimSpace(r.GetTitle()) == "":
			return "the rule " + id + " has no title"
		case len(r.GetTitle()) > 256 || strings.ContainsFunc(r.GetTitle(), func(c rune) bool { return c == '\n' || steers(c) }):
			return "the title of the rule " + id + " is not one line of at most 256 bytes"
		case pluginv1.Severity_name[int32(r.GetSeverity())] == "":
			return "the rule " + id + " has an unknown severity"
		case r.GetHelpUri() != "" && !isHTTPS(r.GetHelpUri()):
			return "the help_uri of the rule " + id + " is " + quote(r.GetHelpUri())
		case slices.Contains(r.GetCwe(), 0):
			return "the rule " + id + " has the CWE 0"
		}
	}
	return ""
}

func isHTTPS(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Scheme == "https" && clean.URL(s) != ""
}

func schemas(d *pluginv1.DescribeResponse) string {
	err := errors.Join(checkBlock("config_schema", d.GetConfigSchema()), checkBlock("options_schema", d.GetOptionsSchema()))
	if err != nil {
		first, _, _ := strings.Cut(err.Error(), "\n")
		return first
	}
	return ""
}
