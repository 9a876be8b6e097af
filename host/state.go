package host

import "slices"

// State is where a scan or a job stands. Scans and jobs share the states; a
// scan's state is derived from its jobs by [DeriveState] and never set apart
// from them.
type State string

const (
	StateQueued    State = "queued"    // accepted, waiting for a free slot or for its retry time
	StateRunning   State = "running"   // a host holds the lease
	StateSucceeded State = "succeeded" // the whole target was scanned
	StatePartial   State = "partial"   // findings are good, some of the target was not scanned
	StateFailed    State = "failed"    // gave up, with a reason
	StateCanceled  State = "canceled"  // ended by its tenant
	StateTimedOut  State = "timed_out" // over its deadline
)

// jobTransitions is the whole state machine of a job. Whatever is not here is
// illegal: the stores refuse it and storetest checks that they do.
var jobTransitions = map[State][]State{ //nolint:gochecknoglobals // a table, never written
	StateQueued: {
		StateRunning,  // claim
		StateCanceled, // cancel before a host took it
		StateTimedOut, // deadline passed while it waited for a retry
	},
	StateRunning: {
		StateQueued,                               // retry, release at shutdown, lease expired
		StateSucceeded, StatePartial, StateFailed, // finish
		StateCanceled, // the plugin stopped after a cancel
		StateTimedOut, // over its deadline
	},
	StateFailed: {
		StateQueued, // requeue, by an operator and of a dead letter only
	},
}

// States lists every state, in the order in which they usually happen.
func States() []State {
	return []State{StateQueued, StateRunning, StateSucceeded, StatePartial, StateFailed, StateCanceled, StateTimedOut}
}

// CanBecome reports whether a job may go from s to next.
func (s State) CanBecome(next State) bool { return slices.Contains(jobTransitions[s], next) }

// Final reports whether no host and no tenant can change s any more. An operator
// can still requeue a failed job that is a dead letter ([QueueStore]), and its
// scan is open again then.
func (s State) Final() bool { return s != StateQueued && s != StateRunning }

// Valid reports whether s is one of the declared states.
func (s State) Valid() bool { return slices.Contains(States(), s) }

// DeriveState gives the state of a scan from the states of its jobs:
//
//   - all still queued: queued; any not final: running
//   - any canceled: canceled (a cancel is of the whole scan)
//   - all succeeded: succeeded
//   - none delivered (succeeded or partial): timed_out if all timed out, else failed
//   - otherwise partial: a failed engine is never a clean result
//
// The stores derive the same in SQL; storetest runs both side by side. A scan
// without jobs does not exist; for none it gives failed.
func DeriveState(jobs []State) State {
	n := map[State]int{}
	for _, s := range jobs {
		n[s]++
	}
	all, delivered := len(jobs), n[StateSucceeded]+n[StatePartial]
	switch {
	case all == 0:
		return StateFailed
	case n[StateQueued] == all:
		return StateQueued
	case n[StateQueued]+n[StateRunning] > 0:
		return StateRunning
	case n[StateCanceled] > 0:
		return StateCanceled
	case n[StateSucceeded] == all:
		return StateSucceeded
	case n[StateTimedOut] == all:
		return StateTimedOut
	case delivered == 0:
		return StateFailed
	default:
		return StatePartial
	}
}
