package main

import "testing"

// However the engine's output is cut, the report is its last whole line.
func TestListener(t *testing.T) {
	t.Parallel()
	const printed = "first\n\n{\"done\":true}\nhalf"
	for size := 1; size <= len(printed); size++ {
		l := &listener{}
		for rest := printed; rest != ""; {
			n, err := l.Write([]byte(rest[:min(size, len(rest))]))
			if err != nil || n == 0 {
				t.Fatal(n, err)
			}
			rest = rest[n:]
		}
		if string(l.report) != `{"done":true}` {
			t.Errorf("in pieces of %d: %q", size, l.report)
		}
	}
}
