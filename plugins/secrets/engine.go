package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/spf13/viper"
	"github.com/zricethezav/gitleaks/v8/config"
	"github.com/zricethezav/gitleaks/v8/detect"
	"github.com/zricethezav/gitleaks/v8/report"
	"github.com/zricethezav/gitleaks/v8/sources"

	"github.com/securetaghq/securetag/sdk"
)

// decodeDepth is how often encoded text (base64, hex, percent) is decoded and
// searched again: the default of gitleaks' command, not of its library.
const decodeDepth = 5

// engine is gitleaks' detector with its default rules. Detecting reads it only,
// so that all scans of the process share one.
type engine struct {
	config   config.Config
	detector *detect.Detector
}

func newEngine() (*engine, error) {
	v := viper.New()
	v.SetConfigType("toml")
	if err := v.ReadConfig(strings.NewReader(config.DefaultConfig)); err != nil {
		return nil, fmt.Errorf("read gitleaks' rules: %w", err)
	}
	var vc config.ViperConfig
	if err := v.Unmarshal(&vc); err != nil {
		return nil, fmt.Errorf("read gitleaks' rules: %w", err)
	}
	cfg, err := vc.Translate()
	if err != nil {
		return nil, fmt.Errorf("compile gitleaks' rules: %w", err)
	}
	cfg.Path = "" // else a file of that name in the target would be left out
	d := detect.NewDetector(cfg)
	d.MaxDecodeDepth = decodeDepth
	d.IgnoreGitleaksAllow = true // the target does not decide what is found in it
	return &engine{config: cfg, detector: d}, nil
}

// scan looks at the files that `gitleaks dir .` would, from inside the root:
// paths are relative, because the rules' path patterns must not see where the
// host put the tree.
func (e *engine) scan(ctx context.Context, c *Config, t *sdk.Target, out *sdk.Out) error {
	s := &scan{engine: e, out: out}
	files, err := s.list(ctx, c, t)
	if err != nil {
		return err
	}
	workers := c.Workers
	if workers == 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	s.total = uint64(len(files))
	s.progress()
	work := make(chan sdk.File)
	var wg sync.WaitGroup
	for range min(workers, len(files)) {
		wg.Go(func() {
			for f := range work {
				s.file(ctx, f)
			}
		})
	}
feed:
	for _, f := range files {
		select {
		case work <- f:
		case <-ctx.Done():
			break feed
		}
	}
	close(work)
	wg.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	s.summary()
	return nil
}

// scan is one scan under way.
type scan struct {
	*engine
	out   *sdk.Out
	total uint64
	done  atomic.Uint64

	allowed int           // paths left out by gitleaks' global allow list
	opaque  atomic.Uint64 // archives and binaries
}

// list walks the tree as gitleaks does.
func (s *scan) list(ctx context.Context, c *Config, t *sdk.Target) ([]sdk.File, error) {
	var files []sdk.File
	for f, err := range t.FilesExcept(ctx, s.skip) {
		switch {
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case err != nil:
			s.unreadable(f.Path, err)
		case f.Size == 0 || s.skip(f.Path):
		case c.MaxFileSize > 0 && f.Size > int64(c.MaxFileSize):
			s.out.Note(sdk.Note{Level: sdk.Warning, Path: f.Path,
				Summary: fmt.Sprintf("larger than max_file_size (%s), not scanned", c.MaxFileSize)})
		default:
			files = append(files, f)
		}
	}
	return files, nil
}

// skip reports whether gitleaks' global allow list names the path: lock files,
// images, vendored packages.
func (s *scan) skip(path string) bool {
	for _, a := range s.config.Allowlists {
		if a.PathAllowed(path) {
			s.allowed++
			return true
		}
	}
	return false
}

func (s *scan) unreadable(path string, err error) {
	s.out.Note(sdk.Note{Level: sdk.Warning, Path: path, Summary: "could not be read: " + err.Error()})
	s.out.Partial("some files could not be read")
}

func (s *scan) progress() {
	s.out.Progress(sdk.Progress{Phase: "matching", Done: s.done.Load(), Total: s.total, Unit: "files"})
}

func (s *scan) summary() {
	if s.allowed > 0 {
		s.out.Note(sdk.Note{Summary: fmt.Sprintf("%d files or directories were left out: gitleaks takes lock files, media and vendored packages as free of secrets", s.allowed)})
	}
	if n := s.opaque.Load(); n > 0 {
		s.out.Note(sdk.Note{Summary: fmt.Sprintf("%d archives or binaries were not looked into", n)})
	}
}

// file scans one file. A panic in the engine costs that file, not the process.
func (s *scan) file(ctx context.Context, f sdk.File) {
	defer func() {
		s.done.Add(1)
		s.progress()
		if v := recover(); v != nil {
			// The value may quote the text; its type and place are enough.
			s.out.Log().Error("the engine panicked", "type", fmt.Sprintf("%T", v))
			s.out.Note(sdk.Note{Level: sdk.Warning, Path: f.Path, Summary: "the engine failed on this file"})
			s.out.Partial("the engine failed on some files")
		}
	}()
	src, err := f.Open()
	if err != nil {
		s.unreadable(f.Path, err)
		return
	}
	defer src.Close()
	r := &fileScan{scan: s, ctx: ctx, path: f.Path}
	in := &sources.File{Content: io.Reader(src), Path: f.Path, Config: &s.config}
	if err := in.Fragments(ctx, r.fragment); err != nil && ctx.Err() == nil {
		s.unreadable(f.Path, err)
	}
	switch {
	case ctx.Err() != nil:
	case r.fragments == 0 && !r.failed:
		s.opaque.Add(1)
	default:
		s.out.Scanned(1, r.bytes)
	}
}

// fileScan takes one file's fragments, in order: pieces of about 100 kB.
type fileScan struct {
	*scan
	ctx       context.Context // of the scan; fragment is a callback without one
	path      string
	fragments int
	failed    bool
	bytes     uint64
	tail      int             // bytes of the last line so far
	whole     map[string]bool // rules that matched the file by its path
	known     secrets         // of the fragments so far
}

func (r *fileScan) fragment(f sources.Fragment, err error) error {
	if err != nil {
		r.failed = true
		r.unreadable(r.path, err)
		return nil
	}
	r.fragments++
	r.bytes += uint64(len(f.Raw))
	found := r.detector.DetectContext(r.ctx, detect.Fragment(f)) //nolint:staticcheck // deprecated for v9, but the only way in v8
	if r.ctx.Err() != nil {
		return r.ctx.Err() // what was found may miss the rules that outrank others
	}
	if len(found) > 0 {
		r.report(f, found)
	}
	if i := strings.LastIndexByte(f.Raw, '\n'); i >= 0 {
		r.tail = len(f.Raw) - i - 1
	} else {
		r.tail += len(f.Raw)
	}
	return nil
}

func (r *fileScan) report(f sources.Fragment, found []report.Finding) {
	slices.SortStableFunc(found, func(a, b report.Finding) int {
		return cmp.Or(cmp.Compare(a.StartLine, b.StartLine), cmp.Compare(a.StartColumn, b.StartColumn), cmp.Compare(a.RuleID, b.RuleID))
	})
	p := newPage(f, r.tail, found, &r.known)
	for i, g := range found {
		out := sdk.Finding{
			Message:    r.config.Rules[g.RuleID].Description,
			Confidence: confidence(g.RuleID),
			At:         sdk.Location{Path: r.path},
		}
		if g.StartLine == 0 { // by its path alone, once for each fragment
			if r.whole[g.RuleID] {
				continue
			}
			if r.whole == nil {
				r.whole = make(map[string]bool)
			}
			r.whole[g.RuleID] = true
			out.Identity = []string{"file"}
		} else {
			out.At = p.location(i, r.path)
			out.Snippet = p.snippet(i)
			out.Identity = []string{out.Snippet}
		}
		if enc := encodings(g.Tags); enc != "" {
			out.Properties = map[string]string{"decoded": enc}
		}
		r.out.Finding(g.RuleID, out)
	}
}

// encodings lists what had to be decoded to see the secret: "base64,hex".
func encodings(tags []string) string {
	var out []string
	for _, t := range tags {
		if enc, ok := strings.CutPrefix(t, "decoded:"); ok {
			out = append(out, enc)
		}
	}
	return strings.Join(out, ",")
}
