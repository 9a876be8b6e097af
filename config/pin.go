package config

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// ErrNoBlock says that a file has no block for a plugin.
var ErrNoBlock = errors.New("there is no block for it in the file")

// Pin writes sha256 into the block of a plugin in the file at path, and leaves
// every other byte as it is. It reports whether that changed anything. The file
// is replaced whole, so that whoever reads it meanwhile gets the old or the new
// one.
func Pin(path, plugin, sha256 string) (bool, error) {
	// A link stays one, and names the new file.
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return false, fmt.Errorf("pin %s: %w", plugin, err)
	}
	src, err := readFile(path, maxFile)
	if err != nil {
		return false, fmt.Errorf("pin %s: %w", plugin, err)
	}
	out, err := pinned(src, path, plugin, sha256)
	if err != nil {
		return false, fmt.Errorf("pin %s in %s: %w", plugin, path, err)
	}
	if bytes.Equal(out, src) {
		return false, nil
	}
	if err := replaceFile(path, out); err != nil {
		return false, fmt.Errorf("pin %s: %w", plugin, err)
	}
	return true, nil
}

// pinned is src with sha256 in the block of the plugin.
func pinned(src []byte, name, plugin, sha256 string) ([]byte, error) {
	b, err := pluginBlock(src, name, plugin)
	if err != nil {
		return nil, err
	}
	value := fmt.Sprintf("%q", sha256)
	if a := b.Body.Attributes["sha256"]; a != nil {
		at := a.Expr.Range()
		return splice(src, at.Start.Byte, at.End.Byte, value), nil
	}
	out := insert(src, b, value)
	// Whatever the file looks like, what is written must mean what was meant.
	if b, err = pluginBlock(out, name, plugin); err != nil || b.Body.Attributes["sha256"] == nil {
		return nil, fmt.Errorf("the block is written in a way that cannot be edited: add sha256 = %s by hand", value)
	}
	return out, nil
}

func pluginBlock(src []byte, name, plugin string) (*hclsyntax.Block, error) {
	body, diags := parse(src, name)
	if diags.HasErrors() {
		return nil, diags
	}
	for _, b := range body.Blocks {
		if b.Type == "plugin" && len(b.Labels) == 1 && b.Labels[0] == plugin {
			return b, nil
		}
	}
	return nil, ErrNoBlock
}

// insert adds a line after command, or as the first of the block.
func insert(src []byte, b *hclsyntax.Block, value string) []byte {
	open, closing := b.OpenBraceRange.End.Byte, b.CloseBraceRange.Start.Byte
	after, indent, pad := open, "  ", " "
	if c := b.Body.Attributes["command"]; c != nil {
		start := c.SrcRange.Start.Byte
		after = c.SrcRange.End.Byte
		if before := src[bytes.LastIndexByte(src[:start], '\n')+1 : start]; len(bytes.TrimSpace(before)) == 0 {
			indent = string(before)
		}
		// Beside an aligned command it is aligned, too.
		pad = strings.Repeat(" ", max(1, c.EqualsRange.Start.Byte-start-len("sha256")))
	}
	line := indent + "sha256" + pad + "= " + value
	end := bytes.IndexByte(src[after:], '\n')
	if end < 0 || closing < after+end { // all in one line, where HCL takes one argument only
		inner := strings.TrimSpace(string(src[open:closing]))
		if inner != "" {
			inner = indent + inner + "\n"
		}
		return splice(src, open, closing, "\n"+inner+line+"\n")
	}
	eol := "\n"
	if end > 0 && src[after+end-1] == '\r' {
		eol = "\r\n"
	}
	return splice(src, after+end+1, after+end+1, line+eol)
}

// splice puts text in place of a part of src.
func splice(src []byte, from, to int, text string) []byte {
	return bytes.Join([][]byte{src[:from], []byte(text), src[to:]}, nil)
}

// replaceFile puts a file in the place of another, with its rights and, as far
// as this user may give it away, its owner.
func replaceFile(path string, text []byte) (err error) {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(tmp.Name()))
		}
	}()
	if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != os.Getuid() {
		_ = tmp.Chown(int(st.Uid), int(st.Gid))
	}
	_, err = tmp.Write(text)
	if err = errors.Join(err, tmp.Chmod(info.Mode().Perm()), tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}
