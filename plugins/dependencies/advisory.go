package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/osv-scalibr/semantic"
)

// record is what is read of an advisory in the OSV format, 1.x.
type record struct {
	ID        string     `json:"id"`
	Modified  time.Time  `json:"modified"`
	Published time.Time  `json:"published"`
	Withdrawn *time.Time `json:"withdrawn"`
	Aliases   []string   `json:"aliases"`
	Summary   string     `json:"summary"`
	Details   string     `json:"details"`
	Severity  []severity `json:"severity"`
	Database  struct {
		Severity string   `json:"severity"` // GitHub's word
		CWE      []string `json:"cwe_ids"`
	} `json:"database_specific"`
	Affected []struct {
		Package struct {
			Ecosystem string `json:"ecosystem"`
			Name      string `json:"name"`
		} `json:"package"`
		Severity []severity `json:"severity"`
		Ranges   []span     `json:"ranges"`
		Versions []string   `json:"versions"`
		Database struct {
			Informational string `json:"informational"` // RustSec's
		} `json:"database_specific"`
	} `json:"affected"`
}

type severity struct {
	Type  string `json:"type"`
	Score string `json:"score"` // a CVSS vector
}

// span is a range of versions.
type span struct {
	Type   string  `json:"type"`
	Events []event `json:"events"`
}

type event struct {
	Introduced   string `json:"introduced,omitempty"`
	Fixed        string `json:"fixed,omitempty"`
	LastAffected string `json:"last_affected,omitempty"`
	Limit        string `json:"limit,omitempty"`
}

// advisory is what is kept of a record, for one package.
type advisory struct {
	ID            string     `json:"id"`
	Aliases       []string   `json:"aliases,omitempty"`
	Summary       string     `json:"summary,omitempty"`
	Severity      []severity `json:"severity,omitempty"`
	Label         string     `json:"label,omitempty"`
	Informational string     `json:"informational,omitempty"`
	Malicious     bool       `json:"malicious,omitempty"`
	Ranges        []span     `json:"ranges,omitempty"`
	Versions      []string   `json:"versions,omitempty"`
}

// about is a package as advisories name it.
type about struct{ ecosystem, name string }

// dates are a record's.
type dates struct{ modified, published time.Time }

const maxSummary = 300

// parseRecord gives the advisories of a record by package; none when it was
// withdrawn or is about nothing that versions can be compared of.
func parseRecord(b []byte) (map[about]*advisory, dates, error) {
	var r record
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, dates{}, err
	}
	if r.ID == "" || len(r.ID) > 100 {
		return nil, dates{}, errors.New("it has no id, so it is no advisory in the OSV format")
	}
	if r.Withdrawn != nil {
		return nil, dates{r.Modified, r.Published}, nil
	}
	out := map[about]*advisory{}
	for _, a := range r.Affected {
		ecosystem, _, _ := strings.Cut(a.Package.Ecosystem, ":")
		if a.Package.Name == "" || len(a.Package.Name) > maxName || !compares(ecosystem) {
			continue
		}
		name := keyOf(osvName(a.Package.Name, ecosystem, ""), ecosystem)
		key := about{ecosystem, name}
		adv := out[key]
		if adv == nil {
			adv = &advisory{ID: r.ID, Aliases: r.Aliases, Summary: summary(r), Severity: r.Severity, Label: r.Database.Severity, Malicious: r.malicious()}
			out[key] = adv
		}
		adv.Severity = append(slices.Clip(adv.Severity), a.Severity...)
		adv.Informational = a.Database.Informational
		for _, s := range a.Ranges {
			if s.Type == "SEMVER" || s.Type == "ECOSYSTEM" {
				adv.Ranges = append(adv.Ranges, s)
			}
		}
		adv.Versions = append(adv.Versions, a.Versions...)
	}
	for key, adv := range out {
		if len(adv.Ranges) == 0 && len(adv.Versions) == 0 {
			delete(out, key) // by commits only
		}
	}
	return out, dates{r.Modified, r.Published}, nil
}

// malicious reports whether a package was made to do harm: OpenSSF has ids of
// their own for those, GitHub says embedded malicious code.
func (r record) malicious() bool {
	return strings.HasPrefix(r.ID, "MAL-") || slices.Contains(r.Database.CWE, "CWE-506")
}

// compares reports whether versions of the ecosystem can be compared.
func compares(ecosystem string) bool {
	_, err := semantic.Parse("1.0.0", ecosystem)
	return err == nil
}

func summary(r record) string {
	s := r.Summary
	if s == "" { // PyPI's and Go's have none at times
		s, _, _ = strings.Cut(strings.TrimSpace(r.Details), "\n")
	}
	if len(s) > maxSummary {
		s = strings.ToValidUTF8(s[:maxSummary], "") + "…"
	}
	return strings.TrimRight(s, ". ")
}

// affects reports whether a version is affected, and the least version known
// to fix it, "" for none.
func (a *advisory) affects(ecosystem, version string) (affected bool, fixed string, err error) {
	v, err := semantic.Parse(version, ecosystem)
	if err != nil {
		return false, "", fmt.Errorf("version %.60q: %w", version, err)
	}
	var fixes []string
	for _, s := range a.Ranges {
		in, fix, err := s.contains(v, ecosystem)
		if err != nil {
			return false, "", fmt.Errorf("%s: version %.60q: %w", a.ID, version, err)
		}
		if in {
			affected = true
			fixes = append(fixes, fix)
		}
	}
	if !affected {
		// Go's and Packagist's versions have a v on one side only.
		affected = slices.ContainsFunc(a.Versions, func(s string) bool {
			return s == version || strings.TrimPrefix(s, "v") == strings.TrimPrefix(version, "v")
		})
	}
	for _, fix := range fixes {
		if fix != "" && (fixed == "" || less(fix, fixed, ecosystem)) {
			fixed = fix
		}
	}
	return affected, fixed, nil
}

func (e event) version() string {
	for _, s := range []string{e.Introduced, e.Fixed, e.LastAffected, e.Limit} {
		if s != "" {
			return s
		}
	}
	return ""
}

// contains is the algorithm of the OSV format: events in the order of versions,
// each of which switches.
func (s span) contains(v semantic.Version, ecosystem string) (in bool, fixed string, err error) {
	events := slices.DeleteFunc(slices.Clone(s.Events), func(e event) bool { return e.version() == "" || e.Limit == "*" })
	slices.SortStableFunc(events, func(a, b event) int {
		switch {
		case a.Introduced == "0" && b.Introduced == "0":
			return 0
		case a.Introduced == "0":
			return -1
		case b.Introduced == "0":
			return 1
		}
		av, perr := semantic.Parse(a.version(), ecosystem)
		if perr != nil {
			err = perr
			return 0
		}
		c, cerr := av.CompareStr(b.version())
		if cerr != nil {
			err = cerr
		}
		return c
	})
	if err != nil {
		return false, "", err
	}
	limited := !slices.ContainsFunc(events, func(e event) bool { return e.Limit != "" })
	for _, e := range events {
		c := 1 // of v to the event: after it
		if at := e.version(); at != "0" || e.Introduced == "" {
			if c, err = v.CompareStr(at); err != nil {
				return false, "", err
			}
		}
		switch {
		case e.Introduced != "" && c >= 0:
			in = true
		case e.Fixed != "" && c >= 0, e.LastAffected != "" && c > 0:
			in = false
		case e.Fixed != "" && in && fixed == "":
			fixed = e.Fixed // the first that is after v
		case e.Limit != "" && c < 0:
			limited = true
		}
	}
	return in && limited, fixed, nil
}

// less compares two versions; when that cannot be, none is less.
func less(a, b, ecosystem string) bool {
	v, err := semantic.Parse(a, ecosystem)
	if err != nil {
		return false
	}
	c, err := v.CompareStr(b)
	return err == nil && c < 0
}
