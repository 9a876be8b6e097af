package executor_test

import (
	"context"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/securetaghq/securetag/host/executor"
)

// The traps of go-plugin on the host's side that no other test is about;
// docs/plugins/contract.md lists all.

// TestStoppedProcessIsEnded: a process that waits for a job is asked to end, and
// one that is stopped does not hear it: go-plugin would wait for its answer for
// ever.
func TestStoppedProcessIsEnded(t *testing.T) {
	t.Parallel()
	for name, isolation := range map[string]func(*executor.Config){"per_scan": standby(1), "shared": shared} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := prepare(t, "ok", isolation)
			ctx, stop := context.WithCancel(t.Context())
			var serving sync.WaitGroup
			serving.Go(func() {
				if err := b.Serve(ctx); err != nil {
					t.Errorf("Serve: %v", err)
				}
			})
			eventually(t, "a process waits", func() bool { return b.status().Standby == 1 })
			for _, pid := range b.processes() {
				if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
					t.Fatal(err)
				}
			}
			stop()
			serving.Wait()
			b.wantNothingLeft(t)
		})
	}
}

// TestStandardInput is not parallel: it gives the host another one. go-plugin
// hands it on to its plugins.
func TestStandardInput(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := w.WriteString("typed by the operator"); err != nil {
		t.Fatal(err)
	}
	w.Close()
	own := os.Stdin
	os.Stdin = r
	defer func() { os.Stdin = own }()
	_, found, err := newBench(t, "stdin").run(t)
	if err != nil || len(found) != 1 || found[0].Message != `it reads "" and <nil>` {
		t.Errorf("%+v, %v; want an empty standard input", found, err)
	}
}

// silent is a plugin that answers nothing and counts who calls what.
type silent struct{ broker, other atomic.Int32 }

func (s *silent) handle(_ any, stream grpc.ServerStream) error {
	switch method, _ := grpc.MethodFromServerStream(stream); method {
	case "/plugin.GRPCBroker/StartStream":
		s.broker.Add(1)
	default:
		s.other.Add(1)
	}
	<-stream.Context().Done()
	return stream.Context().Err()
}

// TestCallsOfGoPlugin: its broker, which would keep a goroutine for every number
// that a plugin makes up, is not opened; and Shutdown, for which it has no
// deadline, gets one.
func TestCallsOfGoPlugin(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var s silent
		server := grpc.NewServer(grpc.UnknownServiceHandler(s.handle))
		l := bufconn.Listen(1 << 16)
		go func() { _ = server.Serve(l) }()
		defer server.Stop()
		dial := grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) })
		conn, err := grpc.NewClient("passthrough:plugin", append(executor.DialOptions(), dial, grpc.WithTransportCredentials(insecure.NewCredentials()))...)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()

		desc := &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}
		if _, err := conn.NewStream(t.Context(), desc, "/plugin.GRPCBroker/StartStream"); status.Code(err) != codes.Unimplemented {
			t.Errorf("the broker: %v, want it refused", err)
		}
		err = conn.Invoke(t.Context(), "/plugin.GRPCController/Shutdown", &emptypb.Empty{}, &emptypb.Empty{})
		if status.Code(err) != codes.DeadlineExceeded {
			t.Errorf("Shutdown of a plugin that does not answer: %v, want a deadline", err)
		}
		if s.broker.Load() != 0 || s.other.Load() != 1 {
			t.Errorf("the plugin was called %d times for its broker and %d times else, want 0 and 1", s.broker.Load(), s.other.Load())
		}
	})
}

// TestCrashIsHeardAtOnce: the process is reaped though what it left behind holds
// its standard streams, and so the next job has a process of its own.
func TestCrashIsHeardAtOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t, "ok", shared)
	for range 2 {
		_, err := b.Run(t.Context(), b.task(t, `{"mode":"crash-with-children"}`), &sink{})
		wantFault(t, err, crashed, true, "exited with status 9")
	}
	eventually(t, "the two and their children are gone", func() bool { return len(b.processes()) == 1 })
	if log := b.logs.String(); strings.Contains(log, "given up") || strings.Contains(log, "its connection leaks") {
		t.Errorf("something was not let go of:\n%s", log)
	}
}
