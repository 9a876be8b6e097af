// Package ratelimit decides whether a request may go on, for the API.
//
// Rates are counted on a server that all hosts share ([Limiter] asks it). The
// requests that come while it is being asked share the next question, so a busy
// host asks seldom and an idle one waits for nobody.
//
// While that server does not answer, each host counts by itself ([Local]), with
// its part of every rate: the rate divided by Config.Hosts. So what all hosts
// let through together stays what it was, when that is how many there are; a
// tenant whose requests all go to one host gets its part only. Nobody is let
// through uncounted, and nobody is refused because the server is away. A host
// that asked in vain asks again once in each Config.Pause, with one request, and
// the first answer ends it.
//
// Who holds the truth: the shared server; what a host counted by itself is not
// added to it. Losing either (a flush, a restart) fills all buckets.
package ratelimit
