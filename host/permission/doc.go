// Package permission decides which hosts a tenant may have scanned.
//
// The operator lists hosts in a plan, or for one tenant; everything else takes a
// proof. A tenant registers a target, gets a token, and publishes it: as a TXT
// record, which whoever governs the name can do, or as a file, which whoever
// governs the web server can. A check that finds the token makes a proof, which
// holds for a time. Checks are made again before that is over, by whatever host is
// free, so that a proof lasts as long as its token is there and ends when that is
// taken away.
//
// The store is the truth, also of the time: a proof's age is by its clock. What
// another tenant proved is never looked at, so it changes no answer.
//
// A token is no secret. It is bound to one tenant by the row that it is in:
// another tenant's row of the same host has another one.
package permission
