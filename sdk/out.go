package sdk

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/protobuf/proto"

	"github.com/securetaghq/securetag/sdk/proto/pluginv1"
)

// Limits of what one finding may carry, in bytes. The host cuts at the same
// places; the SDK does it first so that a batch always fits its message.
const (
	maxTitle      = 256
	maxMessage    = 8 << 10
	maxSnippet    = 2 << 10
	maxPath       = 4 << 10
	maxIdentity   = 16
	maxProperties = 32
	maxProperty   = 1 << 10

	batchCount = 50
	batchBytes = 256 << 10
	maxNotes   = 1000
	maxReasons = 5
)

// Finding is one problem at one place.
type Finding struct {
	Message    string     // what is wrong here; plain text
	Severity   Severity   // 0: the rule's
	Confidence Confidence // 0: not known
	At         Location
	// Snippet is the text that shows it, at most 2 KiB. Redact secrets.
	Snippet string
	// Identity is what stays the same when lines move; nil: the snippet. The
	// host hashes it with the plugin, the rule and the path. Never a secret, but
	// what [Target.Keyed] makes of one.
	Identity   []string
	Properties map[string]string
}

// Location is a place in the tree or on the web. Lines and columns are 1-based,
// columns count bytes, EndColumn is one past the last; 0 means not known.
type Location struct {
	Path        string // relative to the root, slash-separated
	StartLine   int
	StartColumn int
	EndLine     int
	EndColumn   int
	URL         string
}

// Progress is how far a scan is.
type Progress struct {
	Phase   string // one or two words: "walking", "matching"
	Done    uint64
	Total   uint64 // 0: not known
	Unit    string // "files", "bytes", "requests"
	Message string
}

// NoteLevel is how much a note matters.
type NoteLevel int32

const (
	Notice  = NoteLevel(pluginv1.Diagnostic_SEVERITY_NOTE)
	Warning = NoteLevel(pluginv1.Diagnostic_SEVERITY_WARNING)
)

// Note is a remark for people about the target.
type Note struct {
	Level   NoteLevel // 0: Notice
	Summary string    // one line: what is the matter
	Detail  string    // what to do about it
	Path    string    // which file; "" for none
}

// Out takes what a scan has to say. Its methods are safe for concurrent use.
// Finding waits while the host is slow to read; the others never do. After the
// scan has ended they do nothing.
type Out struct {
	log    hclog.Logger
	rules  map[string]bool
	max    uint64                   // findings wanted; 0: no limit
	full   chan []*pluginv1.Finding // batches that must not wait for the clock
	closed chan struct{}            // nobody receives any more
	fail   func(error)              // ends the scan with an error of the author's
	keep   *keep                    // the artifacts

	mu       sync.Mutex
	done     bool
	batch    []*pluginv1.Finding
	bytes    int
	events   []*pluginv1.ScanEvent // notes and artifacts, in order
	progress *pluginv1.Progress    // latest
	fresh    bool                  // progress has not been sent
	noted    int
	reasons  []string
	findings uint64
	files    uint64
	scanned  uint64
}

func newOut(log hclog.Logger, rules map[string]bool, max uint64, fail func(error)) *Out {
	return &Out{
		log: log, rules: rules, max: max, fail: fail,
		full:     make(chan []*pluginv1.Finding),
		closed:   make(chan struct{}),
		progress: &pluginv1.Progress{Phase: "starting"},
		fresh:    true,
	}
}

// Finding reports a finding by a declared rule. It is sent within 200 ms.
func (o *Out) Finding(rule string, f Finding) {
	if !o.rules[rule] {
		o.fail(fmt.Errorf("the scanner reported a finding by the rule %.80q, which it does not declare", rule))
		return
	}
	pb := f.proto(rule)
	size := proto.Size(pb)

	o.mu.Lock()
	if o.done {
		o.mu.Unlock()
		return
	}
	if o.max > 0 && o.findings >= o.max {
		o.partial(fmt.Sprintf("more than %d findings; the rest was left out", o.max))
		o.mu.Unlock()
		return
	}
	o.findings++
	o.batch = append(o.batch, pb)
	o.bytes += size
	var full []*pluginv1.Finding
	if len(o.batch) >= batchCount || o.bytes >= batchBytes {
		full = o.take()
	}
	o.mu.Unlock()
	if full == nil {
		return
	}
	select {
	case o.full <- full:
	case <-o.closed:
	}
}

// Progress replaces the last progress. It is sent at most four times a second.
func (o *Out) Progress(p Progress) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.progress = &pluginv1.Progress{
		Phase: oneLine(p.Phase, maxTitle), Done: p.Done, Total: p.Total,
		Unit: oneLine(p.Unit, maxTitle), Message: oneLine(p.Message, maxTitle),
	}
	o.fresh = true
}

// Partial marks the result as good but incomplete, and says why in one line.
func (o *Out) Partial(reason string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.partial(oneLine(reason, maxTitle))
}

func (o *Out) partial(reason string) {
	if reason == "" {
		reason = "some of the target was not scanned"
	}
	if len(o.reasons) < maxReasons && !slices.Contains(o.reasons, reason) {
		o.reasons = append(o.reasons, reason)
	}
}

// Note tells people something about the target. At most 1000 are kept.
func (o *Out) Note(n Note) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.done || o.noted > maxNotes {
		return
	}
	if o.noted++; o.noted > maxNotes {
		n = Note{Level: Warning, Summary: fmt.Sprintf("more than %d notes; the rest was left out", maxNotes)}
	}
	if n.Level == 0 {
		n.Level = Notice
	}
	o.events = append(o.events, &pluginv1.ScanEvent{Event: &pluginv1.ScanEvent_Diagnostic{Diagnostic: &pluginv1.Diagnostic{
		Severity: pluginv1.Diagnostic_Severity(n.Level),
		Summary:  oneLine(n.Summary, maxTitle), Detail: clean(n.Detail, maxMessage), TargetPath: clean(n.Path, maxPath),
	}}})
}

// Scanned adds to the numbers of files and bytes that were looked at.
func (o *Out) Scanned(files, bytes uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.files += files
	o.scanned += bytes
}

// Log is the log of this scan; it goes to the operator, not to the tenant.
func (o *Out) Log() hclog.Logger { return o.log }

// take empties the batch; the caller holds mu.
func (o *Out) take() []*pluginv1.Finding {
	b := o.batch
	o.batch, o.bytes = nil, 0
	return b
}

// flush gives what waits for the clock: notes and artifacts, then findings.
func (o *Out) flush() []*pluginv1.ScanEvent {
	o.mu.Lock()
	defer o.mu.Unlock()
	events := o.events
	o.events = nil
	if b := o.take(); len(b) > 0 {
		events = append(events, findingsEvent(b))
	}
	return events
}

// latest gives the progress when it is new, or in any case when asked to.
func (o *Out) latest(always bool) *pluginv1.ScanEvent {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.fresh && !always {
		return nil
	}
	o.fresh = false
	return &pluginv1.ScanEvent{Event: &pluginv1.ScanEvent_Progress{Progress: o.progress}}
}

// end takes nothing more and gives the totals, less the number of findings:
// that is how many were sent.
func (o *Out) end() *pluginv1.Completed {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.done {
		o.done = true
		close(o.closed)
	}
	c := &pluginv1.Completed{FilesScanned: o.files, BytesScanned: o.scanned}
	if len(o.reasons) > 0 {
		c.Status = pluginv1.Completed_STATUS_PARTIAL
		c.Reason = strings.Join(o.reasons, "; ")
	} else {
		c.Status = pluginv1.Completed_STATUS_SUCCEEDED
	}
	return c
}

func findingsEvent(b []*pluginv1.Finding) *pluginv1.ScanEvent {
	return &pluginv1.ScanEvent{Event: &pluginv1.ScanEvent_Findings{Findings: &pluginv1.Findings{Findings: b}}}
}

func (f Finding) proto(rule string) *pluginv1.Finding {
	pb := &pluginv1.Finding{
		RuleId:     rule,
		Message:    clean(f.Message, maxMessage),
		Severity:   pluginv1.Severity(f.Severity),
		Confidence: pluginv1.Finding_Confidence(f.Confidence),
		Location: &pluginv1.Location{
			Path:        clean(f.At.Path, maxPath),
			StartLine:   number(f.At.StartLine),
			StartColumn: number(f.At.StartColumn),
			EndLine:     number(f.At.EndLine),
			EndColumn:   number(f.At.EndColumn),
			Url:         clean(f.At.URL, maxPath),
		},
		Snippet: clean(f.Snippet, maxSnippet),
	}
	for _, part := range f.Identity[:min(len(f.Identity), maxIdentity)] {
		pb.Identity = append(pb.Identity, clean(part, maxSnippet))
	}
	if keys := slices.Sorted(maps.Keys(f.Properties)); len(keys) > 0 {
		pb.Properties = make(map[string]string, len(keys))
		for _, k := range keys[:min(len(keys), maxProperties)] {
			pb.Properties[clean(k, maxTitle)] = clean(f.Properties[k], maxProperty)
		}
	}
	return pb
}

// number is n as the wire has it; what cannot be is 0, not known.
func number(n int) uint32 {
	if n < 0 || int64(n) > 1<<32-1 {
		return 0
	}
	return uint32(n)
}
