package api

// What the tests look at by itself.
var (
	ParsePrefer = parsePrefer
	AcceptsGzip = acceptsGzip
)
