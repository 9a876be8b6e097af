package e2e_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// waitGone waits until no process runs the binary; with a word only those count
// that have it in their environment or on their command line.
func waitGone(t *testing.T, binary, word string) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		left := processes(binary, word)
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("processes of %s are left over: %v", filepath.Base(binary), left)
			return
		}
		time.Sleep(50 * time.Millisecond) // polling outside processes
	}
}

// signalAll signals the processes of a binary and says whether there were any.
func signalAll(binary, word string, sig syscall.Signal) bool {
	sent := false
	for _, p := range processes(binary, word) {
		var pid int
		if _, err := fmt.Sscan(p, &pid); err == nil && syscall.Kill(pid, sig) == nil {
			sent = true
		}
	}
	return sent
}

func processes(binary, word string) []string {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	var out []string
	for _, dir := range dirs {
		exe, err := os.Readlink(filepath.Join(dir, "exe"))
		if err != nil || exe != binary {
			continue
		}
		cmdline, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		environ, _ := os.ReadFile(filepath.Join(dir, "environ"))
		if strings.Contains(string(cmdline)+string(environ), word) {
			out = append(out, filepath.Base(dir)+" "+strings.ReplaceAll(string(cmdline), "\x00", " "))
		}
	}
	return out
}

// flush is FLUSHALL.
func flush(t *testing.T, addr string) {
	t.Helper()
	c := redis.NewClient(&redis.Options{Addr: addr})
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := c.FlushAll(ctx).Err(); err != nil {
		t.Fatalf("flush: %v", err)
	}
}
