package chaos_test

import (
	"fmt"
	"io"
	"os/exec"
	"syscall"
	"testing"
)

// guard kills the hosts when the test process itself dies, however it does: a
// small shell reads their pids from a pipe and acts at its end. Plugins die
// with their hosts.
type guard struct{ in io.Writer }

const guardScript = `
pids=
while read -r what pid; do
	case $what in
	watch) pids="$pids $pid" ;;
	forget) left=; for p in $pids; do [ "$p" = "$pid" ] || left="$left $p"; done; pids=$left ;;
	done) exit 0 ;;
	esac
done
[ -z "$pids" ] || kill -9 $pids
`

func newGuard(t *testing.T) *guard {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-c", guardScript)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is not for it
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _ = io.WriteString(in, "done 0\n")
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("guard: %v", err)
		}
	})
	return &guard{in}
}

func (g *guard) watch(pid int)  { _, _ = fmt.Fprintln(g.in, "watch", pid) }
func (g *guard) forget(pid int) { _, _ = fmt.Fprintln(g.in, "forget", pid) }
