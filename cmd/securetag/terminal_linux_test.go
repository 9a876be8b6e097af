package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// terminal makes a pseudo-terminal of 60 columns. What is written to tty can be
// read from screen, until tty is closed everywhere.
func terminal(t *testing.T) (screen, tty *os.File) {
	t.Helper()
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = screen.Close() })
	fd := int(screen.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(int(tty.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 60}); err != nil {
		t.Fatal(err)
	}
	return screen, tty
}

// onTerminal runs the program with standard error on a terminal and returns
// what that shows, and standard output.
func onTerminal(t *testing.T, args ...string) (shown, stdout string) {
	t.Helper()
	screen, tty := terminal(t)
	cmd := exec.CommandContext(t.Context(), "securetag", args...)
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), "XDG_CONFIG_HOME="+cmd.Dir) // nobody is logged in
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, tty
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = tty.Close()
	b, _ := io.ReadAll(screen) // ends with an error when nobody has the terminal any more
	if err := cmd.Wait(); err != nil {
		t.Logf("securetag %v: %v", args, err)
	}
	return string(b), out.String()
}

func TestProgressOnTerminal(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.txt"), bytes.Repeat([]byte("nothing\n"), 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	shown, stdout := onTerminal(t, "scan", dir)
	for _, want := range []string{"%", "|", "\x1b[2K\r", "secrets: succeeded, 0 findings\r\n"} {
		if !strings.Contains(shown, want) {
			t.Errorf("the terminal does not show %q: %q", want, shown)
		}
	}
	if strings.ContainsAny(stdout, "\x1b\r") || !strings.Contains(stdout, "0 findings") {
		t.Errorf("standard output, which is no terminal, gets %q", stdout)
	}
	if shown, _ := onTerminal(t, "scan", "--quiet", dir); shown != "" {
		t.Errorf("--quiet shows %q", shown)
	}
}

// TestDiagnosticsOnTerminal: mistakes are wrapped at the terminal's width.
func TestDiagnosticsOnTerminal(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "bad.hcl")
	if err := os.WriteFile(file, []byte("server {\n  listen = \"nowhere\"\n}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	shown, _ := onTerminal(t, "config", "check", file)
	if !strings.Contains(shown, "\x1b[1;31mError:") || !strings.Contains(shown, "^^^") {
		t.Errorf("shown: %q", shown)
	}
	_, detail, _ := strings.Cut(shown, "^^^")
	for line := range strings.SplitSeq(detail, "\r\n") {
		if len(line) > 60 {
			t.Errorf("wider than the terminal: %q", line)
		}
	}
}
