// Package proxy is the way out of a plugin process that has no network: an HTTP
// proxy of the host, which resolves names, looks at where they lead by the rules
// of sdk/egress, and dials.
//
// A process has an [Exit] of its own, which serves the listeners that its sandbox
// has: a socket with a path, for those who know it, and one on the loopback of
// its network namespace, for tools that know HTTP_PROXY. The second is opened in
// the namespace and served from outside it, so that nothing runs in the sandbox
// to pass bytes on, and nothing there could be taken over.
//
// It takes CONNECT, for anything over TCP at a port that may be called, and
// requests with an absolute URL, which must be http. What is sent through is left
// as it is, but for the headers that are between a client and its proxy.
//
// # Who owns what
//
// Serve takes a listener and returns; Close ends every connection, in and out,
// and returns when no goroutine is left. Begin and its end bracket a job: while it
// runs, nothing is called but what it may call, or another job of the process; when
// the last of them ends, whatever the process has open to the outside is closed.
// Nothing is kept between two requests: each resolves its name anew and is looked
// at anew.
//
// # Bounds
//
// Connections of a process, the header of a request and the time until it is
// there, silence on a connection, its age, and the bytes of a job if an operator
// wants that. What is refused is answered with 403 and what an operator could do
// about it; for CONNECT that is in the status line as well, because it is all
// that most clients show.
package proxy
