package proxy

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
)

// pg is PostgreSQL's protocol, version 3. A request is all that is sent up to
// a Sync, or a simple query, and is told by its SQL; the reply is all up to
// ReadyForQuery.
type pg struct {
	statements map[string]string // prepared, by name
}

func (p *pg) requests(client *bufio.Reader, server io.Writer, asked func(string)) error {
	// The start has no type: a length, then the protocol's version.
	if err := copyFrame(client, server, nil); err != nil {
		return err
	}
	var unit bytes.Buffer
	var sql []string
	for {
		kind, err := client.ReadByte()
		if err != nil {
			return err
		}
		unit.WriteByte(kind)
		var body bytes.Buffer
		if err := copyFrame(client, &unit, &body); err != nil {
			return err
		}
		fields := strings.SplitN(body.String(), "\x00", 3)
		switch {
		case kind == 'Q':
			sql = append(sql, fields[0])
		case kind == 'P' && len(fields) == 3:
			p.statements[fields[0]] = fields[1]
		case kind == 'B' && len(fields) == 3:
			sql = append(sql, p.statements[fields[1]])
		}
		if kind == 'S' || kind == 'Q' {
			asked(strings.Join(sql, "; "))
			sql = nil
		} else if kind != 'H' && kind != 'X' && kind != 'p' { // flush, terminate, password
			continue
		}
		// A request is passed on whole, so that its reply cannot come before
		// it is known what it is.
		if _, err := server.Write(unit.Bytes()); err != nil {
			return err
		}
		unit.Reset()
	}
}

func (p *pg) replies(server *bufio.Reader, client io.Writer, lose func() bool, over func()) error {
	started, first, losing := false, true, false
	for {
		kind, err := server.ReadByte()
		if err != nil {
			return err
		}
		if started && first && kind != 'N' && kind != 'A' && kind != 'S' { // what the server says unasked
			losing, first = lose(), false
		}
		out := client
		if losing {
			out = io.Discard
		}
		if _, err := out.Write([]byte{kind}); err != nil {
			return err
		}
		if err := copyFrame(server, out, nil); err != nil {
			return err
		}
		if kind != 'Z' {
			continue
		}
		if losing {
			return errLost
		}
		if started {
			over()
		}
		started, first = true, true
	}
}

// copyFrame copies a length and what it counts, to body without the length.
func copyFrame(r *bufio.Reader, w io.Writer, body io.Writer) error {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	n := int64(binary.BigEndian.Uint32(head[:])) - 4
	if n < 0 || n > maxFrame {
		return fmt.Errorf("a message of %d bytes is no PostgreSQL", n)
	}
	if _, err := w.Write(head[:]); err != nil {
		return err
	}
	if body != nil {
		w = io.MultiWriter(w, body)
	}
	_, err := io.CopyN(w, r, n)
	return err
}
