// Package report shows a scan to the person or program that asked for it: a
// table, JSON or SARIF, live progress, and an exit code.
//
// Everything in a scan may come from a hostile tree or plugin. Nothing here is
// written to a terminal before safetext.Plain or safetext.Visible has seen it, and no
// document has a byte in it that a terminal would obey.
//
// A scan that failed in any part is never shown as clean: the table says so
// next to the summary, SARIF has executionSuccessful false, and the exit code
// is 3 whatever was found.
package report
