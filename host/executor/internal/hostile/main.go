// Command hostile is a plugin for tests that breaks the scanner contract in
// one way, named by its first argument. The second argument is a token by
// which a test finds the processes it leaves behind, the third what it calls
// itself.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/securetaghq/securetag/host/executor/sandbox"
	"github.com/securetaghq/securetag/sdk/proto/pluginv1"
	"github.com/securetaghq/securetag/sdk/wire"
)

const (
	declared = "hostile.rule"
	second   = "hostile.second"
	garbage  = "this message becomes garbage" // see codec
)

func main() {
	sandbox.Main() // the tests use this program as their shim
	mode, token := os.Args[1], os.Args[2]
	if beforeHandshake(mode, token) {
		return
	}
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig: wire.Handshake(),
		Plugins:         wire.Plugins(&scanner{mode: mode, token: token, streams: [2]*os.File{os.Stdout, os.Stderr}}),
		GRPCServer: func(opts []grpc.ServerOption) *grpc.Server {
			return grpc.NewServer(append(opts, grpc.ForceServerCodecV2(codec{encoding.GetCodecV2("proto")}))...)
		},
	})
}

// beforeHandshake does what is wrong before a handshake; true: and ends there.
func beforeHandshake(mode, token string) bool {
	dir := os.Getenv("PLUGIN_UNIX_SOCKET_DIR")
	say := func(line string) bool {
		fmt.Println(line)
		select {}
	}
	switch mode {
	case "honest":
		honest()
		return true
	case "caller":
		caller()
		return true
	case "idle":
		time.Sleep(10 * time.Minute)
		return true
	case "panic-at-start":
		panic("boom")
	case "exit-at-start":
		fmt.Fprintln(os.Stderr, "no licence \x1b[31mfound\u202e")
		os.Exit(3)
	case "orphan-at-start":
		child(token, true, os.Stdout, os.Stderr)
		child(token, false, os.Stdout, os.Stderr)
		os.Exit(4)
	case "silent-start":
		fmt.Fprintln(os.Stderr, "waiting for the database")
		select {}
	case "slow-start":
		time.Sleep(300 * time.Millisecond)
	case "megabyte-on-stdout":
		_, _ = os.Stdout.WriteString(strings.Repeat("x", 1<<20))
		select {}
	case "banner-on-stdout":
		return say("Welcome to hostile 1.0")
	case "tcp-handshake":
		return say("1|1|tcp|127.0.0.1:6379|grpc|")
	case "cert-handshake":
		return say("1|1|unix|" + dir + "/s|grpc|" + strings.Repeat("A", 80))
	case "escaping-handshake":
		return say("1|1|unix|" + dir + "/../s|grpc|")
	case "foreign-handshake":
		return say("1|1|unix|/var/run/docker.sock|grpc|")
	case "link-handshake":
		_ = os.Symlink("/var/run/docker.sock", filepath.Join(dir, "s"))
		return say("1|1|unix|" + dir + "/s|grpc|")
	case "deaf-socket":
		if _, err := net.Listen("unix", filepath.Join(dir, "s")); err != nil {
			panic(err)
		}
		return say("1|1|unix|" + dir + "/s|grpc|")
	case "json-on-stderr":
		fmt.Fprintln(os.Stderr, `{"@message":1}`)
		fmt.Fprintln(os.Stderr, `{"@message":"x","@level":{},"@timestamp":[]}`)
		fmt.Fprintln(os.Stderr, strings.Repeat("[", 1<<20))
	case "flood-stderr":
		go flood()
	}
	return false
}

func flood() {
	line := []byte(strings.Repeat("noise ", 1000) + "\n")
	for {
		if _, err := syscall.Write(2, line); err != nil {
			return
		}
	}
}

// child leaves a process behind that holds the standard streams open.
func child(token string, session bool, stdout, stderr *os.File) {
	c := exec.Command(os.Args[0], "idle", token)
	c.Stdout, c.Stderr = stdout, stderr
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: session}
	if err := c.Start(); err != nil {
		panic(err)
	}
}

type scanner struct {
	pluginv1.UnimplementedScannerServer
	mode, token string
	streams     [2]*os.File // the real ones: go-plugin puts others in their place
}

func (s *scanner) Describe(context.Context, *pluginv1.DescribeRequest) (*pluginv1.DescribeResponse, error) {
	d := &pluginv1.DescribeResponse{
		Name: "hostile", Version: "1.2.3", ApiVersions: []uint32{1}, Consumes: []pluginv1.Input{pluginv1.Input_INPUT_TREE},
		MaxConcurrentScans: 4,
		ConfigSchema: &pluginv1.Block{Attributes: []*pluginv1.Attribute{
			{Name: "limit", Type: pluginv1.Attribute_TYPE_INT, DefaultJson: "1", Description: "How many.", Max: proto.Float64(3)},
		}},
		Rules: []*pluginv1.Rule{{
			Id: declared, Title: "A hostile finding", Severity: pluginv1.Severity_SEVERITY_HIGH, HelpUri: "https://example.com/rule", Cwe: []uint32{79}, Tags: []string{"test"},
		}, {Id: second, Title: "Another", Severity: pluginv1.Severity_SEVERITY_LOW}},
	}
	if len(os.Args) > 3 {
		d.Name = os.Args[3]
	}
	switch s.mode {
	case "describe-other-name":
		d.Name = "somebody-else"
	case "describe-old-api":
		d.ApiVersions = []uint32{7}
	case "describe-hang":
		select {}
	case "describe-twins":
		d.Rules = append(d.Rules, d.Rules[0])
	case "describe-crash":
		os.Exit(5)
	}
	return d, nil
}

func (s *scanner) Configure(_ context.Context, req *pluginv1.ConfigureRequest) (*pluginv1.ConfigureResponse, error) {
	resp := &pluginv1.ConfigureResponse{}
	if s.mode == "configure-refuse" {
		resp.Diagnostics = []*pluginv1.Diagnostic{{
			Severity: pluginv1.Diagnostic_SEVERITY_ERROR, Summary: "must be a size", Detail: "Write 1MiB.", AttributePath: []string{"limits", "max"},
		}}
	}
	switch s.mode {
	case "configure-crash":
		os.Exit(10)
	case "configure-hang":
		select {}
	case "die-idle":
		time.AfterFunc(50*time.Millisecond, func() { os.Exit(6) })
	}
	return resp, nil
}

func (s *scanner) Health(_ *pluginv1.HealthRequest, out grpc.ServerStreamingServer[pluginv1.HealthUpdate]) error {
	u := &pluginv1.HealthUpdate{
		State: pluginv1.HealthUpdate_STATE_DEGRADED, Description: "the rules are\x1b[31m old",
		DataUpdatedAt: &timestamppb.Timestamp{Seconds: 1_700_000_000},
	}
	switch s.mode {
	case "degraded":
		if err := out.Send(u); err != nil {
			return err
		}
		<-out.Context().Done()
		return out.Context().Err()
	case "flood-health":
		for {
			if err := out.Send(u); err != nil {
				return err
			}
		}
	}
	return s.UnimplementedScannerServer.Health(nil, out)
}

func (s *scanner) Cancel(context.Context, *pluginv1.CancelRequest) (*pluginv1.CancelResponse, error) {
	return &pluginv1.CancelResponse{}, nil
}

func (s *scanner) Scan(req *pluginv1.ScanRequest, out grpc.ServerStreamingServer[pluginv1.ScanEvent]) error {
	// A shared process may be told by the options what to do in this run.
	mode := s.mode
	var options struct{ Mode string }
	if _ = json.Unmarshal(req.GetOptionsJson(), &options); options.Mode != "" {
		mode = options.Mode
	}
	if done, err := s.misbehave(mode, req, out); done {
		return err
	}
	if done, err := s.ending(mode, req, out); done {
		return err
	}
	done := &pluginv1.Completed{Status: pluginv1.Completed_STATUS_SUCCEEDED, Findings: 1}
	f := &pluginv1.Finding{
		RuleId: declared, Message: "found it", Snippet: "x := 1", Location: &pluginv1.Location{Path: "a/b.go", StartLine: 3, StartColumn: 1},
	}
	switch mode {
	case "bad-utf8":
		f.Message = garbage
	case "nasty-text":
		f.Message, f.Snippet = "a\x00b\x1b[31mc\u202ed\r\ne", "\u2066if admin\u2069"
		f.Location.Path = "dir/e\u0301\n.go"
		f.Properties = map[string]string{"k\x00": "v\x1b"}
	case "oversized":
		f.Snippet = strings.Repeat("x", 5<<20)
	case "miscount":
		done.Findings = 7
	case "unknown-status":
		done.Status = 42
	case "no-status":
		done.Status = 0
	case "says-cancelled":
		done.Status, done.Reason = pluginv1.Completed_STATUS_CANCELLED, "as asked"
	case "partial":
		done.Status, done.Reason = pluginv1.Completed_STATUS_PARTIAL, "3 files\nwere unreadable"
	case "flood-stdout": // in one line, past the handshake
		_, _ = s.streams[0].WriteString(strings.Repeat("x", 1<<20))
	case "not-applicable":
		_ = out.Send(event(&pluginv1.Progress{Phase: "looking"}))
		return out.Send(event(&pluginv1.Completed{Status: pluginv1.Completed_STATUS_NOT_APPLICABLE, Reason: "no Go\nfiles"}))
	case "notes":
		root := req.GetTarget().GetRoot()
		for _, d := range []*pluginv1.Diagnostic{
			{Summary: "two\n\x1b[2Jlines"}, {},
			{Severity: pluginv1.Diagnostic_SEVERITY_WARNING, Summary: "cannot read " + root + "/a/b.go in " + root + " now", Detail: "What to do.", TargetPath: "a/b.go"},
			{Severity: pluginv1.Diagnostic_SEVERITY_ERROR, Summary: strings.Repeat("x", 1<<12), TargetPath: root + "/c.go"},
		} {
			_ = out.Send(event(d))
		}
		done.Status, done.Reason = pluginv1.Completed_STATUS_PARTIAL, "cannot read "+root+"/a/b.go, nor write "+req.GetWorkDir()+"/c"
	case "applicable-after-all":
		done.Status, done.Reason = pluginv1.Completed_STATUS_NOT_APPLICABLE, "no Go files"
	case "failed":
		done.Status, done.Reason, done.Retryable = pluginv1.Completed_STATUS_FAILED, "database missing", true
	}
	_ = out.Send(event(&pluginv1.Progress{Phase: "matching", Done: 1, Total: 2, Unit: "files"}))
	_ = out.Send(event(&pluginv1.Log{Message: "looking\x1b[2J around", Level: pluginv1.Log_LEVEL_WARN}))
	if events := output(mode, req.GetWorkDir()); events != nil {
		done.Findings = 0
		for _, ev := range events {
			done.Findings += uint64(len(ev.GetFindings().GetFindings()))
			_ = out.Send(ev)
		}
	} else {
		_ = out.Send(event(&pluginv1.Findings{Findings: []*pluginv1.Finding{f}}))
	}
	_ = out.Send(event(done))
	switch mode {
	case "double-completed":
		_ = out.Send(event(done))
	case "progress-after-completed":
		_ = out.Send(event(&pluginv1.Progress{}))
	case "hang-after-completed":
		select {}
	case "exit-after-completed":
		time.Sleep(100 * time.Millisecond)
		os.Exit(0)
	case "error-after-completed":
		return status.Error(codes.Internal, "changed my mind")
	}
	return nil
}

// ending does what is wrong in ways that never reach Completed.
func (s *scanner) ending(mode string, req *pluginv1.ScanRequest, out grpc.ServerStreamingServer[pluginv1.ScanEvent]) (bool, error) {
	switch mode {
	case "refuse":
		return true, status.Error(codes.InvalidArgument, "no such option\x1b")
	case "busy":
		return true, status.Error(codes.ResourceExhausted, "too many scans")
	case "unavailable":
		return true, status.Error(codes.Unavailable, "draining")
	case "grpc-error":
		return true, status.Error(codes.Unknown, "something")
	case "no-completed":
		return true, nil
	case "panic-in-scan":
		_ = out.Send(event(&pluginv1.Progress{Phase: "matching"}))
		panic("boom in scan")
	case "exit-zero":
		os.Exit(0)
	case "sigkill-self":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	case "hang", "leave-children", "leave-session":
		if mode != "hang" {
			child(s.token, mode == "leave-session", s.streams[0], s.streams[1])
		}
		_ = os.WriteFile(filepath.Join(req.GetWorkDir(), "scanning"), nil, 0o600)
		select {}
	case "wait-for-context":
		_ = os.WriteFile(filepath.Join(req.GetWorkDir(), "scanning"), nil, 0o600)
		<-out.Context().Done()
		return true, out.Context().Err()
	case "crash-with-children":
		child(s.token, true, s.streams[0], s.streams[1])
		child(s.token, false, s.streams[0], s.streams[1])
		os.Exit(9)
	case "flood-findings":
		for {
			batch := &pluginv1.Findings{}
			for i := range 100 {
				batch.Findings = append(batch.Findings, &pluginv1.Finding{RuleId: declared, Message: fmt.Sprint("finding ", i)})
			}
			if err := out.Send(event(batch)); err != nil {
				return true, err
			}
		}
	case "shut-own-directory":
		tmp := os.Getenv("TMPDIR")
		_ = os.MkdirAll(filepath.Join(tmp, "a", "b"), 0o700)
		_ = os.Chmod(filepath.Join(tmp, "a"), 0)
	case "files":
		names, _ := filepath.Glob("*/*")
		f := &pluginv1.Finding{RuleId: declared, Message: strings.Join(names, " ")}
		_ = out.Send(event(&pluginv1.Findings{Findings: []*pluginv1.Finding{f}}))
		return true, out.Send(event(&pluginv1.Completed{Status: pluginv1.Completed_STATUS_SUCCEEDED, Findings: 1}))
	case "stdin":
		text, err := io.ReadAll(os.Stdin)
		f := &pluginv1.Finding{RuleId: declared, Message: fmt.Sprintf("it reads %q and %v", text, err)}
		_ = out.Send(event(&pluginv1.Findings{Findings: []*pluginv1.Finding{f}}))
		return true, out.Send(event(&pluginv1.Completed{Status: pluginv1.Completed_STATUS_SUCCEEDED, Findings: 1}))
	case "environment":
		f := &pluginv1.Finding{RuleId: declared, Message: strings.Join(os.Environ(), "\n")}
		_ = out.Send(event(&pluginv1.Findings{Findings: []*pluginv1.Finding{f}}))
		return true, out.Send(event(&pluginv1.Completed{Status: pluginv1.Completed_STATUS_SUCCEEDED, Findings: 1}))
	}
	return false, nil
}

func event(m any) *pluginv1.ScanEvent {
	switch m := m.(type) {
	case *pluginv1.Progress:
		return &pluginv1.ScanEvent{Event: &pluginv1.ScanEvent_Progress{Progress: m}}
	case *pluginv1.Log:
		return &pluginv1.ScanEvent{Event: &pluginv1.ScanEvent_Log{Log: m}}
	case *pluginv1.Findings:
		return &pluginv1.ScanEvent{Event: &pluginv1.ScanEvent_Findings{Findings: m}}
	case *pluginv1.Artifact:
		return &pluginv1.ScanEvent{Event: &pluginv1.ScanEvent_Artifact{Artifact: m}}
	case *pluginv1.Diagnostic:
		return &pluginv1.ScanEvent{Event: &pluginv1.ScanEvent_Diagnostic{Diagnostic: m}}
	case *pluginv1.Completed:
		return &pluginv1.ScanEvent{Event: &pluginv1.ScanEvent_Completed{Completed: m}}
	}
	panic("unknown event")
}

// codec sends what proto itself refuses to: a string that is not UTF-8.
type codec struct{ encoding.CodecV2 }

func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	ev, ok := v.(*pluginv1.ScanEvent)
	if !ok || len(ev.GetFindings().GetFindings()) == 0 || ev.GetFindings().GetFindings()[0].GetMessage() != garbage {
		return c.CodecV2.Marshal(v)
	}
	field := func(n protowire.Number, b []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, n, protowire.BytesType), b)
	}
	finding := append(field(1, []byte(declared)), field(2, []byte("\xff\xfe"))...)
	return mem.BufferSlice{mem.SliceBuffer(field(2, field(1, finding)))}, nil
}
