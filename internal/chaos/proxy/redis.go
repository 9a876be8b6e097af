package proxy

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strconv"
)

// resp is Redis's protocol, versions 2 and 3. A request is told by its words.
type resp struct{}

func (resp) requests(client *bufio.Reader, server io.Writer, asked func(string)) error {
	for {
		var raw bytes.Buffer
		if _, err := readValue(client, &raw); err != nil {
			return err
		}
		asked(raw.String())
		if _, err := server.Write(raw.Bytes()); err != nil {
			return err
		}
	}
}

// replies loses no null: that a blocking read found nothing is no news.
func (resp) replies(server *bufio.Reader, client io.Writer, lose func() bool, over func()) error {
	for {
		var raw bytes.Buffer
		kind, err := readValue(server, &raw)
		if err != nil {
			return err
		}
		if kind != push && kind != null && lose() {
			return errLost
		}
		if _, err := client.Write(raw.Bytes()); err != nil {
			return err
		}
		if kind != push {
			over()
		}
	}
}

const (
	push = '>'
	null = '_'
)

// readValue copies one value with all that is in it, and gives its type.
func readValue(r *bufio.Reader, raw *bytes.Buffer) (kind byte, err error) {
	line, err := r.ReadBytes('\n')
	if err != nil {
		return 0, err
	}
	raw.Write(line)
	if len(line) < 3 {
		return 0, fmt.Errorf("a line of %d bytes is no RESP", len(line))
	}
	kind = line[0]
	var n int
	switch kind {
	case '$', '=', '!', '*', '~', push, '%', '|':
		if n, err = strconv.Atoi(string(line[1 : len(line)-2])); err != nil || n > maxFrame {
			return 0, fmt.Errorf("%.40q is no length", line)
		}
	}
	if n < 0 {
		return null, nil
	}
	switch kind {
	case '$', '=', '!':
		_, err = io.CopyN(raw, r, int64(n)+2)
		return kind, err
	case '%', '|':
		n *= 2
	}
	for range n {
		if _, err := readValue(r, raw); err != nil {
			return 0, err
		}
	}
	if kind == '|' { // attributes stand before the value they are of
		return readValue(r, raw)
	}
	return kind, nil
}
