package host

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Plan is what a tenant may use, as it is in force: within what holds for every
// tenant, and with what was changed for this one. 0 is no limit, except that the
// sizes and counts of one scan always have one.
type Plan struct {
	Name string

	RequestRate Rate // of its requests that read, and as many others but uploads
	UploadRate  Rate // of its requests that create scans

	ArchiveSize  int64 // of one archive, packed, in bytes
	UnpackedSize int64 // of one archive, unpacked, in bytes

	Quota

	ConcurrentJobs int      // how many of its jobs are out or run at once
	Weight         float64  // its part of the slots that several tenants want
	Priority       Priority // of scans whose request names none

	Findings  int   // of one job
	Artifacts int64 // of one job, together, in bytes

	Retention time.Duration // of a scan, from its end; 0: for ever

	// Targets are the hosts that it may have scanned without a proof, each as
	// [ParseTargetPattern] takes it.
	Targets []string
}

// Quota bounds what a tenant may hold at once and in a day. 0 is no limit.
type Quota struct {
	Storage     int64 // bytes of its archives, packed, that are kept
	ScansPerDay int64 // accepted in one calendar day, UTC
	QueuedScans int64 // of which no job has started
}

// Rate is how often something may happen. The zero value is any number.
type Rate struct {
	Count int
	Per   time.Duration
}

// Unlimited reports whether r allows any number.
func (r Rate) Unlimited() bool { return r.Count == 0 }

func (r Rate) String() string {
	if r.Unlimited() {
		return "0"
	}
	return strconv.Itoa(r.Count) + "/" + r.Per.String()
}

// Terms is what a tenant was given: a plan by its name, which the configuration
// explains, and what is different for this tenant.
type Terms struct {
	Plan     string // "" is the default plan
	Override Override
}

// Override changes a plan for one tenant; what is nil is the plan's. Weight and
// concurrent jobs are not here: a tenant's own are its [Share].
type Override struct {
	RequestRate  *Rate     `json:"request_rate,omitempty"`
	UploadRate   *Rate     `json:"upload_rate,omitempty"`
	ArchiveSize  *int64    `json:"archive_size,omitempty"`
	UnpackedSize *int64    `json:"unpacked_size,omitempty"`
	StorageQuota *int64    `json:"storage_quota,omitempty"`
	ScansPerDay  *int64    `json:"scans_per_day,omitempty"`
	QueuedScans  *int64    `json:"queued_scans,omitempty"`
	Priority     *Priority `json:"priority,omitempty"`
	Findings     *int      `json:"findings,omitempty"`
	Artifacts    *int64    `json:"artifacts,omitempty"`

	// Stores read this one in SQL, by this name and in nanoseconds.
	Retention *time.Duration `json:"retention,omitempty"`

	Targets *[]string `json:"targets,omitempty"`
}

// Apply gives the plan as it is with o. What it gives is still to be held within
// what holds for every tenant.
func (o Override) Apply(p Plan) Plan {
	set(&p.RequestRate, o.RequestRate)
	set(&p.UploadRate, o.UploadRate)
	set(&p.ArchiveSize, o.ArchiveSize)
	set(&p.UnpackedSize, o.UnpackedSize)
	set(&p.Storage, o.StorageQuota)
	set(&p.ScansPerDay, o.ScansPerDay)
	set(&p.QueuedScans, o.QueuedScans)
	set(&p.Priority, o.Priority)
	set(&p.Findings, o.Findings)
	set(&p.Artifacts, o.Artifacts)
	set(&p.Retention, o.Retention)
	set(&p.Targets, o.Targets)
	return p
}

func set[T any](to, from *T) {
	if from != nil {
		*to = *from
	}
}

// MaxPlanName bounds a plan's name, in bytes.
const MaxPlanName = 63

// Check reports what no plan could be. The error wraps ErrInvalid.
func (t Terms) Check() error {
	o := t.Override
	for name, n := range map[string]*int64{
		"archive_size": o.ArchiveSize, "unpacked_size": o.UnpackedSize, "storage_quota": o.StorageQuota,
		"scans_per_day": o.ScansPerDay, "queued_scans": o.QueuedScans, "artifacts": o.Artifacts,
	} {
		if n != nil && *n < 0 {
			return fmt.Errorf("%s must not be negative: %w", name, ErrInvalid)
		}
	}
	switch {
	case len(t.Plan) > MaxPlanName:
		return fmt.Errorf("a plan's name has at most %d characters: %w", MaxPlanName, ErrInvalid)
	case o.Findings != nil && *o.Findings < 0:
		return fmt.Errorf("findings must not be negative: %w", ErrInvalid)
	case o.Retention != nil && *o.Retention < 0:
		return fmt.Errorf("retention must not be negative: %w", ErrInvalid)
	case o.Priority != nil && !o.Priority.Valid():
		return fmt.Errorf("%.40q is no priority: %w", string(*o.Priority), ErrInvalid)
	}
	if o.Targets != nil {
		if len(*o.Targets) > MaxTargetPatterns {
			return fmt.Errorf("targets has %d entries, and at most %d: %w", len(*o.Targets), MaxTargetPatterns, ErrInvalid)
		}
		for _, p := range *o.Targets {
			if _, err := ParseTargetPattern(p); err != nil {
				return fmt.Errorf("targets: %w", err)
			}
		}
	}
	for _, r := range []*Rate{o.RequestRate, o.UploadRate} {
		if r != nil && r.Count != 0 && (!r.countable() || r.Per < time.Second) {
			return fmt.Errorf("a rate has a count of 0 to %d and a time of 1s to %v: %w", maxRateCount, MaxRatePer, ErrInvalid)
		}
	}
	return nil
}

// Plans says what terms mean in the configuration that is in force. It is asked
// for each request, so a changed configuration applies to the next one. Safe for
// concurrent use; it does not block.
type Plans interface {
	Plan(t Terms) Plan
	// Check reports a name that no plan has, with *UnknownPlan. Who gives a tenant
	// a plan asks; what a plan that went later means for its tenants, Plan says.
	Check(name string) error
}

// UnknownPlan is a plan's name that the configuration does not have. It wraps
// ErrInvalid.
type UnknownPlan struct {
	Name    string
	Nearest string   // what was most likely meant; "" when nothing is close
	Known   []string // in order
}

func (e *UnknownPlan) Error() string {
	there := "; there are: "
	if e.Nearest != "" {
		there = fmt.Sprintf("; did you mean %q? There are: ", e.Nearest)
	}
	return fmt.Sprintf("there is no plan %.64q in the configuration", e.Name) + there + strings.Join(e.Known, ", ")
}

func (e *UnknownPlan) Unwrap() error { return ErrInvalid }

// FixedPlan is Plans that gives everybody the same.
type FixedPlan Plan

// Plan implements Plans.
func (p FixedPlan) Plan(Terms) Plan { return Plan(p) }

// Check implements Plans: every name is as good.
func (p FixedPlan) Check(string) error { return nil }
