package testhost

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
)

// Ports that no system hands out for outgoing connections (Linux: from 32768,
// IANA: from 49152).
const (
	firstPort = 15_000
	ports     = 15_000
)

// FreeAddress is a loopback address that nobody listens on, and that is the
// test's until its end: a host that is restarted on it must find it free again,
// while other tests, of other processes too, look for addresses and connect from
// ports that the system chooses.
func FreeAddress(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("securetag-test-ports-%d", os.Getuid()))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		port := strconv.Itoa(firstPort + rand.IntN(ports))
		lock, err := os.OpenFile(filepath.Join(dir, port), os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			if l, err := net.Listen("tcp", "127.0.0.1:"+port); err == nil {
				_ = l.Close()
				t.Cleanup(func() { _ = lock.Close() })
				return "127.0.0.1:" + port
			}
		}
		_ = lock.Close()
	}
	t.Fatal("no port between 15000 and 30000 is free")
	return ""
}
