package host

import "time"

// Meter is told what a host does, to count it. Its methods are called on the
// path of every job and request: they never block, take well under a
// microsecond, and are safe for concurrent use. No tenant is ever named to it.
type Meter interface {
	// JobStarted: this host claimed a job that had been ready for so long.
	JobStarted(plugin string, waited time.Duration)
	// JobEnded: the attempt is over. Called once for each JobStarted.
	JobEnded(plugin string, e JobEnd)
	// LeasesExpired: this host took jobs back from others that had died.
	LeasesExpired(jobs int)
	// DoorbellsRung and DoorbellsHeard count what this host sent and received.
	DoorbellsRung(n int)
	DoorbellsHeard(n int)
	// EventsDropped: so many live events of this host nobody will hear of.
	EventsDropped(n int)
	// Answered: a request of the API, by its route as the documentation has
	// it; "" when there is no such route.
	Answered(route string, status int, took time.Duration)
	// Swept: one turn of retention or of the sweep for orphans.
	Swept(s Swept)
	// RateLimited: a request was refused because of this policy's rate.
	RateLimited(policy string)
	// LimitsAlone: this host counts rates by itself from now on, because Redis
	// does not answer, or with the others again.
	LimitsAlone(alone bool)
	// WebhookTried: an attempt to deliver to a webhook ended, and the delivery is
	// in this state: pending when it is tried again.
	WebhookTried(s DeliveryState)
}

// JobEnd is how an attempt ended.
type JobEnd struct {
	State State     // what was stored: final, or queued to try again; "" when the lease was lost and nothing was
	Code  ErrorCode // of its error; "" when it has none
	Ran   time.Duration
}

// SweepTask says what a sweep was for.
type SweepTask string

const (
	SweepRetention SweepTask = "retention" // scans and archives that are old
	SweepDeletions SweepTask = "deletions" // scans that their tenants deleted
	SweepOrphans   SweepTask = "orphans"   // what a crash left behind
)

// SweepTasks lists all.
func SweepTasks() []SweepTask { return []SweepTask{SweepRetention, SweepDeletions, SweepOrphans} }

// Swept is what one turn did.
type Swept struct {
	Task     SweepTask
	Scans    int   // removed by age, or since their tenants deleted them
	Findings int   // with them
	Archives int   // removed by age while their scans stay
	Blobs    int   // that were removed: of old archives, or that no scan needed
	Bytes    int64 // in them
	Failed   bool  // it did not do all that there was
}

// NoMeter counts nothing.
type NoMeter struct{}

var _ Meter = NoMeter{}

func (NoMeter) JobStarted(string, time.Duration)    {}
func (NoMeter) JobEnded(string, JobEnd)             {}
func (NoMeter) LeasesExpired(int)                   {}
func (NoMeter) DoorbellsRung(int)                   {}
func (NoMeter) DoorbellsHeard(int)                  {}
func (NoMeter) EventsDropped(int)                   {}
func (NoMeter) Answered(string, int, time.Duration) {}
func (NoMeter) Swept(Swept)                         {}
func (NoMeter) RateLimited(string)                  {}
func (NoMeter) LimitsAlone(bool)                    {}
func (NoMeter) WebhookTried(DeliveryState)          {}
