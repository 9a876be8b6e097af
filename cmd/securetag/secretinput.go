package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// maxSecret bounds a line that is read as a secret, in bytes.
const maxSecret = 4 << 10

// readSecret reads one line: from a terminal after a prompt and without showing
// what is typed, else the first of standard input.
func (p *program) readSecret(ctx context.Context, prompt string) (string, error) {
	var line string
	var err error
	if p.terminal(p.stdin) {
		fmt.Fprint(p.stderr, prompt)
		line, err = readHidden(ctx, p.stdin.(*os.File))
		fmt.Fprintln(p.stderr)
	} else {
		line, err = bufio.NewReader(io.LimitReader(p.stdin, maxSecret)).ReadString('\n')
		if errors.Is(err, io.EOF) {
			err = nil
		}
	}
	if err != nil {
		return "", fmt.Errorf("read the key: %w", err)
	}
	if line = strings.TrimSpace(line); line == "" {
		return "", usageError{errors.New("no key was given: type it, or send it to standard input")}
	}
	return line, nil
}

// readHidden reads a line from a terminal that shows none of it, and leaves the
// terminal as it was when ctx ends before the line does. What still reads then
// ends with the process.
func readHidden(ctx context.Context, tty *os.File) (string, error) {
	fd := int(tty.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return "", err
	}
	type answer struct {
		line []byte
		err  error
	}
	done := make(chan answer, 1)
	go func() {
		line, err := term.ReadPassword(fd)
		done <- answer{line, err}
	}()
	select {
	case a := <-done:
		return string(a.line), a.err
	case <-ctx.Done():
		return "", errors.Join(ctx.Err(), term.Restore(fd, before))
	}
}
