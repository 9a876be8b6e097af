package catalog

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/securetaghq/securetag/sdk/proto/pluginv1"
)

const (
	maxDescription  = 4 << 20 // bytes of one; a message has no more
	maxDescriptions = 256
	cacheSuffix     = ".describe"
)

// Cache keeps descriptions in a directory. The zero value keeps none. Several
// hosts may share the directory.
type Cache struct{ Dir string }

// Key names the description of a program that hashes to sum and is run with
// args; "" when it cannot be kept, because nothing says whose it is.
func Key(sum string, args []string) string {
	if sum == "" {
		return ""
	}
	h := sha256.New()
	fmt.Fprintf(h, "1 %s %d\n", sum, len(args)) // the number is the format's
	for _, a := range args {
		fmt.Fprintf(h, "%d %s\n", len(a), a)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Get gives what Put kept; nil when there is nothing that can be read. Whoever
// asks checks it as if the plugin had just said it.
func (c Cache) Get(key string) *pluginv1.DescribeResponse {
	if c.Dir == "" || key == "" {
		return nil
	}
	f, err := openRegular(c.path(key))
	if err != nil {
		return nil
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxDescription+1))
	if err != nil || len(raw) > maxDescription {
		return nil
	}
	d := &pluginv1.DescribeResponse{}
	if proto.Unmarshal(raw, d) != nil || d.GetName() == "" {
		return nil
	}
	return d
}

// Put keeps a description, and forgets the oldest when there are too many.
func (c Cache) Put(key string, d *pluginv1.DescribeResponse) error {
	if c.Dir == "" || key == "" {
		return nil
	}
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(d)
	if err != nil {
		return fmt.Errorf("keep a description: %w", err)
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return fmt.Errorf("keep a description: %w", err)
	}
	tmp, err := os.CreateTemp(c.Dir, "new-")
	if err != nil {
		return fmt.Errorf("keep a description: %w", err)
	}
	_, err = tmp.Write(raw)
	if err = errors.Join(err, tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), c.path(key))
	}
	if err != nil {
		return fmt.Errorf("keep a description: %w", errors.Join(err, os.Remove(tmp.Name())))
	}
	return c.prune()
}

func (c Cache) path(key string) string { return filepath.Join(c.Dir, key+cacheSuffix) }

// prune removes the oldest descriptions over the limit, and with them what a
// crash left half written.
func (c Cache) prune() error {
	entries, err := os.ReadDir(c.Dir)
	if err != nil || len(entries) <= maxDescriptions {
		return err
	}
	type aged struct {
		name string
		at   int64
	}
	var all []aged
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !strings.HasSuffix(e.Name(), cacheSuffix) && !strings.HasPrefix(e.Name(), "new-") {
			continue // gone meanwhile, or none of ours
		}
		all = append(all, aged{e.Name(), info.ModTime().UnixNano()})
	}
	slices.SortFunc(all, func(a, b aged) int { return cmp.Compare(b.at, a.at) })
	for _, a := range all[min(len(all), maxDescriptions):] {
		if err := os.Remove(filepath.Join(c.Dir, a.name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}
