// Package identity tells which findings of a scan are which of its project's:
// pure functions over what one plugin said, then and now. It reads no clock and
// no store, so whatever tracks findings gets the same answer for the same rows,
// in whatever order they come.
//
// [Match] pairs observations with known findings, one to one. [Decide] says
// what follows from that: what is new, unchanged, updated or absent. The rules
// and their reasons are in docs/decisions/0014-findings-that-live.md.
package identity
