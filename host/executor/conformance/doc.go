// Package conformance tests any executable against the plugin contract, in
// whatever language it is written: what passes here is what the host runs,
// because the processes are started by the host's own launcher.
//
// [Run] makes a directory of hostile and harmless trees, starts the plugin a
// few times and does what the host does, and what goes wrong around a host:
// wrong settings, odd trees, cancels, deadlines, stopped processes, a dead
// parent. Each [Check] has an id that stays the same, says what was seen when
// it fails, and what to do.
//
// # How the checks share the work
//
// Starting a process for each question would make the kit too slow to be run
// often. So the trees are scanned once, on one process for as long as it lives,
// and each scan leaves a transcript. A check of a tree judges how its scan
// ended; the checks of events, findings and artifacts judge all transcripts.
// That is why one mistake of a plugin fails one check and not all: a scan with
// two Completed still ended, and only events.completed minds.
//
// When the plugin cannot be started, described or configured, the checks that
// need it are not applicable, and the one that says why fails.
//
// # What it does not see
//
// The kit knows where a plugin writes only within its own directory: the
// target, its surroundings, the work directory and the process's own. What else
// a plugin may reach is the sandbox's to bound.
package conformance
