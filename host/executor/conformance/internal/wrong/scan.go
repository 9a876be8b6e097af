package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/securetaghq/securetag/sdk/proto/pluginv1"
)

type stream = grpc.ServerStreamingServer[pluginv1.ScanEvent]

var (
	awsKey       = regexp.MustCompile(`\bAKIA[0-9A-Z]{16}\b`)
	errCancelled = errors.New("cancelled")
)

// run is one scan.
type run struct {
	s     *scanner
	ctx   context.Context
	req   *pluginv1.ScanRequest
	out   stream
	found uint64
	odd   bool // the tree is the kit's sample, in which this plugin is wrong
}

// Scan takes a slot, scans, and gives the slot back before its last word.
func (s *scanner) Scan(req *pluginv1.ScanRequest, out stream) error {
	if err := s.refusal(req); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(out.Context())
	defer cancel(nil)
	s.mu.Lock()
	switch {
	case !s.configured:
		s.mu.Unlock()
		return status.Error(codes.FailedPrecondition, "not configured")
	case s.draining:
		s.mu.Unlock()
		return status.Error(codes.Unavailable, "draining")
	case s.active == slots:
		s.mu.Unlock()
		return status.Error(codes.ResourceExhausted, "all slots are taken")
	}
	s.active++
	s.idle.Add(1)
	s.runs[req.GetRunId()] = cancel
	s.mu.Unlock()

	r := &run{s: s, ctx: ctx, req: req, out: out}
	done, err := r.scan()
	_, deadline := out.Context().Deadline()
	hold := out.Context().Err() != nil && (s.is("cancel.deadline") && deadline || s.is("cancel.context") && !deadline)
	s.mu.Lock()
	if delete(s.runs, req.GetRunId()); !hold {
		s.active--
	}
	s.idle.Done()
	s.mu.Unlock()
	if err != nil {
		return err
	}
	return r.complete(done)
}

func (s *scanner) refusal(req *pluginv1.ScanRequest) error {
	var options map[string]any
	if err := json.Unmarshal(req.GetOptionsJson(), &options); err != nil {
		return status.Error(codes.InvalidArgument, "the options are no object")
	}
	for name, v := range options {
		_, number := v.(float64)
		switch {
		case name != "depth" && s.is("scan.unknown-option/code"):
			return status.Error(codes.Internal, "no such option")
		case name != "depth" && !s.is("scan.unknown-option/accepts"), name == "depth" && !number && !s.is("scan.wrong-option"):
			return status.Error(codes.InvalidArgument, "no such option, or of another type: "+name)
		}
	}
	if s.is("scan.host") && !strings.HasPrefix(req.GetRunId(), "conformance/") {
		return status.Error(codes.InvalidArgument, "this run id is not what was tested with")
	}
	return nil
}

func (r *run) send(ev *pluginv1.ScanEvent) { _ = r.out.Send(ev) }

func (r *run) progress() {
	r.send(&pluginv1.ScanEvent{Event: &pluginv1.ScanEvent_Progress{Progress: &pluginv1.Progress{Phase: "matching"}}})
}

// scan gives how the scan ended, or the error that stands for that.
func (r *run) scan() (*pluginv1.Completed, error) {
	r.progress()
	if u := r.req.GetTarget().GetUrl(); u != "" {
		return r.page(u)
	}
	var files []string
	root := r.req.GetTarget().GetRoot()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		rel, relErr := filepath.Rel(root, path)
		if err == nil && relErr == nil && (d.Type().IsRegular() || d.Type()&fs.ModeSymlink != 0 && r.s.is("tree.links")) {
			files = append(files, rel)
		}
		if d != nil && d.Type()&fs.ModeNamedPipe != 0 && r.s.is("tree.special-files/hangs") {
			_, _ = os.Open(path)
		}
		return r.ctx.Err()
	})
	if err == nil {
		err = r.wrongFor(files)
	}
	for _, rel := range files {
		if err == nil {
			err = r.file(root, rel)
		}
	}
	switch {
	case errors.Is(err, errFailed):
		return &pluginv1.Completed{Status: pluginv1.Completed_STATUS_FAILED, Reason: err.Error()}, nil
	case errors.Is(context.Cause(r.ctx), errCancelled):
		if r.s.is("cancel.running/status") {
			return &pluginv1.Completed{Status: pluginv1.Completed_STATUS_FAILED, Reason: "interrupted"}, nil
		}
		return &pluginv1.Completed{Status: pluginv1.Completed_STATUS_CANCELLED, Reason: "as asked"}, nil
	case err != nil:
		return nil, status.FromContextError(r.ctx.Err()).Err()
	}
	return &pluginv1.Completed{Status: pluginv1.Completed_STATUS_SUCCEEDED}, nil
}

// errFailed is of a tree that this plugin cannot scan.
var errFailed = errors.New("this tree is too much")

// landmarks tell the kit's trees apart.
func landmarks() map[string]string {
	return map[string]string{
		"tree.sample": "deploy/prod.env", "tree.huge-file": "huge.log", "tree.long-line": "long.min.js", "tree.binary": "broken.zip",
		"tree.many-files": "d000/f00000.py", "tree.odd-names": "-rf", "tree.unreadable": "closed.txt", "tree.special-files": "regular.txt",
	}
}

// wrongFor does what is wrong in one tree.
func (r *run) wrongFor(files []string) error {
	has := func(name string) bool {
		for _, f := range files {
			if f == name || strings.HasSuffix(f, "/"+name) {
				return true
			}
		}
		return false
	}
	r.odd = has("deploy/prod.env")
	id, how, _ := strings.Cut(r.s.mode, "/")
	if mark := landmarks()[id]; mark != "" && has(mark) {
		switch how {
		case "crash":
			os.Exit(9)
		case "error":
			return fs.ErrInvalid
		case "":
			return errFailed
		}
	}
	switch r.s.mode {
	case "tree.empty":
		if len(files) == 0 {
			return errFailed
		}
	case "tree.deep":
		if len(files) == 1 && len(files[0]) > 1000 {
			return errFailed
		}
	}
	if r.odd {
		r.misbehave()
	}
	return nil
}

// misbehave does what is wrong beside the scan of the sample.
func (r *run) misbehave() {
	root := r.req.GetTarget().GetRoot()
	work := r.req.GetWorkDir()
	switch r.s.mode {
	case "output.stdout":
		_, _ = syscall.Write(1, []byte("scanning\n"))
	case "files.target-unchanged/cache":
		_ = os.WriteFile(filepath.Join(root, ".cache"), nil, 0o600)
	case "files.target-unchanged/touch":
		_ = os.Chtimes(filepath.Join(root, "README.md"), time.Unix(0, 0), time.Unix(0, 0))
	case "files.target-unchanged/remove":
		_ = os.Remove(filepath.Join(root, "README.md"))
	case "files.outside/work":
		_ = os.WriteFile(filepath.Join(work, "..", "stray"), nil, 0o600)
	case "files.outside/link":
		_ = os.WriteFile(filepath.Join(root, "..", "..", "outside", "stray"), nil, 0o600)
	case "events.silence":
		time.Sleep(300 * time.Millisecond)
	case "resources.memory":
		ballast := make([]byte, 96<<20)
		for i := range ballast {
			ballast[i] = byte(i)
		}
		r.found += uint64(ballast[0])
	case "resources.processes":
		if c := exec.Command(os.Args[0], "idle"); c.Start() == nil {
			time.Sleep(300 * time.Millisecond)
			_ = c.Process.Kill()
			_ = c.Wait()
		}
	case "resources.files":
		if f, err := os.Open(os.DevNull); err == nil {
			r.s.leaked = append(r.s.leaked, f)
		}
	case "stop.children":
		c := exec.Command(os.Args[0], "idle")
		c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if c.Start() == nil {
			_ = c.Process.Release()
		}
	}
}

// file scans one file. It takes its time, so that scans can be cancelled.
func (r *run) file(root, rel string) error {
	pace := 4 * time.Millisecond
	if strings.HasPrefix(r.s.mode, "cancel.running") {
		pace *= 2
	}
	wait := time.NewTimer(pace)
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-r.ctx.Done():
		return context.Cause(r.ctx)
	}
	if r.s.is("cancel.running/hangs") && rel == "d000/f00000.py" {
		<-r.out.Context().Done()
	}
	f, err := os.OpenFile(filepath.Join(root, rel), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil
	}
	defer f.Close()
	sc := bufio.NewScanner(f)
	for n := uint32(1); sc.Scan(); n++ {
		for _, at := range awsKey.FindAllIndex(sc.Bytes(), -1) {
			r.finding(rel, n, at, sc.Text())
		}
	}
	return nil
}

func (r *run) finding(rel string, line uint32, at []int, text string) {
	f := &pluginv1.Finding{
		RuleId: "aws-key", Message: "AWS key " + text[at[0]:at[0]+4] + "****", Confidence: pluginv1.Finding_CONFIDENCE_HIGH,
		Location: &pluginv1.Location{Path: strings.ToValidUTF8(rel, "\ufffd"), StartLine: line, StartColumn: uint32(at[0] + 1), EndLine: line, EndColumn: uint32(at[1] + 1)},
	}
	r.misreport(f, text[at[0]:at[1]])
	r.found++
	r.send(&pluginv1.ScanEvent{Event: &pluginv1.ScanEvent_Findings{Findings: &pluginv1.Findings{Findings: []*pluginv1.Finding{f}}}})
}

// page scans a web page, or says why not.
func (r *run) page(u string) (*pluginv1.Completed, error) {
	req, err := http.NewRequestWithContext(r.ctx, http.MethodGet, u, nil)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	resp, err := http.DefaultClient.Do(req)
	switch {
	case err != nil && r.s.is("url.unreachable"):
		return nil, status.Error(codes.Unknown, err.Error())
	case err != nil:
		return &pluginv1.Completed{Status: pluginv1.Completed_STATUS_FAILED, Reason: err.Error(), Retryable: true}, nil
	case r.s.is("url.page"):
		return &pluginv1.Completed{Status: pluginv1.Completed_STATUS_FAILED, Reason: "not a page for me"}, nil
	}
	resp.Body.Close()
	return &pluginv1.Completed{Status: pluginv1.Completed_STATUS_SUCCEEDED}, nil
}

// garbage becomes bytes that are not UTF-8; see codec.
const garbage = "this message becomes garbage"

// codec sends what proto itself refuses to: a string that is not UTF-8.
type codec struct{ encoding.CodecV2 }

func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	ev, ok := v.(*pluginv1.ScanEvent)
	if !ok || ev.GetLog().GetMessage() != garbage {
		return c.CodecV2.Marshal(v)
	}
	field := func(n protowire.Number, b []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, n, protowire.BytesType), b)
	}
	return mem.BufferSlice{mem.SliceBuffer(field(3, field(2, []byte("\xff\xfe"))))}, nil
}

func (r *run) log(text string) {
	r.send(&pluginv1.ScanEvent{Event: &pluginv1.ScanEvent_Log{Log: &pluginv1.Log{Message: text}}})
}
