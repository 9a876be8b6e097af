package spread_test

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/securetaghq/securetag/internal/spread"
)

// TestOut: the directory has the flag afterwards where its file system has flags for
// directories, and is as it was elsewhere.
func TestOut(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	spread.Out(dir)
	spread.Out(dir)
	spread.Out(dir + "/missing")
	d, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(d.Fd()), &fs); err != nil {
		t.Fatal(err)
	}
	flags, err := unix.IoctlGetUint32(int(d.Fd()), unix.FS_IOC_GETFLAGS)
	if fs.Type == unix.EXT4_SUPER_MAGIC && (err != nil || flags&0x20000 == 0) {
		t.Errorf("flags of a directory on ext4: %#x, %v", flags, err)
	}
}
