package client

import "io"

// ReadEvents reads a stream to its end, as Watch does.
func ReadEvents(r io.Reader) (out []Event, err error) {
	for frames := newFrames(r); ; {
		f, err := frames.next()
		if err != nil {
			return out, err
		}
		e, known, err := f.event()
		if err != nil {
			return out, err
		}
		if known {
			out = append(out, e)
		}
	}
}
