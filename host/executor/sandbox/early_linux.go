package sandbox

// init becomes the shim before the other packages of the host are initialised:
// that is most of what a large program costs to start, and a shim uses none of
// it. Go initialises a package once what it imports is, the first by path; where
// that is late it is only slower, and what Main does is the same.
func init() { Main() } //nolint:gochecknoinits // a process of the shim's name is no host, whatever it would wire
