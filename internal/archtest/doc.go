// Package archtest holds the rules of the house as tests: who may import whom,
// and what every package must have.
package archtest
