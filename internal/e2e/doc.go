// Package e2e runs the whole system as its users do: real host processes, real
// plugins, real servers, over HTTP. One suite runs in three places: embedded,
// on PostgreSQL and Redis, and on two hosts that share both.
package e2e
