package gitignore

// glob is a compiled pattern: a sequence of steps that must use up a name.
// Matching follows all possible positions at once, so that a pattern such as
// *a*a*a*a*b costs (length of name) x (steps) and no more.
type glob []step

type step struct {
	kind kind
	char byte
	set  *[256]bool
}

type kind uint8

const (
	one     kind = iota // this byte
	anyOne              // any byte but "/" where that counts
	oneOf               // a byte of set
	run                 // any number of bytes but "/"
	deep                // any number of bytes
	deepDir             // deep, or nothing at all together with the "/" step behind it
	never               // malformed: matches nothing
)

// compile reads a pattern. With paths, wildcards stop at "/" and "**" between
// slashes spans directories; without, the name has no slashes.
func compile(p string, paths bool) glob {
	var g glob
	for i := 0; i < len(p); i++ {
		switch p[i] {
		case '\\':
			if i++; i == len(p) {
				return glob{{kind: never}}
			}
			g = append(g, step{kind: one, char: p[i]})
		case '?':
			g = append(g, step{kind: anyOne})
		case '*':
			start := i
			for i+1 < len(p) && p[i+1] == '*' {
				i++
			}
			g = append(g, step{kind: stars(p, start, i, paths)})
		case '[':
			set, end := class(p, i+1)
			if set == nil {
				return glob{{kind: never}}
			}
			if paths {
				set['/'] = false
			}
			g = append(g, step{kind: oneOf, set: set})
			i = end
		default:
			g = append(g, step{kind: one, char: p[i]})
		}
	}
	return g
}

// stars says what the stars p[start..end] mean.
func stars(p string, start, end int, paths bool) kind {
	if !paths || start == end {
		return run
	}
	rest := p[end+1:]
	switch {
	case start > 0 && p[start-1] != '/':
		return run
	case rest == "" || len(rest) > 1 && rest[:2] == `\/`:
		return deep
	case rest[0] == '/':
		return deepDir
	default:
		return run
	}
}

// class reads a bracket expression whose "[" is before i. It returns its bytes
// and the place of its "]", or nil when it is malformed.
func class(p string, i int) (*[256]bool, int) {
	set := new([256]bool)
	negated := i < len(p) && (p[i] == '!' || p[i] == '^')
	if negated {
		i++
	}
	var prev byte // start of a possible range; 0: none
	for first := true; ; first = false {
		if i >= len(p) {
			return nil, 0
		}
		c := p[i]
		switch {
		case c == ']' && !first:
			for b := range set {
				set[b] = set[b] != negated
			}
			return set, i
		case c == '\\':
			if i++; i >= len(p) {
				return nil, 0
			}
			c = p[i]
			set[c] = true
		case c == '-' && prev != 0 && i+1 < len(p) && p[i+1] != ']':
			if i++; p[i] == '\\' {
				if i++; i >= len(p) {
					return nil, 0
				}
			}
			for b := int(prev); b <= int(p[i]); b++ {
				set[b] = true
			}
			c = 0
		case c == '[' && i+1 < len(p) && p[i+1] == ':':
			end, named, ok := namedClass(p, i+2, set)
			if !ok {
				return nil, 0
			}
			if named {
				i, c = end, 0
			} else {
				set['['] = true
			}
		default:
			set[c] = true
		}
		prev = c
		i++
	}
}

// namedClass adds the bytes of the [:name:] whose name starts at i. It is not
// named when no ":]" ends it, and not ok when the whole pattern is malformed.
func namedClass(p string, i int, set *[256]bool) (end int, named, ok bool) {
	end = i
	for end < len(p) && p[end] != ']' {
		end++
	}
	if end == len(p) {
		return 0, false, false
	}
	if end == i || p[end-1] != ':' {
		return 0, false, true
	}
	in := posix(p[i : end-1])
	if in == nil {
		return 0, false, false
	}
	for b := range 128 {
		if in(byte(b)) {
			set[b] = true
		}
	}
	return end, true, true
}

// posix gives the test for a POSIX class in the C locale.
func posix(name string) func(byte) bool {
	between := func(lo, hi byte) func(byte) bool {
		return func(b byte) bool { return lo <= b && b <= hi }
	}
	upper, lower, digit := between('A', 'Z'), between('a', 'z'), between('0', '9')
	alpha := func(b byte) bool { return upper(b) || lower(b) }
	alnum := func(b byte) bool { return alpha(b) || digit(b) }
	graph := between('!', '~')
	switch name {
	case "alnum":
		return alnum
	case "alpha":
		return alpha
	case "blank":
		return func(b byte) bool { return b == ' ' || b == '\t' }
	case "cntrl":
		return func(b byte) bool { return b < 0x20 || b == 0x7f }
	case "digit":
		return digit
	case "graph":
		return graph
	case "lower":
		return lower
	case "print":
		return between(' ', '~')
	case "punct":
		return func(b byte) bool { return graph(b) && !alnum(b) }
	case "space":
		return func(b byte) bool { return b == ' ' || '\t' <= b && b <= '\r' }
	case "upper":
		return upper
	case "xdigit":
		return func(b byte) bool { return digit(b) || 'a' <= b && b <= 'f' || 'A' <= b && b <= 'F' }
	default:
		return nil
	}
}

func (g glob) match(s string) bool {
	now, next := make([]bool, len(g)+1), make([]bool, len(g)+1)
	g.reach(now, 0)
	for i := range len(s) {
		alive := false
		clear(next)
		for at, here := range now[:len(g)] {
			if here && g.take(next, at, s[i]) {
				alive = true
			}
		}
		if !alive {
			return false
		}
		now, next = next, now
	}
	return now[len(g)]
}

// reach marks step at, and those that can be had from it for nothing.
func (g glob) reach(set []bool, at int) {
	for {
		set[at] = true
		if at == len(g) {
			return
		}
		switch g[at].kind {
		case run, deep:
		case deepDir:
			g.reach(set, at+2)
		default:
			return
		}
		at++
	}
}

// take marks where byte c leads from step at, and reports whether anywhere.
func (g glob) take(next []bool, at int, c byte) bool {
	st := g[at]
	switch st.kind {
	case one:
		if c != st.char {
			return false
		}
	case anyOne:
		if c == '/' {
			return false
		}
	case oneOf:
		if !st.set[c] {
			return false
		}
	case run:
		if c == '/' {
			return false
		}
		g.reach(next, at)
		return true
	case deep, deepDir:
		// Once deepDir has eaten something its "/" must be there, so the way
		// around it is not open again; that way was marked when it was reached.
		next[at] = true
		g.reach(next, at+1)
		return true
	case never:
		return false
	}
	g.reach(next, at+1)
	return true
}
