package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"sort"
)

// readJSON gives the objects of a file of JSON.
func readJSON(text []byte) ([]object, error) {
	r := &jsonReader{dec: json.NewDecoder(bytes.NewReader(text))}
	r.dec.UseNumber()
	for i, c := range text {
		if c == '\n' {
			r.ends = append(r.ends, int64(i))
		}
	}
	v, err := r.value(0)
	if err != nil {
		return nil, err
	}
	return objects(v, 0), nil
}

// jsonReader makes of JSON what converter makes of YAML. A value that is null is
// left out, as in Trivy.
type jsonReader struct {
	dec   *json.Decoder
	ends  []int64 // offsets of the ends of lines
	nodes int
}

func (r *jsonReader) value(depth int) (any, error) {
	t, err := r.dec.Token()
	if err != nil {
		return nil, noEOF(err)
	}
	if r.nodes++; r.nodes > maxNodes {
		return nil, errTooBig
	}
	if depth > maxDepth {
		return nil, errTooDeep
	}
	switch t {
	case json.Delim('{'):
		return r.object(depth)
	case json.Delim('['):
		out := []any{}
		for r.dec.More() {
			v, err := r.value(depth + 1)
			if err != nil {
				return nil, err
			}
			if v != nil {
				out = append(out, v)
			}
		}
		_, err := r.dec.Token() // the bracket
		return out, noEOF(err)
	}
	return t, nil
}

func (r *jsonReader) object(depth int) (any, error) {
	from := r.line()
	out := map[string]any{}
	for r.dec.More() {
		t, err := r.dec.Token()
		if err != nil {
			return nil, noEOF(err)
		}
		key, _ := t.(string) // the decoder gives nothing else here
		v, err := r.value(depth + 1)
		if err != nil {
			return nil, err
		}
		if v != nil {
			out[key] = v
		}
	}
	if _, err := r.dec.Token(); err != nil { // the brace
		return nil, noEOF(err)
	}
	out[linesKey] = lines(from, r.line())
	return out, nil
}

// line is that of the token that was read last.
func (r *jsonReader) line() int {
	at := r.dec.InputOffset() - 1
	return 1 + sort.Search(len(r.ends), func(i int) bool { return r.ends[i] >= at })
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
