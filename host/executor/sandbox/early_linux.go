package sandbox

// init becomes the shim before most other packages of the host are initialised,
// of which it uses none. Go initialises a package once what it imports is, the first by path; where
// that is late it is only slower, and what Main does is the same.
func init() { Main() } //nolint:gochecknoinits // a process of the shim's name is no host, whatever it would wire
