// Package intake takes an accepted request to durable rows.
//
// An archive goes through three steps, and whatever fails leaves nothing
// behind:
//
//	Stage    streams it into the blob store under a size limit, then checks it
//	Accept   stores the scan and its jobs in one transaction
//	wake     tells dispatch; from here the scan reaches a final state
//
// The blob is written before the row, so a row never names a blob that was not
// stored. A host that dies between the two leaves a blob that no row names,
// never a scan without its archive. When the store loses its connection during
// the transaction nobody knows whether it was committed: intake asks for the
// scan by the id it chose, and keeps the blob unless it is certain that no row
// needs it.
package intake
