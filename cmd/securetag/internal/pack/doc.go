// Package pack makes the archive that `securetag scan DIR` uploads: the files
// of a directory that git would not ignore, as tar.zst.
//
// It works in two passes. [Prepare] walks the tree, decides on every entry and
// opens every file once, so that what is unreadable, unwanted or unfit is said
// before the first byte is sent and totals are known. [Plan.Write] then streams
// the archive with memory that does not grow with the files. The same tree
// gives the same bytes: names are sorted, owners, times and modes left out.
//
// What is packed. Regular files only. Symbolic links are never followed, and
// everything is opened beneath the root, so nothing outside it can be reached,
// not even while somebody swaps directories. Left out and counted: links,
// devices and sockets, and what .gitignore files and .git/info/exclude ignore;
// ".git" itself goes without saying. Left out and listed with a reason: names
// that the server refuses (see names.go).
//
// How ignoring works. As git does it in a repository with no user-wide
// excludes: .gitignore in every directory from the top of the repository down,
// then .git/info/exclude. Above the root only that repository's own files
// count. A nested repository starts afresh. Three differences, on purpose:
// git's index is not read, so a file that is tracked although it is ignored is
// left out; the directory that the user named is never itself ignored; and a
// ".git" that is a file (a worktree, a submodule) is not followed to the
// info/exclude of another place.
//
// Unreadable files fail the plan, all of them named: a scanner that silently
// skips what it cannot read gives a clean result that is not one. A file that
// shrinks while it is read fails the archive; one that grew is packed with the
// size it had when it was opened, since a log that is written to is normal.
//
// Why zstd. On the same tree it is about twice as fast as gzip and smaller, and
// the server reads both. The window is kept to 4 MiB, so that the server needs
// no more to unpack it.
package pack
