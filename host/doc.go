// Package host is the domain of SecureTag: what a scan, a job, a finding and a
// tenant are, which states they may pass through, and the ports (small
// interfaces) through which the rest of the system stores, rings, runs and
// keeps them. It does no I/O and imports no driver.
//
// Data flows one way:
//
//	api -> intake -> ScanStore.Accept -> dispatch.Relay -> Doorbells
//	    -> dispatch.Worker -> JobStore.Claim -> Executor -> JobStore.Finish
//
// The store is the truth. A doorbell only says "job N is ready": losing one,
// doubling one or wiping Redis delays a job and never loses it. Every write to
// a running job carries its [Lease] and changes nothing once that lease is
// gone, so a host that was paused or cut off cannot overwrite its successor.
package host
