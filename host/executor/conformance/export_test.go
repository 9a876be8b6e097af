package conformance

// WithTrees are the options with only some of the kit's trees.
func WithTrees(o Options, names ...string) Options {
	o.trees = names
	return o
}
