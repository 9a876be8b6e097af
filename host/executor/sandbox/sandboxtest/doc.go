// Package sandboxtest makes a machine poorer for a test: a process, and all that
// it starts, is refused what some machines refuse. It does that with a filter of
// system calls, as container runtimes do.
package sandboxtest
