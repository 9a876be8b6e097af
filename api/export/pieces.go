package export

import "io"

// pieces writes a document bit by bit and remembers the first error, after which
// it writes nothing.
type pieces struct {
	w    io.Writer
	err  error
	more bool // whether a list has an element before this one
}

func (p *pieces) text(s string) { p.bytes([]byte(s)) }

func (p *pieces) bytes(b []byte) {
	if p.err == nil {
		_, p.err = p.w.Write(b)
	}
}

// next begins an element of a list, on a line of its own.
func (p *pieces) next() {
	if p.more {
		p.text(",")
	}
	p.more = true
	p.text("\n")
}

// object writes what go-sarif made.
func (p *pieces) object(v any) {
	b, err := lean(v)
	if p.err == nil {
		p.err = err
	}
	p.bytes(b)
}
