package sdk_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/securetaghq/securetag/sdk"
	"github.com/securetaghq/securetag/sdk/proto/pluginv1"
	"github.com/securetaghq/securetag/sdk/sdktest"
)

// A command's children end with it, and with the scan: a pipe that they hold
// comes to its end.
func TestCommandsChildrenEnd(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"leave", "hang"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			pipe := filepath.Join(t.TempDir(), "pipe")
			if err := syscall.Mkfifo(pipe, 0o600); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			held := make(chan struct{})
			go func() {
				r, err := os.Open(pipe) // waits for the program
				if err == nil {
					close(held)
					_, err = io.Copy(io.Discard, r)
					r.Close()
				}
				ended <- err
			}()
			s := scanner(func(ctx context.Context, _ *struct{}, t *sdk.Target, _ *sdk.Out) error {
				_, err := t.Run(ctx, tool(sdk.Command{Args: []string{how, pipe}}))
				return err
			})
			r := sdktest.Run(t, s, sdktest.Request{CancelAt: func(*pluginv1.ScanEvent) bool {
				if how == "leave" {
					return false
				}
				<-held
				return true
			}})
			if want := map[string]string{"leave": sdktest.Succeeded, "hang": sdktest.Canceled}[how]; r.Status != want {
				t.Errorf("%s: %s, want %s", r.Status, r.Reason, want)
			}
			if err := <-ended; err != nil && !errors.Is(err, io.EOF) {
				t.Error(err)
			}
		})
	}
}
