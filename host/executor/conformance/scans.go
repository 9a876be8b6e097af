package conformance

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/sdk/proto/pluginv1"
)

func treeChecks() []check {
	odd := func(id, title, fix, name string) check {
		return must(id, treeStage, title, fix, contract("Scan, Completed"), scans(name))
	}
	const onward = "Note a file that cannot be scanned, call the scan PARTIAL when something is missed, and go on with the next."
	return []check{
		must("tree.sample", treeStage, "It scans an ordinary project, and finds something in --sample",
			"Look at the reason above. A sample that is given must hold what the plugin finds.",
			contract("Scan, Completed"), (*kit).scansSample),
		odd("tree.empty", "It scans an empty tree", "Nothing to scan is SUCCEEDED, or NOT_APPLICABLE with a reason.", emptyTree),
		odd("tree.huge-file", "It scans a tree with one huge file", "Read files in pieces, or leave large ones out and say so.", hugeTree),
		odd("tree.long-line", "It scans a file that is one very long line", "Bound the length of a line that is kept in memory or matched.", longTree),
		odd("tree.binary", "It scans binary, broken and oddly encoded files", onward, binaryTree),
		odd("tree.many-files", "It scans thousands of small files in bounded time", "Do not start a process for each file, and do not keep all files open.", manyTree),
		odd("tree.odd-names", "It scans files with odd names: line feeds, quotes, leading dashes, not UTF-8",
			"Open files by the bytes of their names, and pass none through a shell or as an argument that could be an option.", oddTree),
		odd("tree.deep", "It scans a deep path", onward, deepTree),
		must("tree.links", treeStage, "It follows no links out of the tree, and in no circle",
			"Skip symbolic links: open with O_NOFOLLOW, and ask lstat and not stat what a path is.",
			contract("Target.root"), (*kit).followsNoLinks),
		odd("tree.unreadable", "It scans a tree with files and directories that it may not read", onward, unreadableTree),
		odd("tree.special-files", "It scans a tree with a fifo and a socket", "Open regular files only: opening a fifo waits for ever.", specialTree),
	}
}

// scans is the check that a tree can be scanned.
func scans(name string) judgeFunc {
	return func(k *kit, ctx context.Context) outcome {
		t, err := k.treeTranscript(ctx, name)
		if err != nil {
			return k.trouble(err)
		}
		if why := t.ended(); why != "" {
			return failed("%s", why)
		}
		return pass()
	}
}

func (k *kit) scansSample(ctx context.Context) outcome {
	if out := scans(sampleTree)(k, ctx); out.status != Pass || k.opts.Sample == "" {
		return out
	}
	out := scans(ownTree)(k, ctx)
	if out.status == Pass && k.seen.by[ownTree].found == 0 {
		return failed("nothing was found in %s", k.opts.Sample)
	}
	return out
}

func (k *kit) followsNoLinks(ctx context.Context) outcome {
	out := scans(linksTree)(k, ctx)
	if out.status != Pass {
		return out
	}
	if why := k.seen.by[linksTree].bad["links"]; why != "" {
		return failed("%s", why)
	}
	return out
}

const (
	pageURL = "page"
	deadURL = "nobody listens"
)

func urlNames() []string { return []string{pageURL, deadURL} }

func urlChecks() []check {
	return []check{
		must("url.page", urlStage, "It scans a small web page", "Look at the reason above. The page is on this machine, at 127.0.0.1.",
			contract("Target.url"), func(k *kit, ctx context.Context) outcome {
				t, err := k.urlTranscript(ctx, pageURL)
				if err != nil {
					return k.trouble(err)
				}
				if why := t.ended(); why != "" {
					return failed("%s", why)
				}
				return pass()
			}),
		must("url.unreachable", urlStage, "It ends when nobody answers at the URL", "Bound every connection and request in time, and end with FAILED and the reason.",
			contract("Target.url, Completed"), func(k *kit, ctx context.Context) outcome {
				t, err := k.urlTranscript(ctx, deadURL)
				if err != nil {
					return k.trouble(err)
				}
				if why := t.ended(); why != "" && t.completed.GetStatus() != pluginv1.Completed_STATUS_FAILED {
					return failed("%s", why)
				}
				return pass()
			}),
	}
}

// urlTranscript scans a URL once.
func (k *kit) urlTranscript(ctx context.Context, name string) (*transcript, error) {
	if name == deadURL {
		r, err := deadRequest()
		if err != nil {
			return nil, err
		}
		return k.transcript(ctx, name, r)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("serve a page: %w", err)
	}
	page := &http.Server{ReadHeaderTimeout: k.opts.ScanTimeout, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, "<!doctype html><title>Sample</title><form action=/login><input name=password type=password></form>")
	})}
	var serving sync.WaitGroup
	defer serving.Wait()
	defer func() { _ = page.Close() }()
	serving.Go(func() { _ = page.Serve(l) }) // ends with Close
	return k.transcript(ctx, name, request{url: "http://" + l.Addr().String() + "/"})
}

// deadRequest is for an address that nobody listens on.
func deadRequest() (request, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return request{}, fmt.Errorf("find a free port: %w", err)
	}
	defer func() { _ = l.Close() }()
	return request{url: "http://" + l.Addr().String() + "/"}, nil
}

// smallest is a scan that has little to do.
func (k *kit) smallest() (request, error) {
	if !k.takes(pluginv1.Input_INPUT_TREE) {
		return deadRequest()
	}
	t, err := k.tree(emptyTree)
	return request{tree: t}, err
}

func scanChecks() []check {
	const refuse = "End the call with the gRPC error INVALID_ARGUMENT and say which option is wrong."
	return []check{
		must("scan.unknown-option", configured, "An option that is not declared refuses the scan with INVALID_ARGUMENT",
			refuse, contract("Scan, ScanRequest.options_json"), func(k *kit, ctx context.Context) outcome {
				return k.refusesOption(ctx, noSuchSetting, "x")
			}),
		must("scan.wrong-option", configured, "An option of the wrong type refuses the scan with INVALID_ARGUMENT",
			refuse, contract("Scan, DescribeResponse.options_schema"), func(k *kit, ctx context.Context) outcome {
				wrong := wrongTypes(k.desc.GetOptionsSchema())
				if len(wrong) == 0 {
					return notApplicable("no options are declared")
				}
				for _, b := range wrong {
					if out := k.refusesOption(ctx, b.attribute, b.value); out.status != Pass {
						return out
					}
				}
				return pass()
			}),
		must("scan.host", treeStage, "The host itself takes the scan of a sample",
			"Look at the reason above: it is what an operator would see.",
			contract("Scan"), (*kit).hostScans),
		should("scan.deterministic", treeStage, "The same tree gives the same findings",
			"Let no clock, random number or order of a map decide what is found.",
			contract("Finding.identity"), (*kit).scansAlike),
		must("scan.concurrent", treeStage, "Scans side by side, up to max_concurrent_scans, do not disturb each other",
			"Keep the state of a scan in the scan, never in globals, or set max_concurrent_scans to 1.",
			contract("DescribeResponse.max_concurrent_scans"), (*kit).scansSideBySide),
	}
}

func (k *kit) refusesOption(ctx context.Context, name string, v any) outcome {
	p, err := k.scanner(ctx)
	if err != nil {
		return k.trouble(err)
	}
	r, err := k.smallest()
	if err != nil {
		return k.trouble(err)
	}
	r.options = encode(map[string]any{name: v})
	t, err := k.scan(ctx, p, r)
	switch {
	case err != nil:
		return k.trouble(err)
	case t.died != "" || t.timedOut:
		return failed("%s: %s", r.options, t.ended())
	case t.completed != nil:
		return failed("a scan with the options %s was %s", r.options, statusName(t.completed.GetStatus()))
	case status.Code(t.err) != codes.InvalidArgument:
		return failed("a scan with the options %s ended with %s", r.options, grpcError(t.err))
	}
	return pass()
}

// hostScans has the executor do what it does for a job.
func (k *kit) hostScans(ctx context.Context) outcome {
	name := sampleTree
	if k.opts.Sample != "" {
		name = ownTree
	}
	t, err := k.treeTranscript(ctx, name)
	switch {
	case err != nil:
		return k.trouble(err)
	case !t.clean() || len(t.bad) > 0:
		return notApplicable("what is wrong with its scan of the sample is said by other checks")
	case t.completed.GetStatus() == pluginv1.Completed_STATUS_NOT_APPLICABLE:
		return notApplicable("there is nothing for it in the sample; give one with --sample")
	}
	p, err := k.start(ctx)
	if err != nil {
		return k.trouble(err)
	}
	defer p.stop()
	p.Configure(k.config)
	if _, err := p.Ready(ctx); err != nil {
		return failed("%s", said(err))
	}
	work := filepath.Join(k.base, "work", "host")
	if err := makeDir(work); err != nil {
		return k.trouble(err)
	}
	ctx, cancel := context.WithTimeout(ctx, k.opts.ScanTimeout)
	defer cancel()
	rep, err := p.Run(ctx, host.Task{
		Plugin: k.desc.GetName(), Scan: host.NewScanID(), Job: host.NewJobID(), Attempt: 1, ScanType: "conformance",
		Root: t.tree.root, WorkDir: work, DisplayName: "conformance",
	}, ignore{})
	if rmErr := removeAll(work); rmErr != nil {
		return k.trouble(rmErr)
	}
	switch {
	case err != nil:
		return failed("%s", said(err))
	case rep.State == host.StateFailed, strings.Contains(rep.Reason, "left out"):
		return failed("the job is %s: %s", rep.State, rep.Reason)
	}
	return pass()
}

// ignore keeps nothing of a scan.
type ignore struct{}

func (ignore) Progress(host.Progress)                         {}
func (ignore) Note(host.Note)                                 {}
func (ignore) Findings(context.Context, []host.Finding) error { return nil }

func (ignore) Artifact(_ context.Context, _ host.Artifact, r io.Reader) (int64, error) {
	return io.Copy(io.Discard, r)
}

func (k *kit) scansAlike(ctx context.Context) outcome {
	first, err := k.treeTranscript(ctx, sampleTree)
	if err != nil || !first.clean() {
		return notApplicable("the sample cannot be scanned")
	}
	p, err := k.scanner(ctx)
	if err != nil {
		return k.trouble(err)
	}
	again, err := k.scan(ctx, p, request{tree: first.tree})
	switch {
	case err != nil:
		return k.trouble(err)
	case !again.clean():
		return failed("the second time: %s", again.ended())
	case again.found != first.found:
		return failed("%d findings the first time, and %d the second", first.found, again.found)
	case !slices.Equal(sorted(first), sorted(again)):
		return failed("as many findings both times, and not the same")
	}
	return pass()
}

// sorted is what was found, in an order that is always the same.
func sorted(t *transcript) []string {
	var all []string
	for _, f := range t.findings {
		all = append(all, wireOf(f))
	}
	slices.Sort(all)
	return all
}

// places is where what was found, in an order that is always the same and
// without what paths begin with.
func places(t *transcript, prefix string) []string {
	var all []string
	for _, f := range t.findings {
		// By its last part: what else may be wrong with a path is another check's.
		name := path.Base(strings.TrimPrefix(f.GetLocation().GetPath(), prefix))
		all = append(all, fmt.Sprintf("%s %s %d", f.GetRuleId(), name, f.GetLocation().GetStartLine()))
	}
	slices.Sort(all)
	return all
}

// mostAtOnce is how many scans are tried side by side.
const mostAtOnce = 8

func (k *kit) scansSideBySide(ctx context.Context) outcome {
	n := int(min(k.desc.GetMaxConcurrentScans(), mostAtOnce))
	if n < 2 {
		return notApplicable("it takes one scan at a time")
	}
	if t, err := k.treeTranscript(ctx, sampleTree); err != nil || !t.clean() {
		return notApplicable("the sample cannot be scanned")
	}
	trees := make([]*tree, n)
	for i := range trees {
		b := &builder{root: filepath.Join(k.base, "trees", "side"+strconv.Itoa(i), fmt.Sprintf("p%d", i))}
		fillSmall(b)
		if b.err != nil {
			return k.trouble(b.err)
		}
		t, err := newTree("side by side", filepath.Dir(b.root))
		if err != nil {
			return k.trouble(err)
		}
		trees[i] = t
	}
	p, err := k.scanner(ctx)
	if err != nil {
		return k.trouble(err)
	}
	got, errs := make([]*transcript, n), make([]error, n)
	var all sync.WaitGroup
	for i := range trees {
		all.Go(func() { got[i], errs[i] = k.scanAs(ctx, p, request{tree: trees[i]}, "side"+strconv.Itoa(i)) })
	}
	all.Wait()
	for i, t := range got {
		prefix := fmt.Sprintf("p%d/", i)
		switch {
		case errs[i] != nil:
			return k.trouble(errs[i])
		case !t.clean():
			return failed("%d scans at once: one ended so: %s", n, cmp.Or(t.ended(), fmt.Sprint(t.err)))
		case slices.ContainsFunc(t.findings, func(f *pluginv1.Finding) bool { return foreign(f.GetLocation().GetPath(), prefix) }):
			return failed("%d scans at once: one reports a file of another", n)
		case !slices.Equal(places(t, prefix), places(got[0], "p0/")):
			return failed("%d scans of the same files at once find different things: %d and %d findings", n, got[0].found, t.found)
		}
	}
	return pass()
}

// foreign reports whether a path is of another of the trees side by side.
func foreign(name, prefix string) bool {
	if strings.HasPrefix(name, prefix) {
		return false
	}
	for i := range mostAtOnce {
		if strings.HasPrefix(name, fmt.Sprintf("p%d/", i)) {
			return true
		}
	}
	return false
}
