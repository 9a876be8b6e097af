// Package testserver gives tests real PostgreSQL and Redis servers: private
// processes on free loopback ports, with data in a temporary directory, which for
// what need not last is one in memory where the machine has it.
//
// [Postgres] and [Redis] share one server of each kind between the tests of a
// process. When the environment names running ones (see [PostgresEnv] and
// [RedisEnv], set by cmd/testserver) those are used; otherwise the first test
// that asks starts them. [StartPostgres] and [StartRedis] start a private one
// that the test may kill, pause and start again.
//
// Nothing is left behind, however the owner ends. Every server is the child of
// a small shell, the keeper, which reads a pipe whose other end only the owner
// holds. When the owner stops the server or dies, the pipe closes and the
// keeper stops the server; unless told otherwise it also removes the data. No
// goroutine waits for a shared server, so goleak has nothing to report.
package testserver
