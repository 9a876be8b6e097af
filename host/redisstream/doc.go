// Package redisstream carries doorbells on Redis Streams: on a standalone
// server, behind Sentinel, on a Cluster, or on the in-process server of
// [StartEmbedded], always over the same protocol and the same code.
//
// One stream holds the doorbells of one plugin, so that a host reads only
// those of plugins it runs; all streams share a hash tag and with it a Cluster
// slot, so that one XREADGROUP reads them all. An entry carries a job id and
// nothing else.
//
// Who holds the truth: the store. Entries may be lost (a flush, a failover, a
// trim) or doubled (XADD is sent again after a lost reply); the dispatcher
// rings again after its horizon, and a claim of what is already claimed finds
// nothing.
//
// What a crash leaves behind: a host that dies between reading an entry and
// silencing it leaves it pending. Any listener takes entries over that have
// been pending longer than Config.Idle. Consumer names are stable, so hosts
// that come and go do not pile up consumers.
//
// Nothing grows without bound: a stream has a length at most, and a stream that
// no host rings or listens to for a week goes, with its group.
//
// Only commands of Redis 7.0 are used.
package redisstream
