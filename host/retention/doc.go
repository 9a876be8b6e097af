// Package retention removes what a host no longer needs: scans and archives
// that are old, blobs that no scan needs, and what dead hosts left on disk.
//
// # By age
//
// A scan that ended long enough ago goes with its jobs, its findings and its
// archive; how long that is, its tenant's plan says, within what holds for all.
// An archive may go earlier, while the scan and its findings stay.
// Nothing that has not ended is ever touched. Each turn takes small batches
// with a pause between them, so that it is never in the way of jobs; what one
// turn does not finish the next does. Every host runs this side by side, and
// no leader is needed: the store gives each scan to one of them
// (host.RetentionStore).
//
// # By wish
//
// A tenant deletes scans: a row says which, and from then on nobody sees them. Any
// host removes them, in batches as above; what is left to do are the rows that are
// left, so one that dies in between is no matter. The host that was asked begins at
// once.
//
// # Rows first, then blobs
//
// The other order would leave, after a crash in between, a scan that names an
// archive which is not there. This one leaves a blob that no scan names: an
// orphan. Uploads leave such as well, when a host dies between storing the
// archive and accepting its scan.
//
// # Orphans
//
// The sweep lists the blobs, leaves alone those younger than a grace (an upload
// whose scan is not accepted yet looks the same), asks the store which of the
// others no scan needs, and removes these. A blob's age is by the clock of
// what keeps it, so the grace is also how far that may be off. Beside blobs it
// runs what the caller gives it: sweeps that know by file locks what belongs to
// a living host.
//
// # Whose blobs
//
// To a database that is new, or another installation's, all blobs would be
// orphans: one wrong setting would remove every archive. The blob "origin" says
// which database the others belong to. The first host that runs writes it, and
// the sweep leaves alone what belongs to another.
package retention
