// Package chaos proves that no scan is lost and none is done twice. Its tests
// run several host processes on one database, one Redis and one data directory,
// upload scans over HTTP to plugins that misbehave, and meanwhile kill, stop
// and wipe whatever there is, at random from a printed seed.
//
// The witness is the database: a trigger writes every change of a job to a
// table, with the name of the process that made it. After the storm that
// history must be one of legal transitions, by the holder of the lease, and
// what is visible must be exactly what the plugins were told to find.
//
// Quotas have a storm of their own, on PostgreSQL with three hosts and on SQLite
// with one: triggers keep a second account of what tenants hold, in the order in
// which it changed, against which limits, ledger, counters and blobs are held.
//
// A short storm runs with the other tests; `make chaos SEED=1 SCANS=3000` runs
// a long one, and the mutants: hosts built without one of the safeguards, which
// these tests must catch.
//
// Folders: plan says what the plugin flaky does with which options, so that the
// tests can know what must come out; proxy loses replies of servers.
package chaos
