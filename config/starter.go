package config

import (
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// Starter is a file to begin with: valid, and all of it the default.
//
//go:embed starter.hcl
var Starter string

// WriteStarter makes a file with Starter in it. It refuses to replace one, with
// fs.ErrExist.
func WriteStarter(path string) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o640) //nolint:gosec // the group may read it: it is who the service runs as
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already, and is left as it is: %w", path, fs.ErrExist)
	}
	if err != nil {
		return fmt.Errorf("write a configuration: %w", err)
	}
	_, err = f.WriteString(Starter)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write a configuration: %w", errors.Join(err, os.Remove(path)))
	}
	return nil
}
