package main

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/securetaghq/securetag/sdk/proto/pluginv1"
)

// misreport makes a finding wrong. secret is what was found.
func (r *run) misreport(f *pluginv1.Finding, secret string) {
	l := f.Location
	switch r.s.mode {
	case "tree.links":
		f.Snippet = "found behind a link"
	case "scan.deterministic":
		f.Message += fmt.Sprint(" ", rand.Uint64())
	case "scan.concurrent":
		if strings.HasPrefix(l.Path, "p") {
			l.Path = "p0/" + l.Path[3:]
		}
	case "findings.rule":
		f.RuleId = "aws-keys"
	case "findings.path/absolute":
		l.Path = filepath.Join(r.req.GetTarget().GetRoot(), l.Path)
	case "findings.path/dots":
		l.Path = "../" + l.Path
	case "findings.path/dot":
		l.Path = "./" + l.Path
	case "findings.path/missing":
		l.Path += ".orig"
	case "findings.path/none":
		l.Path = ""
	case "findings.lines/beyond":
		l.StartLine, l.EndLine = l.StartLine+100, l.EndLine+100
	case "findings.lines/backwards":
		l.StartLine++
	case "findings.lines/column":
		l.EndColumn += 100
	case "findings.lines/zero":
		l.StartLine, l.EndLine = 0, 0
	case "findings.values/severity":
		f.Severity = 9
	case "findings.values/confidence":
		f.Confidence = 9
	case "findings.values/url":
		l.Url = "file:///etc/passwd"
	case "findings.limits/message":
		f.Message = strings.Repeat("x", 9<<10)
	case "findings.limits/snippet":
		f.Snippet = strings.Repeat("x", 3<<10)
	case "findings.limits/control":
		f.Message = "\x1b[31m" + f.Message
	case "findings.limits/property":
		f.Properties = map[string]string{"all": strings.Repeat("x", 2<<10)}
	case "findings.redacted/message":
		f.Message = "AWS key " + secret
	case "findings.redacted/identity":
		f.Identity = []string{secret}
	case "findings.redacted/log":
		r.log("matched " + secret)
	case "events.size":
		for range 1100 {
			f.Identity = append(f.Identity, strings.Repeat("x", 1<<10))
		}
	case "events.utf8":
		r.log(garbage)
	}
}

// complete says how the scan ended: in the sample, wrongly.
func (r *run) complete(c *pluginv1.Completed) error {
	c.Findings = r.found
	if !r.odd {
		return r.out.Send(&pluginv1.ScanEvent{Event: &pluginv1.ScanEvent_Completed{Completed: c}})
	}
	r.artifact()
	switch r.s.mode {
	case "events.completed/none":
		return nil
	case "events.completed/reason":
		c.Status = pluginv1.Completed_STATUS_PARTIAL
	case "events.completed/status":
		c.Status = 42
	case "events.completed/unspecified":
		c.Status = 0
	case "events.completed/cancelled":
		c.Status, c.Reason = pluginv1.Completed_STATUS_CANCELLED, "as asked"
	case "events.completed/not-applicable":
		c.Status, c.Reason = pluginv1.Completed_STATUS_NOT_APPLICABLE, "nothing here"
	case "events.count":
		c.Findings++
	}
	r.send(&pluginv1.ScanEvent{Event: &pluginv1.ScanEvent_Completed{Completed: c}})
	switch r.s.mode {
	case "events.completed/twice":
		r.send(&pluginv1.ScanEvent{Event: &pluginv1.ScanEvent_Completed{Completed: c}})
	case "events.completed/after":
		r.progress()
	case "events.completed/error":
		return status.Error(codes.Internal, "changed my mind")
	}
	return nil
}

// artifact sends a report, right or wrong.
func (r *run) artifact() {
	const text = "{}\n"
	work := r.req.GetWorkDir()
	file := filepath.Join(work, "report.json")
	_ = os.WriteFile(file, []byte(text), 0o600)
	a := &pluginv1.Artifact{Name: "report.json", MediaType: "application/json", Path: "report.json", Sha256: fmt.Sprintf("%x", sha256.Sum256([]byte(text)))}
	switch r.s.mode {
	case "artifacts.valid/name":
		a.Name = "../report.json"
	case "artifacts.valid/type":
		a.MediaType = "JSON"
	case "artifacts.valid/path":
		a.Path = file
	case "artifacts.valid/missing":
		a.Path = "other.json"
	case "artifacts.valid/hash":
		a.Sha256 = strings.Repeat("0", 64)
	case "artifacts.valid/hex":
		a.Sha256 = strings.ToUpper(a.Sha256)
	case "artifacts.valid/link":
		_ = os.Remove(file)
		_ = os.Symlink("/etc/hostname", file)
		a.Sha256 = ""
	case "artifacts.valid/twice":
		r.send(&pluginv1.ScanEvent{Event: &pluginv1.ScanEvent_Artifact{Artifact: a}})
	}
	r.send(&pluginv1.ScanEvent{Event: &pluginv1.ScanEvent_Artifact{Artifact: a}})
}
