package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/config"
)

const hash = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

// TestPinLeavesTheRestAlone: whatever the layout, the pin is the one change.
func TestPinLeavesTheRestAlone(t *testing.T) {
	t.Parallel()
	const rest = "# a comment\nserver {   listen = \":1\" } # odd   layout\n\n"
	for name, c := range map[string]struct{ before, after string }{
		"after command": {
			"plugin \"x\" {\n  command = \"y\" # why\n\n  args=[ ]\n}\n",
			"plugin \"x\" {\n  command = \"y\" # why\n  sha256  = \"" + hash + "\"\n\n  args=[ ]\n}\n",
		},
		"aligned and indented by a tab": {
			"plugin \"x\" {\n\tisolation = \"shared\"\n\tcommand   = \"y\"\n}",
			"plugin \"x\" {\n\tisolation = \"shared\"\n\tcommand   = \"y\"\n\tsha256    = \"" + hash + "\"\n}",
		},
		"no command":   {"plugin \"x\" { # here\n  standby = 2\n}\n", "plugin \"x\" { # here\n  sha256 = \"" + hash + "\"\n  standby = 2\n}\n"},
		"empty":        {"plugin \"x\" {}\n", "plugin \"x\" {\n  sha256 = \"" + hash + "\"\n}\n"},
		"one line":     {"plugin \"x\" { command = \"y\" }\n", "plugin \"x\" {\n  command = \"y\"\n  sha256  = \"" + hash + "\"\n}\n"},
		"another hash": {"plugin \"x\" {\n  sha256 = \"00\" # of 1.2\n}\n", "plugin \"x\" {\n  sha256 = \"" + hash + "\" # of 1.2\n}\n"},
		"an expression": {
			"plugin \"x\" {\n  sha256 = env(\"NOT_SET\")\n}\n", "plugin \"x\" {\n  sha256 = \"" + hash + "\"\n}\n"},
		"line ends of another world": {
			"plugin \"x\" {\r\n  command = \"y\"\r\n}\r\n", "plugin \"x\" {\r\n  command = \"y\"\r\n  sha256  = \"" + hash + "\"\r\n}\r\n"},
		"the right one of two": {
			"plugin \"y\" {\n}\nplugin \"x\" {\n}\n", "plugin \"y\" {\n}\nplugin \"x\" {\n  sha256 = \"" + hash + "\"\n}\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(write(t, rest+c.before), config.FileName)
			if err := os.Chmod(path, 0o640); err != nil {
				t.Fatal(err)
			}
			changed, err := config.Pin(path, "x", hash)
			if err != nil || !changed {
				t.Fatalf("Pin: %t, %v", changed, err)
			}
			got, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(rest+c.after, string(got)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o640 {
				t.Errorf("the file is %v, %v; want the mode it had", info, err)
			}
			if changed, err := config.Pin(path, "x", hash); err != nil || changed {
				t.Errorf("Pin again: %t, %v; want nothing to do", changed, err)
			}
			left, err := os.ReadDir(filepath.Dir(path))
			if err != nil || len(left) != 1 {
				t.Errorf("beside the file there is %v, %v", left, err)
			}
		})
	}
}

func TestPinFollowsALink(t *testing.T) {
	t.Parallel()
	dir := write(t, "plugin \"x\" {\n}\n")
	link := filepath.Join(dir, "link.hcl")
	if err := os.Symlink(config.FileName, link); err != nil {
		t.Fatal(err)
	}
	if changed, err := config.Pin(link, "x", hash); err != nil || !changed {
		t.Fatalf("Pin: %t, %v", changed, err)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is %v, %v", info, err)
	}
	if text, err := os.ReadFile(filepath.Join(dir, config.FileName)); err != nil || !strings.Contains(string(text), hash) {
		t.Errorf("the file says %q, %v", text, err)
	}
}

func TestPinThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	path := filepath.Join(write(t, "plugin \"x\" {\n}\n"), config.FileName)
	if _, err := config.Pin(path, "y", hash); !errors.Is(err, config.ErrNoBlock) {
		t.Errorf("no block: %v", err)
	}
	if _, err := config.Pin(path+"x", "y", hash); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	broken := filepath.Join(write(t, "plugin \"x\" {\n"), config.FileName)
	if _, err := config.Pin(broken, "x", hash); err == nil {
		t.Error("a file that is no HCL was pinned")
	}
}
