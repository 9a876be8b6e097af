package sdk

import (
	"context"
	"errors"
	"fmt"
	"regexp"

	"github.com/securetaghq/securetag/sdk/proto/pluginv1"
)

// Version of this kit, as plugins report it.
const Version = "0.1.0"

const (
	maxRules   = 10_000
	maxRuleID  = 256
	apiVersion = 1
)

// Scanner is a plugin: what it is called, what it takes, and how it scans. C
// is a struct whose fields are the operator's settings; struct{} when there are
// none. A field is a string, bool, integer, float, [Bytes], time.Duration,
// []string or map[string]string, with these tags:
//
//	json:"max_size"    name; without it the field's name in snake case
//	doc:"..."          one sentence for operators
//	default:"1MiB"     when it is not given; without it the type's zero
//	required:"true"    must be given
//	min:"1" max:"10"   inclusive, for numbers, sizes and durations
//	one_of:"a,b"       the only values, for strings and lists of them
//	pattern:"^v\\d"    RE2 that must match, for strings and items of lists
//	deprecated:"..."   what to use instead; giving it is a warning
//	sensitive:"true"   never shown or logged
//
// When *C has a method Validate() error, it is called after these checks.
type Scanner[C any] struct {
	Name        string // ^[a-z][a-z0-9-]{0,62}$
	Version     string // of the plugin: MAJOR.MINOR.PATCH
	Description string
	Vendor      string
	License     string // SPDX expression
	Consumes    []Input
	Rules       []Rule
	Needs       Needs
	// MaxConcurrentScans is how many scans one process takes at once; 0 means 1.
	MaxConcurrentScans int
	// Options is a struct (not a pointer) with the same tags as C: what one
	// request may say. nil: nothing. Read it with Target.Options.
	Options any
	// Scan scans one target. It may run concurrently with itself up to
	// MaxConcurrentScans. c is shared by all scans: read only.
	Scan func(ctx context.Context, c *C, t *Target, out *Out) error
	// Health tells the host how the scanner is: asked every ten seconds or so,
	// beside scans, so it must be quick. nil: well whenever it runs.
	Health func(c *C) Health
}

// Input is a kind of target.
type Input int32

const (
	Tree = Input(pluginv1.Input_INPUT_TREE) // a directory tree, read-only
	URL  = Input(pluginv1.Input_INPUT_URL)  // an http or https URL
)

// Needs is what the plugin needs of the machine. The host gives nothing that
// is not asked for, and may refuse.
type Needs struct {
	Network         bool // outgoing connections
	SpawnsProcesses bool
	Memory          Bytes // 0: the host's default
}

// Severity orders findings.
type Severity int32

const (
	Info     = Severity(pluginv1.Severity_SEVERITY_INFO)
	Low      = Severity(pluginv1.Severity_SEVERITY_LOW)
	Medium   = Severity(pluginv1.Severity_SEVERITY_MEDIUM)
	High     = Severity(pluginv1.Severity_SEVERITY_HIGH)
	Critical = Severity(pluginv1.Severity_SEVERITY_CRITICAL)
)

// Confidence is how sure the scanner is of a finding; 0 means not known.
type Confidence int32

const (
	ConfidenceLow    = Confidence(pluginv1.Finding_CONFIDENCE_LOW)
	ConfidenceMedium = Confidence(pluginv1.Finding_CONFIDENCE_MEDIUM)
	ConfidenceHigh   = Confidence(pluginv1.Finding_CONFIDENCE_HIGH)
)

// Rule is one kind of problem that the plugin can find.
type Rule struct {
	ID             string // unique, stable across versions, at most 256 characters
	Title          string // one line
	Description    string
	Recommendation string
	Severity       Severity // of a finding that gives none
	HelpURL        string   // https
	CWE            []int
	Tags           []string
}

// check finds what the author got wrong, all of it.
func (s Scanner[C]) check() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if !regexp.MustCompile(`^[a-z][a-z0-9-]{0,62}$`).MatchString(s.Name) {
		bad("Name %q must be lower-case letters, digits and dashes, and start with a letter", s.Name)
	}
	if !regexp.MustCompile(`^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)([-+][0-9A-Za-z.+-]+)?$`).MatchString(s.Version) {
		bad("Version %q must be a semantic version such as 1.2.3", s.Version)
	}
	if len(s.Consumes) == 0 {
		bad("Consumes is empty: name what is scanned, for example sdk.Tree")
	}
	for _, in := range s.Consumes {
		if in != Tree && in != URL {
			bad("Consumes has %d, which is neither sdk.Tree nor sdk.URL", in)
		}
	}
	if s.Scan == nil {
		bad("Scan is nil")
	}
	if s.MaxConcurrentScans < 0 {
		bad("MaxConcurrentScans is %d", s.MaxConcurrentScans)
	}
	if len(s.Rules) > maxRules {
		bad("%d rules; at most %d", len(s.Rules), maxRules)
	}
	seen := make(map[string]bool, len(s.Rules))
	for _, r := range s.Rules {
		switch {
		case r.ID == "" || len(r.ID) > maxRuleID:
			bad("rule id %.40q must have 1 to %d bytes", r.ID, maxRuleID)
		case seen[r.ID]:
			bad("rule %q is declared twice", r.ID)
		}
		seen[r.ID] = true
	}
	return errors.Join(errs...)
}

// describe is the answer to Describe, less the schemas.
func (s Scanner[C]) describe() *pluginv1.DescribeResponse {
	d := &pluginv1.DescribeResponse{
		Name:        s.Name,
		Version:     s.Version,
		Description: clean(s.Description, maxMessage),
		Vendor:      s.Vendor,
		License:     s.License,
		Sdk:         "go/" + Version,
		ApiVersions: []uint32{apiVersion},
		Requirements: &pluginv1.Requirements{
			Network:         pluginv1.Requirements_NETWORK_NONE,
			SpawnsProcesses: s.Needs.SpawnsProcesses,
			MemoryBytes:     uint64(max(s.Needs.Memory, 0)),
		},
		MaxConcurrentScans: uint32(max(s.MaxConcurrentScans, 1)),
	}
	if s.Needs.Network {
		d.Requirements.Network = pluginv1.Requirements_NETWORK_EGRESS
	}
	for _, in := range s.Consumes {
		d.Consumes = append(d.Consumes, pluginv1.Input(in))
	}
	for _, r := range s.Rules {
		cwe := make([]uint32, len(r.CWE))
		for i, c := range r.CWE {
			cwe[i] = uint32(c)
		}
		d.Rules = append(d.Rules, &pluginv1.Rule{
			Id:             r.ID,
			Title:          clean(r.Title, maxTitle),
			Description:    clean(r.Description, maxMessage),
			Recommendation: clean(r.Recommendation, maxMessage),
			Severity:       pluginv1.Severity(r.Severity),
			HelpUri:        r.HelpURL,
			Cwe:            cwe,
			Tags:           r.Tags,
		})
	}
	return d
}
