package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
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
	s := &scan{engine: e, target: t, out: out}
	err := t.EachFile(ctx, sdk.FileOptions{MaxFileSize: c.MaxFileSize, Skip: s.skip, Workers: c.Workers}, s.file)
	if err == nil {
		s.summary()
	}
	return err
}

// scan is one scan under way.
type scan struct {
	*engine
	target  *sdk.Target
	out     *sdk.Out
	allowed int           // paths left out by gitleaks' global allow list
	opaque  atomic.Uint64 // archives and binaries
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

func (s *scan) summary() {
	if s.allowed > 0 {
		s.out.Note(sdk.Note{Summary: fmt.Sprintf("%d files or directories were left out: gitleaks takes lock files, media and vendored packages as free of secrets", s.allowed)})
	}
	if n := s.opaque.Load(); n > 0 {
		s.out.Note(sdk.Note{Summary: fmt.Sprintf("%d archives or binaries were not looked into", n)})
	}
}

func (s *scan) file(ctx context.Context, f sdk.File) error {
	src, err := f.Open()
	if err != nil {
		return err
	}
	defer src.Close()
	r := &fileScan{scan: s, ctx: ctx, path: f.Path}
	in := &sources.File{Content: io.Reader(src), Path: f.Path, Config: &s.config}
	err = in.Fragments(ctx, r.fragment)
	if r.fragments > 0 {
		s.out.Scanned(1, r.bytes)
	} else if err == nil && r.failed == nil {
		s.opaque.Add(1)
	}
	return errors.Join(err, r.failed)
}

// fileScan takes one file's fragments, in order: pieces of about 100 kB.
type fileScan struct {
	*scan
	ctx       context.Context // of the scan; fragment is a callback without one
	path      string
	fragments int
	failed    error
	bytes     uint64
	tail      int             // bytes of the last line so far
	whole     map[string]bool // rules that matched the file by its path
	known     secrets         // of the fragments so far
}

func (r *fileScan) fragment(f sources.Fragment, err error) error {
	if err != nil {
		r.failed = err
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
			// Another secret is another finding, also where it looks the same; the
			// same one in another place of the line, or indented, is not.
			if keyed := r.target.Keyed(p.hiddenText(i)); keyed != "" {
				out.Identity = []string{"secret", keyed}
			}
		}
		out.Properties = properties(p, i, g)
		r.out.Finding(g.RuleID, out)
	}
}

// properties say what had to be decoded to see the secret, and that a comment in
// the source suppresses the finding: that is shown, and decides nothing.
func properties(p *page, i int, g report.Finding) map[string]string {
	out := map[string]string{}
	if enc := encodings(g.Tags); enc != "" {
		out["decoded"] = enc
	}
	if g.StartLine > 0 && p.allowed(i) {
		out["suppressed"] = "inSource"
	}
	if len(out) == 0 {
		return nil
	}
	return out
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
