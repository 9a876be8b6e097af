package sdk_test

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/securetaghq/securetag/sdk"
	"github.com/securetaghq/securetag/sdk/proto/pluginv1"
	"github.com/securetaghq/securetag/sdk/wire"
)

// The traps of go-plugin on the plugin's side, each by its test;
// docs/plugins/contract.md lists them with those on the host's.

type trapConfig struct {
	Do   string
	Text string
}

// trap is a scanner that does what authors do.
func trap() sdk.Scanner[trapConfig] {
	return scanner(func(ctx context.Context, c *trapConfig, t *sdk.Target, out *sdk.Out) error {
		switch c.Do {
		case "print":
			fmt.Println("printed to stdout", strings.Repeat("x", 1<<20), "end")
			fmt.Fprintln(os.Stderr, "printed to stderr")
			log.Println("logged")
		case "wait": // and clean up
			out.Note(sdk.Note{Summary: strconv.Itoa(os.Getpid())})
			<-ctx.Done()
			time.Sleep(300 * time.Millisecond)
			return os.WriteFile(filepath.Join(t.WorkDir(), "cleaned-up"), nil, 0o600)
		}
		return nil
	})
}

// served starts the test binary as the plugin trap, as any go-plugin host does.
func served(t *testing.T, config string) (*plugin.Client, pluginv1.ScannerClient, *logged) {
	t.Helper()
	said := &logged{}
	client := plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig: wire.Handshake(), Plugins: wire.Plugins(nil), AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		Cmd: self(t, "trap"), Logger: hclog.NewNullLogger(), Stderr: said,
	})
	t.Cleanup(client.Kill)
	conn, err := client.Client()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := conn.Dispense(wire.PluginName)
	if err != nil {
		t.Fatal(err)
	}
	c := raw.(pluginv1.ScannerClient)
	configure(t, c, config)
	return client, c, said
}

type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// gRPC's own limit of 4 MiB is not the plugin's.
func TestLargeSettings(t *testing.T) {
	t.Parallel()
	_, c, _ := served(t, fmt.Sprintf(`{"text": %q}`, strings.Repeat("x", 5<<20)))
	_, err := c.Configure(t.Context(), &pluginv1.ConfigureRequest{ConfigJson: bytes.Repeat([]byte(" "), wire.MaxPluginRecv+1)})
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("over the limit: %v", err)
	}
}

// What an author prints is in the plugin's log, and a line of any length does
// not stop the plugin: standard output has one reader, who reads one line.
func TestPrintsAreSeen(t *testing.T) {
	t.Parallel()
	client, c, said := served(t, `{"do": "print"}`)
	for _, id := range []string{"a", "b"} {
		stream, err := c.Scan(t.Context(), request(id, t.TempDir()))
		if err != nil {
			t.Fatal(err)
		}
		r, err := collect(stream)
		if err != nil {
			t.Fatal(err)
		}
		if s := r.completed(t).Status; s != pluginv1.Completed_STATUS_SUCCEEDED {
			t.Errorf("ended %v", s)
		}
	}
	client.Kill()
	for _, want := range []string{"printed to stdout x", "x end", "printed to stderr", "logged"} {
		if strings.Count(said.String(), want) != 2 {
			t.Errorf("the log does not have %q twice", want)
		}
	}
}

// begin starts a scan that waits, and gives the pid it runs in.
func begin(t *testing.T, c pluginv1.ScannerClient) (stream pluginv1.Scanner_ScanClient, work string, pid int) {
	t.Helper()
	req := request("a", t.TempDir())
	req.WorkDir = t.TempDir()
	stream, err := c.Scan(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	for pid == 0 {
		ev, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		pid, _ = strconv.Atoi(ev.GetDiagnostic().GetSummary())
	}
	return stream, req.WorkDir, pid
}

// SIGTERM cancels the scans instead of ending the process in their middle.
func TestTerminate(t *testing.T) {
	t.Parallel()
	_, c, _ := served(t, `{"do": "wait"}`)
	_, work, pid := begin(t, c)
	health, err := c.Health(t.Context(), &pluginv1.HealthRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for err == nil { // until the process is gone
		_, err = health.Recv()
	}
	if _, err := os.Stat(filepath.Join(work, "cleaned-up")); err != nil {
		t.Errorf("the scan did not end by itself: %v", err)
	}
}

// go-plugin's Shutdown ends every call and then main; scans get a moment to
// clean up before the host kills, after 2 s.
func TestShutdownGrace(t *testing.T) {
	t.Parallel()
	client, c, _ := served(t, `{"do": "wait"}`)
	_, work, _ := begin(t, c)
	client.Kill()
	if _, err := os.Stat(filepath.Join(work, "cleaned-up")); err != nil {
		t.Errorf("the scan did not end by itself: %v", err)
	}
}
