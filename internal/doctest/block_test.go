package doctest_test

import (
	"fmt"
	"strings"
)

// block is one fenced block of a page.
type block struct {
	line  int // of its fence, 1-based
	lang  string
	marks map[string]string // "run" -> "", "exit" -> "1"
	text  string
}

func (b block) has(mark string) bool {
	_, ok := b.marks[mark]
	return ok
}

// blocks finds the fenced blocks of a page. A mark that this package does not
// know is a mistake: the block would silently not be tested.
func blocks(page string) ([]block, error) {
	known := map[string]bool{"run": true, "exit": true, "demo": true, "output": true, "file": true, "include": true}
	var (
		all   []block
		open  *block
		lines []string
	)
	for i, line := range strings.Split(page, "\n") {
		info, fence := strings.CutPrefix(line, "```")
		switch {
		case !fence && open != nil:
			lines = append(lines, line)
		case fence && open != nil:
			open.text = strings.Join(lines, "\n")
			all, open, lines = append(all, *open), nil, nil
		case fence:
			open = &block{line: i + 1, marks: map[string]string{}}
			for n, word := range strings.Fields(info) {
				if n == 0 {
					open.lang = word
					continue
				}
				mark, value, _ := strings.Cut(word, "=")
				if !known[mark] {
					return nil, fmt.Errorf("line %d: a block is marked %q, which means nothing here", i+1, word)
				}
				open.marks[mark] = value
			}
		}
	}
	if open != nil {
		return nil, fmt.Errorf("line %d: the block does not end", open.line)
	}
	return all, nil
}

// step is what a shell does for one block, and what must come of it.
type step struct {
	block
	want *block // the output that the page shows, nil when it shows none
}

// steps joins outputs to the blocks that make them.
func steps(page string) ([]step, error) {
	all, err := blocks(page)
	if err != nil {
		return nil, err
	}
	var out []step
	for i, b := range all {
		switch {
		case b.has("run"), b.has("file"):
			out = append(out, step{block: b})
		case b.has("output"):
			if i == 0 || !all[i-1].has("run") {
				return nil, fmt.Errorf("line %d: an output without a block that was run right before it", b.line)
			}
			out[len(out)-1].want = &all[i]
		}
	}
	return out, nil
}
