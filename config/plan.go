package config

import (
	"encoding"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Plan is what a tenant may use. 0 of a limit means what limits says
// for everybody, or no limit where it says nothing.
type Plan struct {
	RequestRate    Rate          `koanf:"request_rate" doc:"Requests of the tenant that read, and as many others that change something. Those that create scans are in upload_rate. 0: any number."`
	UploadRate     Rate          `koanf:"upload_rate" doc:"Requests of the tenant that create scans. 0: any number."`
	ArchiveSize    ByteSize      `koanf:"archive_size" doc:"Size of an uploaded archive. 0: limits.archive_size, which it cannot exceed." min:"0B" max:"64GiB"`
	UnpackedSize   ByteSize      `koanf:"unpacked_size" doc:"Size of everything in an archive, unpacked. 0: limits.unpacked_size, which it cannot exceed." min:"0B" max:"1TiB"`
	StorageQuota   ByteSize      `koanf:"storage_quota" doc:"Size of all archives of the tenant that are kept, as uploaded. Retention makes room. 0: any." min:"0B" max:"1024TiB"`
	ScansPerDay    int           `koanf:"scans_per_day" doc:"Scans that are accepted in a day, from 00:00 to 24:00 UTC. 0: any number." min:"0" max:"100000000"`
	QueuedScans    int           `koanf:"queued_scans" doc:"Scans that wait for their first job to start. 0: any number." min:"0" max:"10000000"`
	ConcurrentJobs int           `koanf:"concurrent_jobs" doc:"Jobs of the tenant that run or are handed out at once, over all hosts, unless the tenant has a cap of its own. 0: limits.tenant_concurrency." min:"0" max:"1000000"`
	Weight         float64       `koanf:"weight" doc:"The tenant's part of the slots that several tenants want, in proportion to theirs, unless it has one of its own." min:"0.01" max:"100"`
	Priority       string        `koanf:"priority" doc:"Priority of scans whose request names none. It orders the tenant's own scans only." oneof:"high,normal,low"`
	Findings       int           `koanf:"findings" doc:"Findings of one job. 0: limits.findings, which it cannot exceed." min:"0" max:"10000000"`
	Artifacts      ByteSize      `koanf:"artifacts" doc:"Artifacts of one job together. 0: limits.artifacts, which it cannot exceed." min:"0B" max:"64GiB"`
	Retention      time.Duration `koanf:"retention" doc:"How long a scan of the tenant is kept after it ended, with its findings and its archive. 0s: retention.scans, which it cannot exceed." min:"0s" max:"87600h"`
	Targets        []string      `koanf:"targets" doc:"Hosts that the tenant may have scanned by URL without proving that they are its own: a name, *.example.com for every name below one, or * for every host; each alone for any port, or with one. Empty: only what it proved." example:"[\"shop.example.com\", \"*.example.org:443\"]"`
}

// The plans that are always there. A tenant without a plan has DefaultPlan, and
// one whose plan is not in the configuration has SmallestPlan until it is.
const (
	DefaultPlan  = "default"
	SmallestPlan = "free"
)

// defaultPlan is what a plan block starts from.
func defaultPlan() Plan {
	return Plan{RequestRate: Rate{100, time.Minute}, UploadRate: Rate{5, time.Minute}, Weight: 1, Priority: "normal", Targets: []string{}}
}

// builtInPlans are those of [Default]. The one for tenants without a plan limits
// nothing by itself: whoever runs a host for themselves has nobody to share with.
func builtInPlans() map[string]Plan {
	all := map[string]Plan{DefaultPlan: defaultPlan(), SmallestPlan: defaultPlan(), "premium": defaultPlan(), "enterprise": defaultPlan()}
	for name, change := range map[string]func(*Plan){
		DefaultPlan: func(p *Plan) { p.RequestRate, p.UploadRate = Rate{}, Rate{} },
		SmallestPlan: func(p *Plan) {
			p.StorageQuota, p.ScansPerDay, p.QueuedScans, p.ConcurrentJobs = 100*MiB, 200, 20, 2
		},
		"premium": func(p *Plan) {
			p.StorageQuota, p.ScansPerDay, p.QueuedScans, p.ConcurrentJobs, p.Weight = GiB, 2_000, 200, 8, 2
		},
		"enterprise": func(p *Plan) { p.StorageQuota, p.QueuedScans, p.Weight = 5*GiB, 2_000, 4 },
	} {
		p := all[name]
		change(&p)
		all[name] = p
	}
	return all
}

// Rate is how often something may happen: "100/1m" is 100 times in a minute. The
// zero value, "0", is any number.
type Rate struct {
	Count int
	Per   time.Duration
}

// The bounds of a rate.
const (
	maxRateCount = 1_000_000
	minRatePer   = time.Second
	maxRatePer   = 24 * time.Hour
)

// UnmarshalText reads a number, a slash and a duration, or "0".
func (r *Rate) UnmarshalText(text []byte) error {
	count, per, ok := strings.Cut(string(text), "/")
	n, err := wholeNumber(count)
	if err != nil {
		return err
	}
	if !ok && n == 0 {
		*r = Rate{}
		return nil
	}
	d, err := time.ParseDuration(strings.TrimSpace(per))
	switch {
	case err != nil:
		return fmt.Errorf("%.40q is no rate", text)
	case n < 0 || n > maxRateCount || d < minRatePer || d > maxRatePer:
		return errors.New("the rate is out of range")
	case n == 0:
		d = 0
	}
	*r = Rate{n, d}
	return nil
}

// MarshalText is the inverse of UnmarshalText.
func (r Rate) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

func (r Rate) String() string {
	if r.Count == 0 {
		return "0"
	}
	return strconv.Itoa(r.Count) + "/" + FormatDuration(r.Per)
}

// number reads a decimal number.
func number(s string) (float64, error) {
	n, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	if err != nil || math.IsInf(n, 0) || math.IsNaN(n) {
		return 0, fmt.Errorf("%.40q is no number", s)
	}
	return n, nil
}

// plan checks that what was given for a plan is within what holds for everybody.
// A default that is not is simply bounded.
func (c *checker) plan(name string, p Plan) {
	l, kept, prefix := c.cfg.Limits, c.cfg.Retention.Scans, "plan."+name+"."
	c.planTargets(prefix+"targets", p.Targets)
	for _, s := range []struct {
		setting, bound string
		over           bool
		value, most    any
	}{
		{"archive_size", "limits.archive_size", p.ArchiveSize > l.ArchiveSize, p.ArchiveSize, l.ArchiveSize},
		{"unpacked_size", "limits.unpacked_size", p.UnpackedSize > l.UnpackedSize, p.UnpackedSize, l.UnpackedSize},
		{"findings", "limits.findings", p.Findings > l.Findings, p.Findings, l.Findings},
		{"artifacts", "limits.artifacts", p.Artifacts > l.Artifacts, p.Artifacts, l.Artifacts},
		{"retention", "retention.scans", kept > 0 && p.Retention > kept, FormatDuration(p.Retention), FormatDuration(kept)},
	} {
		if path := prefix + s.setting; s.over && c.ok(path, s.bound) && c.o.origins[path] != (origin{}) {
			c.bad(path, "Plan over the limit for everybody", "%s is %v, and %s is %v, which holds for every tenant: raise that one, or lower this one.",
				path, s.value, s.bound, s.most)
		}
	}
}

// target is a host, every name below one, or every host, alone or with a port.
var target = regexp.MustCompile(`^(\*|(?:\*\.)?[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*|\[[0-9a-f:.]+\])(?::([1-9][0-9]{0,4}))?$`)

// CheckTarget says what is wrong with an element of targets. What it takes the host
// does: otherwise it would permit nothing, and nobody would hear of it.
func CheckTarget(s string) error {
	m := target.FindStringSubmatch(s)
	if m == nil {
		return fmt.Errorf("%.80q is none", s)
	}
	name, port := m[1], m[2]
	if _, err := strconv.ParseUint(port, 10, 16); port != "" && err != nil {
		return fmt.Errorf("%.80q has no port from 1 to 65535 at its end", s)
	}
	if inside, ok := strings.CutPrefix(name, "["); ok {
		a, err := netip.ParseAddr(strings.TrimSuffix(inside, "]"))
		switch {
		case err != nil || !a.Is6():
			return fmt.Errorf("%.80q has no address of IPv6 in its brackets", s)
		case "["+a.String()+"]" != name:
			return fmt.Errorf("%.80q is [%s] in its short form", s, a)
		}
	}
	if len(strings.TrimPrefix(name, "*.")) > 253 {
		return fmt.Errorf("%.80q is longer than a name may be", s)
	}
	return nil
}

// maxTargets bounds the targets of a plan.
const maxTargets = 1000

// targets checks that a proof is looked at again before it ends.
func (c *checker) targets() {
	const life, again = "targets.proof_life", "targets.recheck"
	if t := c.cfg.Targets; c.ok(life, again) && t.Recheck > t.ProofLife/2 {
		c.bad(again, "Proofs end before they are checked", "%s is %v, and a proof ends after %s, %v: make it at most half of that, so that one check that fails does no harm.",
			again, FormatDuration(t.Recheck), life, FormatDuration(t.ProofLife))
	}
}

// planTargets checks the hosts that a plan permits.
func (c *checker) planTargets(path string, all []string) {
	if !c.ok(path) {
		return
	}
	if len(all) > maxTargets {
		c.bad(path, "Too many targets", "%s has %d elements; at most %d are taken.", path, len(all), maxTargets)
	}
	for i, s := range all {
		if err := CheckTarget(s); err != nil {
			c.badElement(path, i, "Invalid target", "%s must hold hosts in lower case, without http://, such as %q, %q or %q; %v.", path, "shop.example.com", "*.example.com", "localhost:8080", err)
		}
	}
}

// CheckPlan reports a plan that there is none of: what its name was most likely
// meant to be, "" when nothing is close, and what there is, in order.
func (c Config) CheckPlan(name string) (meant string, known []string, ok bool) {
	if _, ok := c.Plans[name]; ok {
		return "", nil, true
	}
	known = slices.Sorted(maps.Keys(c.Plans))
	return nearest(cut(name, 128), known), known, false
}

// SetPlan reads the value of one setting of a plan, as it would stand in a
// variable, into p. The error is a sentence for people.
func SetPlan(p *Plan, setting, text string) error {
	block := newSchema().child("plan")
	n := block.child(setting)
	if n == nil {
		hint := suggest(setting, block.names(false))
		if hint == "" {
			hint = " There are: " + strings.Join(block.names(false), ", ") + "."
		}
		return fmt.Errorf("a plan has no setting %.40q.%s", setting, hint)
	}
	v, err := n.fromText(text)
	if err != nil {
		return errors.New(n.explain(setting, fmt.Sprintf("%.64q", text), err))
	}
	field := reflect.ValueOf(p).Elem().Field(n.index)
	switch v := v.(type) {
	case int:
		field.SetInt(int64(v))
	case float64:
		field.SetFloat(v)
	case string:
		return setText(field, v)
	case []string:
		field.Set(reflect.ValueOf(v))
	}
	return nil
}

// setText reads text that was checked into a field of one of the kinds that are
// text in a layer.
func setText(field reflect.Value, text string) error {
	switch to := field.Addr().Interface().(type) {
	case *string:
		*to = text
	case *time.Duration:
		*to, _ = time.ParseDuration(text)
	case encoding.TextUnmarshaler:
		return to.UnmarshalText([]byte(text))
	}
	return nil
}
