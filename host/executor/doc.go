// Package executor runs jobs in plugin processes: it launches them over
// go-plugin and gRPC, keeps some ready, watches each scan, and ends the process
// and all it started when the scan is over. It implements host.Executor.
//
// # Who owns a process
//
// A process belongs to the keeper of its plugin while it waits (standby, a
// tenant's, or shared between runs), and to Run while a scan is on it. With
// PerScan, Run stops it before it returns. With PerTenant and Shared, Run gives
// it back; a process with a scan that ignored Cancel, or that broke the
// contract, is retired: it takes no new runs and is killed when the last of
// those it has ends, while another takes its place. Serve returns when no
// process is left.
//
//	start -> handshake -> Describe -> Configure -> waiting -> Scan -> stopped
//	          StartTimeout    5 s         10 s                          a few s
//
// A scan ends by the plugin's own word (Completed, then the end of the stream),
// by its fault, or by the host: the context ends, MaxSilence passes without an
// event, or there are more findings than are kept. Then the ladder: Cancel,
// CancelGrace, the stream's context, SIGKILL. Every way out but Completed is a
// *host.Fault whose message says what happened, with the last line the process
// wrote to standard error. Too many findings are no fault: the first MaxFindings
// are kept and the scan is partial. So it is when single findings or artifacts
// cannot be kept: they are left out and counted, and the reason says why.
//
// # What may be started, and what becomes of a plugin that fails
//
// Before its first process a plugin's program is opened (package catalog): what
// is hashed then is what every process executes. If what it said of itself is
// remembered, its version and settings are held against its block at once; else
// when the first process has told.
//
//	unknown -> starting -> ready <-> degraded
//	              |  ^       |  a start fails, or a waiting process ends
//	              v  |       v
//	            backoff ------------> quarantined
//	                    max failures   also: pin, version or settings do not fit
//
// A plugin that cannot be started stays in Plugins: its jobs fail with
// plugin_unavailable and the reason, so that they use up their attempts and
// become dead letters instead of waiting for ever. In backoff each job still
// tries. In quarantine nothing is started until the program changes on disk,
// Reload says so or, unless only a change can help, a Window has passed: then one
// start is let through. A process that dies of a scan opens no quarantine:
// whoever can send scans could take the plugin from everybody else. No plugin
// stops another.
//
// Reload puts a new keeper in the place of an old one. Runs that have the old
// one end on it; it is gone when the last of them is.
//
// # What a plugin can do to the host
//
// go-plugin trusts its plugins; this package does not, and puts itself between:
//
//   - Standard error never reaches go-plugin, which panics on {"@message":1}.
//     It is read, cut, cleaned and logged here, a bounded number of lines a
//     second.
//   - Of standard output only one line is passed on, written by this host from
//     a handshake it has checked: unix, a socket right in the process's own
//     directory, grpc, no certificate. The socket is opened without following
//     links and dialled through that file, so nothing can be put in its place.
//     AutoMTLS is off: behind a directory with mode 0700 it protects nothing
//     and costs 30 ms a start. The check of the handshake is what keeps a plugin
//     from making the host dial elsewhere, and a sixth field from crashing it.
//   - Kill of go-plugin may block for ever: it runs beside a timeout and is
//     followed by SIGKILL in any case. Shutdown gets a deadline, the broker is
//     not answered, and messages, headers and windows have limits.
//   - Findings go through internal/clean. One of an undeclared rule or outside
//     the target is left out; a count that does not add up is a fault.
//   - An artifact is opened beneath the work directory through no link, only as
//     a regular file with one name, and copied, counted and hashed by the host.
//
// # What holds the processes of a plugin together
//
// On Linux a plugin gets a pid namespace of its own (with a user namespace when
// the host is not root): when its first process ends, by itself or by SIGKILL,
// the kernel ends all others, also those that made a session of their own. In it
// the plugin has pid 1; /proc is the host's. Where the machine refuses that, or
// Config.NoPIDNamespace is set, a process group is killed, and then every
// process that has the plugin's random SECURETAG_PROCESS in its environment.
// What that does not find is a process that both left the group and was started
// with another environment. PluginStatus.Containment says which one it is.
//
// All of that is for plugins outside the sandbox. Nothing limits these in memory,
// processor, files or network, nor in what they may read and write as the host's
// user.
//
// # The sandbox
//
// Package sandbox confines a process; cell.go says what it gets to see. One that is
// started for a job is shown the job's tree where it lies. One that was started before
// its job was known has the tree moved into a directory that it sees already (a slot)
// when the scan begins, or, where other jobs of the scan use it, linked there. Neither
// sees another scan's. With Shared it sees the trees of all, read-only. Required refuses to
// start a plugin where a wall of the sandbox does not hold; PluginStatus says
// which layers there are. What a process ran out of is the reason of its fault.
//
// With Egress a confined process has a network of its own in which there is only
// its way out (package proxy), which is served from when it is made until the
// process is dead: egress.go. A job is bracketed by Begin and its end, so that what
// it used is known and nothing of it stays open.
//
// # What a crash leaves behind
//
// When the host dies, also by SIGKILL, the kernel kills its plugins (parent
// death signal, from a thread that lives as long as they do; with the process
// group only the plugin itself, not its children). Left behind are directories
// in RunDir, which the next Serve removes. A plugin that dies leaves nothing: its group or namespace is killed, it
// is reaped and its directory removed before Run returns.
package executor
