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

	"github.com/securetaghq/securetag/cmd/securetag/internal/report"
)

// maxSecret bounds a line that is read as a secret, in bytes.
const maxSecret = 4 << 10

// readSecret reads one line: from a terminal after a prompt and without showing
// what is typed, else the first of standard input.
func (p *program) readSecret(ctx context.Context, prompt string) (string, error) {
	var line string
	var err error
	if p.terminal(p.stdin) {
		if line, err = p.askHidden(ctx, prompt); errors.As(err, new(*exitError)) {
			return "", err
		}
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

// askHidden reads a line from the terminal that standard input is, without showing
// what is typed.
func (p *program) askHidden(ctx context.Context, prompt string) (string, error) {
	line, err := readHidden(ctx, p.stdin.(*os.File), p.stderr, prompt)
	if errors.Is(err, io.EOF) { // Ctrl-C, which is no signal there, or Ctrl-D
		fmt.Fprintln(p.stderr, "Interrupted.")
		return "", &exitError{code: report.ExitInterrupted}
	}
	return line, err
}

// readHidden reads a line from a terminal, which shows nothing from before the
// prompt on and is as it was when it returns, also when ctx ends before the line
// does. What still reads then ends with the process.
func readHidden(ctx context.Context, tty *os.File, out io.Writer, prompt string) (line string, err error) {
	fd := int(tty.Fd())
	before, err := term.MakeRaw(fd)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, term.Restore(fd, before)) }()
	type answer struct {
		line string
		err  error
	}
	done := make(chan answer, 1)
	go func() {
		line, err := term.NewTerminal(struct {
			io.Reader
			io.Writer
		}{tty, out}, "").ReadPassword(prompt)
		done <- answer{line, err}
	}()
	select {
	case a := <-done:
		return a.line, a.err
	case <-ctx.Done():
		fmt.Fprint(out, "\r\n")
		return "", ctx.Err()
	}
}
