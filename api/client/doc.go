// Package client is the Go client of the SecureTag API, and the types that go
// over its wire. It imports nothing but the standard library.
package client
