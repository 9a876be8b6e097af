package executor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-version"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/executor/catalog"
	"github.com/securetaghq/securetag/host/executor/internal/clean"
	"github.com/securetaghq/securetag/sdk/proto/pluginv1"
)

const (
	describeTimeout  = 5 * time.Second
	configureTimeout = 10 * time.Second
	apiVersion       = 1
	maxRules         = 10_000
	maxSlots         = 256 // scans at once in one process, whatever it says
	maxOptions       = 512
	maxMistakes      = 20 // of a configuration that are told
)

// Info is what a plugin says of itself, checked and cleaned.
type Info struct {
	Name        string
	Version     string
	Description string
	Vendor      string
	License     string
	SDK         string
	Inputs      []host.InputKind
	Rules       []Rule
	Settings    catalog.Settings
	Options     []string // names of those that a request may carry
	Secret      []string // those of Options that nobody is shown
	Concurrency int      // scans that one process takes at once, at least 1
}

// options are those of a task as the plugin gets them: its own, which it refuses
// when it does not know them, and those of the scan type that it does know. One
// that is given for the plugin counts before that of the scan type. Those that are
// secret it gets when it calls them so: another one would show them.
func (i Info) options(t host.Task) []byte {
	own := map[string]json.RawMessage{}
	if len(t.Options) > 0 && (json.Unmarshal(t.Options, &own) != nil || own == nil) {
		return t.Options // the plugin says what is wrong with it
	}
	added := false
	for name, v := range t.Shared {
		if _, given := own[name]; !given && slices.Contains(i.Options, name) && !slices.Contains(i.Secret, name) {
			own[name], added = v, true
		}
	}
	for name, v := range t.Secret {
		if slices.Contains(i.Secret, name) {
			own[name], added = v, true
		}
	}
	if !added && len(t.Options) > 0 {
		return t.Options
	}
	out, err := json.Marshal(own)
	if err != nil {
		return t.Options // not to be expected: all of it was read as JSON
	}
	return out
}

// Rule is one kind of problem that a plugin can find.
type Rule struct {
	ID       string
	Title    string
	Severity host.Severity
}

// describe asks the plugin what it is.
func (p *process) describe(ctx context.Context, hostVersion string) error {
	call, cancel := context.WithTimeout(ctx, describeTimeout)
	defer cancel()
	resp, err := p.scanner.Describe(call, &pluginv1.DescribeRequest{HostVersion: hostVersion})
	if err != nil {
		return p.callFault(err, "Describe", describeTimeout)
	}
	if p.info, p.rules, err = newInfo(resp); err != nil {
		return p.fault(host.CodePluginUnavailable, true, "describes itself wrongly: %v", err)
	}
	p.said = resp
	return p.plugin.admit(p.info)
}

// errMustChange is in the fault of a plugin that no further start will help:
// its program or its block must change.
var errMustChange = errors.New("its program or its block must change")

// admit holds what a plugin says of itself against its block. The error is a
// *host.Fault with errMustChange in it.
func (p Plugin) admit(info Info) error {
	refuse := func(format string, args ...any) error {
		f := newFault(p.Name, host.CodePluginUnavailable, true, format, args...)
		f.Err = errMustChange
		return f
	}
	if info.Name != p.Name {
		return refuse("describes itself wrongly: it calls itself %q: the configured name must be the same", info.Name)
	}
	if p.Version != "" {
		wanted, err := version.NewConstraint(p.Version)
		got, gotErr := version.NewVersion(info.Version)
		switch {
		case err != nil: // withDefaults has refused it
		case gotErr != nil:
			return refuse("has the version %q, which is none that could fit %q", info.Version, p.Version)
		case !wanted.Check(got):
			return refuse("has the version %s, and %q is configured", info.Version, p.Version)
		}
	}
	if wrong := p.mistakes(info); len(wrong) > 0 {
		return refuse("does not accept its configuration: %s", p.placed(wrong))
	}
	return nil
}

// mistakes are those in the block's Config.
func (p Plugin) mistakes(info Info) []catalog.Mistake {
	return append(info.Settings.Check(p.Config), info.Settings.WrittenOut(p.Literals)...)
}

// placed lists mistakes, the first few, with where each one is.
func (p Plugin) placed(wrong []catalog.Mistake) string {
	var out []string
	for i, m := range wrong {
		if i == maxMistakes {
			out = append(out, fmt.Sprintf("and %d more", len(wrong)-i))
			break
		}
		text := m.String()
		if at := p.Places[m.Setting]; at != "" {
			text = at + ": " + text
		}
		out = append(out, text)
	}
	return strings.Join(out, "; ")
}

// newInfo checks a description. It reports the first thing that is wrong.
func newInfo(d *pluginv1.DescribeResponse) (Info, map[string]clean.Rule, error) {
	info := Info{
		Name:        d.GetName(),
		Version:     clean.Line(d.GetVersion(), 64),
		Description: clean.Line(d.GetDescription(), 512),
		Vendor:      clean.Line(d.GetVendor(), 128),
		License:     clean.Line(d.GetLicense(), 128),
		SDK:         clean.Line(d.GetSdk(), 64),
		Concurrency: int(min(max(d.GetMaxConcurrentScans(), 1), maxSlots)),
	}
	switch {
	case !pluginName.MatchString(info.Name):
		return Info{}, nil, fmt.Errorf("its name %q does not match %s", clean.Line(info.Name, 80), pluginName)
	case !slices.Contains(d.GetApiVersions(), apiVersion):
		return Info{}, nil, fmt.Errorf("it serves none of the API versions of this host (%d)", apiVersion)
	case len(d.GetRules()) > maxRules:
		return Info{}, nil, fmt.Errorf("it declares %d rules, at most %d are taken", len(d.GetRules()), maxRules)
	}
	for _, in := range d.GetConsumes() {
		switch in {
		case pluginv1.Input_INPUT_TREE:
			info.Inputs = append(info.Inputs, host.InputArchive)
		case pluginv1.Input_INPUT_URL:
			info.Inputs = append(info.Inputs, host.InputURL)
		}
	}
	if len(info.Inputs) == 0 {
		return Info{}, nil, errors.New("it takes no kind of input that this host has")
	}
	var err error
	if info.Settings, err = catalog.NewSettings(d.GetConfigSchema()); err != nil {
		return Info{}, nil, err
	}
	for _, a := range d.GetOptionsSchema().GetAttributes() {
		if len(info.Options) == maxOptions {
			return Info{}, nil, fmt.Errorf("it declares more than %d options", maxOptions)
		}
		info.Options = append(info.Options, a.GetName())
		if a.GetSensitive() {
			info.Secret = append(info.Secret, a.GetName())
		}
	}
	rules := make(map[string]clean.Rule, len(d.GetRules()))
	for _, r := range d.GetRules() {
		rule, err := clean.NewRule(r)
		if err != nil {
			return Info{}, nil, err
		}
		if _, twice := rules[rule.ID]; twice {
			return Info{}, nil, fmt.Errorf("it declares the rule %q twice", rule.ID)
		}
		rules[rule.ID] = rule
		info.Rules = append(info.Rules, Rule{ID: rule.ID, Title: rule.Title, Severity: rule.Severity})
	}
	return info, rules, nil
}

// configure hands over the operator's settings.
func (p *process) configure(ctx context.Context) error {
	call, cancel := context.WithTimeout(ctx, configureTimeout)
	defer cancel()
	resp, err := p.scanner.Configure(call, &pluginv1.ConfigureRequest{ConfigJson: p.plugin.Config})
	if err != nil {
		return p.callFault(err, "Configure", configureTimeout)
	}
	var wrong []string
	for i, d := range resp.GetDiagnostics() {
		if i == maxMistakes {
			break
		}
		text := d.GetSummary()
		if d.GetDetail() != "" {
			text = strings.TrimSuffix(text, ".") + ". " + d.GetDetail()
		}
		text = clean.Line(text, 300)
		if at := clean.Line(strings.Join(d.GetAttributePath(), "."), 100); at != "" {
			text = at + ": " + text
			if place := p.plugin.Places[d.GetAttributePath()[0]]; place != "" {
				text = place + ": " + text
			}
		}
		switch d.GetSeverity() {
		case pluginv1.Diagnostic_SEVERITY_ERROR:
			wrong = append(wrong, text)
		case pluginv1.Diagnostic_SEVERITY_WARNING:
			p.log.Warn("remark on the plugin's configuration", "remark", text)
		}
	}
	if len(wrong) > 0 {
		return p.fault(host.CodePluginUnavailable, true, "does not accept its configuration: %s", strings.Join(wrong, "; "))
	}
	return nil
}
