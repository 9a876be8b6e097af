package config

// Untagged lists the settings that do not say what a reload does with them.
func Untagged() []string {
	var out []string
	newSchema().leaves(func(n *node) {
		if n.reload == "" {
			out = append(out, n.path)
		}
	})
	return out
}
