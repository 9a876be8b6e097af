// Package dispatch is a job's life on this host: from a queued row to a stored
// result. A [Dispatcher] runs in every host and needs no leader.
//
// Data flows one way through four loops:
//
//	relay     store.Dispatch -> doorbells.Ring     queued jobs that are ready, a shallow window of them: claimed by the same
//	                                               transaction for free slots here, rung for whoever has some otherwise
//	listener  doorbells.Listen -> store.Claim      as many as there are free slots
//	runs      workspaces.Prepare -> executor.Run   a goroutine for each slot, one claimed job after the other
//	finisher  store.Finish                         what ended at about the same time, in one transaction
//
// beside them the heart (store.Heartbeat, every lease of this host in one
// statement, which also brings cancels) and the sweeper (store.Expire: jobs of
// hosts that died; store.MendLanes: jobs that the relay would overlook).
//
// Two more parts make it quicker or visible, and nothing depends on them. The
// canceler tells other hosts of cancels that were stored here and hears of
// theirs; a message makes the heart beat at once for the leases concerned, and
// only the store's answer stops a run, so a forged one costs a statement. The
// publisher tells how jobs go: two events for one that succeeds, and one a beat
// while there is news. It never blocks: with Redis down or too slow it drops
// events and counts them. It does not say how a scan stands, which is derived
// in the store: whoever reads that a job ended asks there.
//
// With Slots 0 a dispatcher rings and sweeps and runs nothing, as on a host
// that only takes requests.
//
// Who holds the truth: the store. A job is this host's to write to while it
// holds the lease, and every write says which lease it is. The host stops a
// plugin when it could not renew for so long that the lease may have run out,
// so at most one host at a time believes that it runs a job, give or take the
// margin, and at most one can store a result, always.
//
// What a crash leaves behind: a claimed job whose lease runs out; any host's
// sweeper puts it back. A job marked as rung whose doorbell was lost; any
// host's relay rings it again after the horizon.
//
// The normal path does not poll: accepting a scan wakes the relay, and so does
// a claim when the window was full and an end when a cap was reached; a doorbell
// wakes the listener. The timers are for what went wrong elsewhere, and for room
// that other hosts have made.
package dispatch
