package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"

	"github.com/securetaghq/securetag/sdk/proto/pluginv1"
)

// outside is what a test puts where no plugin may reach it.
type outside struct {
	Dir  string // with a file "secret" that everybody may read and write
	Tree string // another job's
	Unix string // address of a socket on which somebody listens
	TCP  string
	UDP  string
	PID  int // the host's
}

type stream = grpc.ServerStreamingServer[pluginv1.ScanEvent]

// misbehave does what only a sandbox stops; true: and the scan ends there.
func (s *scanner) misbehave(mode string, req *pluginv1.ScanRequest, out stream) (bool, error) {
	var o outside
	_ = json.Unmarshal(req.GetOptionsJson(), &o)
	switch mode {
	case "escape":
		return true, confess(attempts(o, req), out)
	case "read-tree":
		text, err := os.ReadFile(filepath.Join(req.GetTarget().GetRoot(), "file"))
		werr := os.WriteFile(filepath.Join(req.GetTarget().GetRoot(), "new"), nil, 0o600)
		wwerr := os.WriteFile(filepath.Join(req.GetWorkDir(), "new"), nil, 0o600)
		return true, confess(map[string]any{"text": string(text), "err": err, "write": werr, "work": wwerr}, out)
	case "eat-memory":
		for kept := [][]byte{}; ; {
			b := make([]byte, 4<<20)
			for i := 0; i < len(b); i += 4096 {
				b[i] = 1
			}
			kept = append(kept, b)
		}
	case "eat-cpu":
		go func() {
			for { //nolint:staticcheck // that it spins is what it is for
			}
		}()
		for { //nolint:staticcheck // the same
		}
	case "eat-disk":
		block := make([]byte, 1<<20)
		for i := 0; ; i++ {
			_ = os.WriteFile(filepath.Join(req.GetWorkDir(), fmt.Sprint(i)), block, 0o600)
			time.Sleep(5 * time.Millisecond)
		}
	case "eat-tmp":
		block := make([]byte, 1<<20)
		for i := 0; ; i++ {
			if err := os.WriteFile(filepath.Join(os.TempDir(), fmt.Sprint(i)), block, 0o600); err != nil {
				return true, confess(map[string]any{"files": i, "err": err}, out)
			}
		}
	case "eat-files":
		for {
			if _, err := os.Open(os.DevNull); err != nil {
				panic(err)
			}
		}
	case "fork-bomb":
		for {
			if _, _, errno := syscall.RawSyscall(syscall.SYS_CLONE, uintptr(syscall.SIGCHLD), 0, 0); errno != 0 {
				fmt.Fprintln(s.streams[1], "fork:", errno)
				os.Exit(11)
			}
		}
	case "daemonise":
		for range 3 {
			child(s.token, true, nil, nil)
		}
		return false, nil // and goes on as if nothing were
	case "flood-stdout":
		go func() {
			for {
				if _, err := s.streams[0].WriteString(strings.Repeat("noise ", 1000)); err != nil {
					return
				}
			}
		}()
		return false, nil
	case "flood-progress", "flood-logs", "flood-diagnostics":
		var ev *pluginv1.ScanEvent
		switch mode {
		case "flood-progress":
			ev = event(&pluginv1.Progress{Phase: strings.Repeat("x", 10_000)})
		case "flood-logs":
			ev = event(&pluginv1.Log{Message: strings.Repeat("x", 10_000)})
		default:
			ev = &pluginv1.ScanEvent{Event: &pluginv1.ScanEvent_Diagnostic{Diagnostic: &pluginv1.Diagnostic{Summary: strings.Repeat("x", 10_000)}}}
		}
		for range 2000 {
			if err := out.Send(ev); err != nil {
				return true, err
			}
		}
		return false, nil
	case "crash-after-findings", "hang-after-findings":
		_ = out.Send(event(&pluginv1.Findings{Findings: []*pluginv1.Finding{{RuleId: declared, Message: "found it"}}}))
		if mode == "hang-after-findings" {
			select {}
		}
		time.Sleep(50 * time.Millisecond)
		os.Exit(12)
	}
	return false, nil
}

// confess reports each fact as a finding.
func confess(facts map[string]any, out stream) error {
	batch := &pluginv1.Findings{}
	for name, v := range facts {
		batch.Findings = append(batch.Findings, &pluginv1.Finding{RuleId: declared, Message: fmt.Sprint(name, "=", v)})
	}
	sort.Slice(batch.Findings, func(i, j int) bool { return batch.Findings[i].GetMessage() < batch.Findings[j].GetMessage() })
	if err := out.Send(event(batch)); err != nil {
		return err
	}
	return out.Send(event(&pluginv1.Completed{Status: pluginv1.Completed_STATUS_SUCCEEDED, Findings: uint64(len(facts))}))
}

// attempts tries to reach what is outside, in as many ways as there are.
func attempts(o outside, req *pluginv1.ScanRequest) map[string]any {
	read := func(path string) error { _, err := os.ReadFile(path); return err }
	dial := func(network, address string) error {
		c, err := (&net.Dialer{Timeout: time.Second}).DialContext(context.Background(), network, address)
		if err == nil {
			_, err = c.Write([]byte("hello"))
			_ = c.Close()
		}
		return err
	}
	mptcp := func() error {
		var d net.Dialer
		d.SetMultipathTCP(true)
		d.Timeout = time.Second
		c, err := d.DialContext(context.Background(), "tcp", o.TCP)
		if err == nil {
			_ = c.Close()
		}
		return err
	}
	list := func(dir string) string {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return err.Error()
		}
		var names []string
		for _, e := range entries {
			names = append(names, e.Name())
		}
		return fmt.Sprint(names)
	}
	pids, _ := filepath.Glob("/proc/[0-9]*")
	return map[string]any{
		"write-outside":    os.WriteFile(filepath.Join(o.Dir, "new"), nil, 0o600),
		"change-outside":   os.WriteFile(filepath.Join(o.Dir, "secret"), []byte("changed"), 0o600),
		"read-outside":     read(filepath.Join(o.Dir, "secret")),
		"read-shadow":      read("/etc/shadow"),
		"read-database":    read(filepath.Join(o.Dir, "securetag.db")),
		"read-other-tree":  read(filepath.Join(o.Tree, "file")),
		"list-other-trees": list(filepath.Dir(o.Tree)),
		"write-tree":       os.WriteFile(filepath.Join(req.GetTarget().GetRoot(), "new"), nil, 0o600),
		"write-itself":     os.WriteFile(os.Args[0], nil, 0o600),
		"link-outside":     os.Link(filepath.Join(o.Dir, "secret"), filepath.Join(req.GetWorkDir(), "link")),
		"tcp":              dial("tcp", o.TCP),
		"udp":              dial("udp", o.UDP),
		"mptcp":            mptcp(),
		"unix":             dial("unix", o.Unix),
		"abstract-unix":    dial("unix", "@"+o.Unix),
		"proc-environ":     read(fmt.Sprintf("/proc/%d/environ", o.PID)),
		"proc-of-others":   fmt.Sprint(len(pids) <= 1, " alone"),
		"ptrace-host":      syscall.PtraceAttach(o.PID),
		"signal-host":      syscall.Kill(o.PID, syscall.SIGCONT),
		"signal-all":       syscall.Kill(-1, syscall.SIGCONT),
		"become-root":      syscall.Setuid(0),
		"unshare":          syscall.Unshare(syscall.CLONE_NEWUSER),
		"mount":            syscall.Mount("none", os.TempDir(), "tmpfs", 0, ""),
	}
}
