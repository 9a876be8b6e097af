package host

import (
	"slices"
	"time"
)

// Priority orders the scans of one tenant. It gives no tenant more than its
// share: an urgent scan goes before that tenant's others only.
type Priority string

const (
	PriorityHigh   Priority = "high"
	PriorityNormal Priority = "normal" // what "" means in a scan that is accepted
	PriorityLow    Priority = "low"
)

// Priorities lists them, most urgent first.
func Priorities() []Priority { return []Priority{PriorityHigh, PriorityNormal, PriorityLow} }

// Valid reports whether p is one of the declared priorities.
func (p Priority) Valid() bool { return slices.Contains(Priorities(), p) }

// Rank is p's place among [Priorities]; that of normal for anything else.
func (p Priority) Rank() int {
	if i := slices.Index(Priorities(), p); i >= 0 {
		return i
	}
	return PriorityNormal.Rank()
}

// A tenant's weight is within these; [Tenant.Share] says what it is.
const (
	MinWeight = 0.01
	MaxWeight = 100
)

// MaxConcurrency bounds every cap.
const MaxConcurrency = 1_000_000

// Share is what a tenant gets of the slots that several want.
type Share struct {
	// Weight is its part in proportion to the others'. 0 is its plan's, and 1 if
	// that has none.
	Weight float64
	// Concurrency is how many of its jobs are out or run at once: nil its plan's,
	// or the default of [Caps] if that has none; 0 any number.
	Concurrency *int
}

// Valid reports whether the weight and the cap are within their bounds.
func (s Share) Valid() bool {
	return (s.Weight == 0 || s.Weight >= MinWeight && s.Weight <= MaxWeight) &&
		(s.Concurrency == nil || *s.Concurrency >= 0 && *s.Concurrency <= MaxConcurrency)
}

// Caps bound how many jobs are out or run at once, over all hosts. 0, or no
// entry, is any number. Every host must be given the same.
type Caps struct {
	Tenant int // of a tenant that has no cap of its own nor of its plan
	// Plans are the shares of tenants that have none of their own, by the plan's
	// name: "" is of those without a plan, OtherPlan of those whose plan is not here.
	Plans     map[string]Share
	Plugins   map[string]int // by the plugin's name
	ScanTypes map[string]int // by the scan type's name
}

// OtherPlan is no plan's name.
const OtherPlan = "*"

// DispatchQuery says what a Dispatch may hand out.
type DispatchQuery struct {
	// Plugins are those that the caller rings for. Others' jobs are left alone.
	Plugins []string
	// Window is how many of their jobs may be out and unclaimed.
	Window int
	// Horizon is when a doorbell counts as lost: the job is handed out again.
	Horizon time.Duration
	// Again says that every doorbell is lost.
	Again bool
	Caps  Caps
	// Claim is for a caller that runs the plugins itself: some of the jobs are
	// claimed there and then. Zero: none.
	Claim AtOnce
}

// AtOnce is a claim of what a Dispatch hands out.
type AtOnce struct {
	Owner string
	TTL   time.Duration // of the leases
	Most  int
}
