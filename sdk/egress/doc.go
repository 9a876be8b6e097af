// Package egress calls addresses that strangers chose: the target of a web scan,
// the links on its pages, the URL of a webhook. It reaches public addresses and
// those of networks that the operator allowed, and nothing else.
//
// A target is looked at three times, because each look sees what the others
// cannot:
//
//  1. [Guard.CheckURL], when it is written down and before each request: the
//     scheme, the port, and every way to write an address or a name that is no
//     public one. It asks nobody.
//  2. [Guard.DialContext], when the name is resolved: each address that it
//     resolves to. One that is refused refuses all, for a name that leads both
//     out and in is not meant well.
//  3. The socket, just before it connects: the address that is really dialled.
//     No second answer of the name server gets past that.
//
// No proxy is taken from the environment, and redirects are answers like any
// other unless [Config.Redirects] says so; those that are followed are looked at
// as the first request was. Answers are bounded in bytes and time, also when they
// are compressed.
//
// Addresses of cloud metadata services are refused whatever the operator allowed:
// they hand out the machine's own credentials. So are the addresses of this host's
// interfaces, in whatever network they are, unless one is allowed by itself: who
// opens 10.0.0.0/8 does not mean what listens here, at 10.1.2.3, for nobody else.
// They are asked for as connections are made, since they change. What leads to
// this host otherwise, as an address that a gateway translates, cannot be known.
//
// Where the host confines a plugin to a proxy of its own, Config.Proxy goes out by
// that: then the first look is taken here, and the other two by the proxy, which
// keeps to the same rules because it is made of this package.
//
// It is part of the kit because a scanner that calls a target needs it, and one
// list of what must not be called is enough: the host uses this one as well. It
// knows nothing of scans. What it cannot do is confine a process: a scanner that
// dials past it is stopped by its host's sandbox, or not at all.
package egress
