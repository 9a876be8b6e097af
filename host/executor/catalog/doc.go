// Package catalog knows what a configured plugin consists of, before there is
// a process of it: the bytes that may be executed, and what they say of
// themselves.
//
// # What is pinned
//
// A [Source] without Files is one executable. Open reads it once, into memory
// that nobody can write any more (a sealed memfd), hashes what it has read, and
// that is what every process of the plugin executes: what is done to the file
// afterwards counts for nothing. Where there is no such memory it is a private
// copy.
//
// A Source with Files is a program for an interpreter. Command is the
// interpreter then, which is the machine's own like the libraries of a linked
// executable, and is run by its path; the files are what is pinned. Each
// process gets a copy of its own, which is hashed while it is made, so that
// none can change what another runs.
//
// The hash of files is that of the list that sha256sum prints of them, sorted
// by name:
//
//	cd DIR && find . -type f | cut -c3- | LC_ALL=C sort | xargs sha256sum | sha256sum
//
// Only regular files are in it. A link is left out, and so is not there when
// the program runs.
//
// # What is remembered
//
// A [Cache] keeps what a program said in Describe under its hash and its
// arguments, so that settings are checked, and a plugin is shown, without a
// start. It only ever saves work: what a started process says is what counts,
// and a file that cannot be read or makes no sense is as good as none.
package catalog
