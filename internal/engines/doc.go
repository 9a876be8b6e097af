// Package engines tests what the scanners that come with SecureTag are worth, in
// the real host: that they find what is planted in examples/vulnerable-app and
// leave examples/clean-app alone, and that one that is broken is never clean.
package engines
