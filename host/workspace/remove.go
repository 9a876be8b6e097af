package workspace

import (
	"errors"
	"fmt"
	"os"

	"github.com/securetaghq/securetag/host/internal/rmtree"
)

// discard removes name, a directory in own: it vanishes under its name at
// once, and is taken apart in a bin of its own, which a sweep finds again if
// this process dies meanwhile.
func discard(own *os.Root, name, bin string) error {
	if err := intoBin(own, name, bin); err != nil {
		return err
	}
	return emptyBin(own, bin)
}

func intoBin(own *os.Root, name, bin string) error {
	if err := own.Mkdir(bin, 0o700); err != nil {
		return fmt.Errorf("make a bin: %w", err)
	}
	// A plugin may have put something else in the place of its directory, and
	// chmod would follow a link.
	info, err := own.Lstat(name)
	if err == nil && info.IsDir() {
		err = own.Chmod(name, 0o700)
	}
	if err != nil {
		return errors.Join(rmtree.IgnoreMissing(err), own.Remove(bin))
	}
	if err := own.Rename(name, bin+"/d0"); err != nil {
		return errors.Join(rmtree.IgnoreMissing(err), own.Remove(bin))
	}
	return nil
}

func emptyBin(own *os.Root, bin string) error {
	b, err := own.OpenRoot(bin)
	if err != nil {
		return rmtree.IgnoreMissing(err)
	}
	defer func() { _ = b.Close() }()
	if err := rmtree.Empty(b); err != nil {
		return err
	}
	return rmtree.IgnoreMissing(own.Remove(bin))
}
