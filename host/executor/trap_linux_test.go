package executor_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/securetaghq/securetag/host/executor"
)

// TestStartingThreadEnds: the kernel ends a plugin with the thread that started
// it, and threads of Go come and go. So it is none of these.
func TestStartingThreadEnds(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("cat")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	l := executor.NewLauncher()
	if err := onDyingThread(t, func() error { return l.Start(cmd) }); err != nil {
		t.Fatal(err)
	}
	defer l.Release()
	if _, err := in.Write([]byte("it lives\n")); err != nil {
		t.Errorf("write to it: %v", err)
	}
	if said, err := bufio.NewReader(out).ReadString('\n'); err != nil || said != "it lives\n" {
		t.Errorf("it says %q, %v", said, err)
	}
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ended with the thread: %v", err)
	}
}

// onDyingThread calls f on a thread that is gone when it returns.
func onDyingThread(t *testing.T, f func() error) error {
	t.Helper()
	type outcome struct {
		thread int
		err    error
	}
	ended := make(chan outcome, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with this goroutine
		if unix.Gettid() == os.Getpid() {
			ended <- outcome{} // but the first one does not
			return
		}
		err := f()
		ended <- outcome{unix.Gettid(), err}
	}()
	o := <-ended
	if o.thread == 0 {
		return onDyingThread(t, f)
	}
	eventually(t, "the thread ends", func() bool {
		_, err := os.Stat(fmt.Sprintf("/proc/self/task/%d", o.thread))
		return err != nil
	})
	return o.err
}
