// Package webhook tells tenants' servers that their scans have ended, by Standard
// Webhooks 1.0.0 (https://www.standardwebhooks.com).
//
// The store is the truth: the transaction that ends a scan also writes a pending
// delivery for each webhook that wants to hear of it, so neither is there without
// the other. A [Deliverer], of which every host that runs jobs has one, claims
// what is due under a lease, sends it and stores what came of it. What a host
// that dies had under way is sent again when its lease is over, or when the host
// is back: a message may come twice, always with the same webhook-id, and none is
// lost.
//
// An answer of 2xx is a success and anything else is not, a redirect least of
// all: it is not followed. A message is tried ten times over three days, as the
// standard has it. 410 disables the webhook at once, days of failure do so in the
// end, and 429, 502, 503, 504 or no answer at all keep everything from it for a
// while.
//
// A receiver that hangs costs nobody but its tenant: a host has few deliveries
// under way to one webhook, and few of one tenant. What a receiver says is not
// kept, only its status: it may be a server of the inside that somebody hopes to
// read in this way.
package webhook
