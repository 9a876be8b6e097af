// Package record is what a scan, a job and a finding look like in a row, the
// same for every store: which columns, what JSON in them, which text they take,
// and what no row may hold.
package record
