// Package workspace turns a hostile archive into a directory that a plugin may
// read, and hands out the directories that a job works in.
//
// [Check] walks a whole archive under the rules without writing anything, so
// that the client who uploads it hears the reason for a refusal at once.
// [Extract] is the same walk with a directory below it: what one accepts the
// other accepts, with the same summary.
//
// # Rules
//
// The format is told by content: zip, tar, tar.gz and tar.zst. Only regular
// files and directories come out, 0444 and 0555, owned by the host, whatever
// mode, owner, time and attributes the archive asked for. Links, devices,
// fifos and everything under a ".git" (whose config can name programs to run)
// are dropped and counted. Everything else that is unusual is refused with an
// [ArchiveError], and nothing is guessed:
//
//   - names: no absolute path, "..", ".", empty segment, backslash, control
//     character or invalid UTF-8; no two names that a file system which folds
//     case or Unicode forms would take for one, directories on the way included;
//   - budgets: see [Limits]. They count bytes that were really read and
//     written, never what a header declares; a declared size only makes the
//     refusal come sooner;
//   - zip: the end record ends the file and the central directory ends at the
//     end record, entries do not overlap, local and central header agree on
//     name and method, checksums hold, nothing is encrypted or split;
//   - tar: it has its end marker, and after that come only zeros; no sparse
//     files. A gzip or zstd stream may have several members or frames, as their
//     RFCs say, but every byte of the file must belong to one.
//
// The zip directory is read by our own code as a stream: archive/zip keeps the
// whole directory in memory, five times its size, and does not show where the
// local headers are, which the checks for overlaps and names need. Every zip
// that is accepted must read the same with archive/zip; the tests and the fuzz
// target hold that.
//
// # Directories
//
// A [Manager] owns one sub-directory of the directory it is given, locked for
// as long as its process lives:
//
//	lock        held while a manager makes or sweeps a sub-directory
//	h123/lock   held by the manager that owns h123
//	h123/t1     a scan's tree, read-only, shared by the scan's jobs
//	h123/w2     an attempt's private working directory
//	h123/x3     a bin: what is in it is being removed
//
// A crash leaves the sub-directory with its lock free, and the next manager to
// sweep removes it. Nothing in here needs to survive. Trees are spread over the disk,
// because ext4 creates files up to twenty times slower where thousands were deleted
// in the last minutes (package spread).
package workspace
