// Package sandbox confines one plugin process on Linux.
//
// # How a process gets into it
//
// A program that starts sandboxed processes calls [Main] first thing. The host
// starts itself again under a hidden name, in new namespaces; that second
// process, the shim, is told over a socket what to set up, does it while the
// host puts it into its cgroup of v2, and becomes the plugin by exec:
//
//	host   clone(namespaces) ── spec ──► join v2 ── go ──► reads "" : it runs
//	shim              start    mounts, rlimits      join v1, drop, landlock, seccomp, exec
//
// What the shim cannot do it says over the same socket and ends; nothing of the
// plugin has run then. exec closes the socket, and the plugin inherits no file
// but its three standard streams.
//
// # Layers
//
// Each layer stops something by itself, and several stop the same thing, so that
// a hole in one is not a hole in the sandbox. [Wall] says what must hold, and
// which layers can hold it:
//
//   - A root of its own (mount namespace): an empty file system in memory with
//     the system's programs and libraries, a few files of /etc, /dev/null and its
//     kin, the plugin itself and its own directories. Everything else is not
//     hidden but absent: the host's data, other tenants' trees, homes, secrets,
//     the sockets of Docker, PostgreSQL and Redis. All of it is read-only but the
//     process's own directory, /tmp and /dev/shm, without set-uid and devices.
//   - With Spec.Egress a listener on that loopback, which the shim opens, hands to
//     the host over the channel and lets go of: the host serves it from outside the
//     namespace, so that what is behind it is the host's to say, and no process of
//     ours is inside.
//   - Namespaces of pids (nothing else can be seen, signalled or traced, and all
//     of it ends with the first process), network (no address but a loopback that
//     is down), IPC and host name. A host that is not root needs a user namespace
//     for these.
//   - A uid of its own, when the host is root, and no capability; no_new_privs.
//   - Landlock: the same files once more, TCP, and no signal or abstract socket
//     to a process outside.
//   - seccomp: no new namespaces, mounts, tracing, keys, BPF, io_uring and the
//     like, no 32-bit calls; without network no socket but unix ones.
//   - cgroups (v1 and v2): memory, processes and CPU of the whole tree.
//   - rlimits: data segment (where no cgroup bounds memory), size of a file,
//     open files, processes, no core. RLIMIT_AS is not set: Go and node reserve
//     far more address space than they use.
//
// # What a machine does not give
//
// [Open] tries each layer once, in a process that does nothing else. What is
// missing is in [Support]; whether that is acceptable is its caller's to say.
// Where there are no namespaces, as in a container with default settings,
// Landlock and seccomp hold the walls, and seccomp is stricter for it: without a
// root of its own no connecting of sockets, without a pid namespace no leaving of
// the process group. Landlock gives what is below a directory at least what the
// directory has, so nothing in Spec.Read may lie in one of Spec.Write then.
//
// # What a crash leaves behind
//
// Mounts, namespaces and what was written to /tmp end with the process. Empty
// cgroups stay when the host is killed; the next Open removes those whose host
// is dead.
package sandbox
