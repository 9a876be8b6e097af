package sdk

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/securetaghq/securetag/sdk/proto/pluginv1"
	"github.com/securetaghq/securetag/sdk/wire"
)

const (
	selftestFiles = 300              // of the tree in which a scan is cancelled
	selftestLimit = 30 * time.Second // of one scan
)

// selfTest tries, in this process, what every plugin must get right. What only
// shows from outside (children, sockets, standard output) is for the host's
// `securetag plugin test`.
type selfTest struct {
	srv    *Server
	fresh  func() (*Server, error) // one that has not been configured
	config string
	out    io.Writer
	dir    string // for trees, removed at the end
	failed bool
}

func selftest[C any](ctx context.Context, s Scanner[C], args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("selftest", flag.ContinueOnError)
	flags.SetOutput(stderr)
	config := flags.String("config", "{}", "settings that work, as JSON")
	if err := flags.Parse(args); err != nil || flags.NArg() > 0 {
		return exitUsage
	}
	fresh := func() (*Server, error) { return NewServer(s, hclog.NewNullLogger()) }
	srv, err := fresh()
	if err != nil {
		fmt.Fprintln(stderr, err)
		return exitUsage
	}
	dir, err := os.MkdirTemp("", "selftest-*")
	if err != nil {
		fmt.Fprintln(stderr, "selftest:", err)
		return exitFailed
	}
	defer func() { _ = os.RemoveAll(dir) }() // what is left there is the system's to sweep
	t := &selfTest{srv: srv, fresh: fresh, config: *config, out: stdout, dir: dir}
	t.check("describes itself, the same every time", t.describes)
	t.check("takes the settings and gives its defaults back", func() error { return t.settings(ctx) })
	t.check("refuses settings that it does not have, or of another type, by name", func() error { return t.mistakes(ctx) })
	if !t.failed && srv.takes(Tree) {
		t.check("scans an empty tree", func() error { return t.scan(ctx, "empty", nil, nil) })
		t.check("scans a tree with odd names, links, pipes and huge lines", func() error { return t.scan(ctx, "odd", oddTree, nil) })
		t.check("ends within the grace when it is cancelled", func() error { return t.cancels(ctx) })
		t.check("scans on after that", func() error { return t.scan(ctx, "after", nil, nil) })
	}
	if t.failed {
		return exitFindings
	}
	return exitClean
}

func (t *selfTest) check(what string, f func() error) {
	start := time.Now()
	if err := f(); err != nil {
		t.failed = true
		fmt.Fprintf(t.out, "✗ %s\n", what)
		for line := range strings.SplitSeq(err.Error(), "\n") {
			fmt.Fprintf(t.out, "    %s\n", printable(line))
		}
		return
	}
	fmt.Fprintf(t.out, "✓ %s (%s)\n", what, time.Since(start).Round(time.Millisecond))
}

func (t *selfTest) describes() error {
	other, err := t.fresh()
	if err != nil {
		return err
	}
	if !proto.Equal(t.srv.describe, other.describe) {
		return errors.New("two descriptions of the same plugin differ: what do Rules or defaults depend on?")
	}
	if n := proto.Size(t.srv.describe); n > wire.MaxHostRecv {
		return fmt.Errorf("the description has %s, and a host takes %s: shorten the texts of the rules", Bytes(n), Bytes(wire.MaxHostRecv))
	}
	if t.srv.describe.Description == "" {
		return errors.New("the Description is empty: it is what operators see in the list of plugins")
	}
	for _, r := range t.srv.describe.Rules {
		if r.Title == "" {
			return fmt.Errorf("the rule %q has no Title: it is what people see of a finding", r.Id)
		}
	}
	return nil
}

// settings configures with what was given, and with every default spelled out.
func (t *selfTest) settings(ctx context.Context) error {
	given, err := object([]byte(t.config))
	if err != nil {
		return fmt.Errorf("--config: %w", err)
	}
	all := make(map[string]json.RawMessage)
	for _, a := range t.srv.config.attrs {
		switch v, ok := given[a.Name]; {
		case ok:
			all[a.Name] = v
		case a.DefaultJson != "":
			all[a.Name] = json.RawMessage(a.DefaultJson)
		case a.Required:
			return fmt.Errorf("the setting %q is required: give one that works, --config '{%q: ...}'", a.Name, a.Name)
		}
	}
	spelled, err := json.Marshal(all)
	if err != nil {
		return err
	}
	for _, config := range []string{string(spelled), t.config} {
		if err := t.configure(ctx, t.srv, config); err != nil {
			return err
		}
	}
	return nil
}

func (t *selfTest) configure(ctx context.Context, srv *Server, config string) error {
	resp, err := srv.Configure(ctx, &pluginv1.ConfigureRequest{ConfigJson: []byte(config)})
	if err != nil {
		return err
	}
	if wrong(resp.Diagnostics) {
		return refused("settings", resp.Diagnostics)
	}
	return nil
}

func (t *selfTest) mistakes(ctx context.Context) error {
	try := map[string]string{"no-such-setting": "1"}
	for _, a := range t.srv.config.attrs {
		try[a.Name] = `{"of": ["another", "type"]}`
	}
	var errs []error
	for name, value := range try {
		srv, err := t.fresh()
		if err != nil {
			return err
		}
		resp, err := srv.Configure(ctx, &pluginv1.ConfigureRequest{ConfigJson: fmt.Appendf(nil, "{%q: %s}", name, value)})
		if err != nil {
			return err
		}
		named := false
		for _, d := range resp.Diagnostics {
			named = named || len(d.AttributePath) == 1 && d.AttributePath[0] == name
		}
		if !named {
			errs = append(errs, fmt.Errorf("%s: %s was taken", name, value))
		}
	}
	return errors.Join(errs...)
}

// scan scans a tree that fill makes and checks what comes. on sees every event.
func (t *selfTest) scan(ctx context.Context, name string, fill func(root string) error, on func(*pluginv1.ScanEvent)) error {
	c, err := t.run(ctx, name, fill, on)
	if err != nil {
		return err
	}
	switch c.Status {
	case pluginv1.Completed_STATUS_SUCCEEDED, pluginv1.Completed_STATUS_PARTIAL, pluginv1.Completed_STATUS_NOT_APPLICABLE:
		return nil
	}
	return fmt.Errorf("%s: %s", strings.ToLower(strings.TrimPrefix(c.Status.String(), "STATUS_")), c.Reason)
}

func (t *selfTest) run(ctx context.Context, name string, fill func(root string) error, on func(*pluginv1.ScanEvent)) (*pluginv1.Completed, error) {
	root, work := filepath.Join(t.dir, name), filepath.Join(t.dir, name+"-work")
	for _, dir := range []string{root, work} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return nil, err
		}
	}
	if fill != nil {
		if err := fill(root); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, selftestLimit, fmt.Errorf("it took longer than %s", selftestLimit))
	defer cancel()
	r := &checked{ctx: ctx, on: on}
	err := t.srv.Scan(&pluginv1.ScanRequest{RunId: name, Attempt: 1, WorkDir: work, //nolint:contextcheck // the stream carries it
		Target: &pluginv1.Target{Kind: &pluginv1.Target_Root{Root: root}}}, r)
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil:
		return nil, err
	}
	return r.done, errors.Join(r.wrong...)
}

// cancels cancels a scan with its first event.
func (t *selfTest) cancels(ctx context.Context) error {
	many := func(root string) error {
		for i := range selftestFiles {
			if err := os.WriteFile(filepath.Join(root, "file"+strconv.Itoa(i)+".txt"), []byte(strings.Repeat("a line of text\n", 100)), 0o600); err != nil {
				return err
			}
		}
		return nil
	}
	var once sync.Once
	c, err := t.run(ctx, "cancelled", many, func(*pluginv1.ScanEvent) {
		once.Do(func() {
			_, _ = t.srv.Cancel(ctx, &pluginv1.CancelRequest{RunId: "cancelled", Reason: "selftest"}) // never an error
		})
	})
	if err == nil && strings.Contains(c.Reason, errOverdue.Error()) {
		return fmt.Errorf("its Scan did not return within %s after its ctx ended", defaultGrace)
	}
	return err
}

// oddTree has what people and attackers put into trees.
func oddTree(root string) error {
	deep := strings.Repeat("deep/", 60)
	if err := os.MkdirAll(filepath.Join(root, deep), 0o700); err != nil {
		return err
	}
	for name, text := range map[string]string{
		"with space.txt": "x\n", "-rf": "x\n", "line\nbreak.go": "package x\n", "\x1b[2J.py": "x = 1\n",
		"not-utf8-\xff\xfe.js": "x\n", "\u202egpj.exe": "x\n", strings.Repeat("n", 250) + ".c": "x\n", deep + "bottom.rb": "x\n",
		"empty.go": "", "binary.bin": "\x00\x01\xff\n", "nul.json": "{\"a\": \"\x00\"}\n", "bad.xml": "<a><b></a>", "bad.json": strings.Repeat("[", 100_000),
		"bom.cs": "\xef\xbb\xbfclass X {}\n", "utf16.txt": "\xff\xfea\x00b\x00", "cr.txt": "a\rb\rc",
		"one-line.js": strings.Repeat("x=1;", 1<<20), "no-end.txt": strings.Repeat("word ", 100_000), "lines.csv": strings.Repeat("\n", 200_000),
	} {
		err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o600)
		if err != nil && !strings.Contains(name, "\xff") { // some file systems take only UTF-8
			return err
		}
	}
	for name, to := range map[string]string{"out": "/etc", "loop": "loop", "up": "..", "file-link.go": "/etc/passwd", "gone": "nowhere"} {
		if err := os.Symlink(to, filepath.Join(root, name)); err != nil {
			return err
		}
	}
	return makePipe(filepath.Join(root, "pipe.txt"))
}

// checked stands in for the stream and finds what a host would not take.
type checked struct {
	grpc.ServerStream // nil: the methods below are all that Scan uses

	ctx   context.Context // as any gRPC stream has one
	on    func(*pluginv1.ScanEvent)
	wrong []error
	done  *pluginv1.Completed
}

func (c *checked) Context() context.Context { return c.ctx }

func (c *checked) Send(ev *pluginv1.ScanEvent) error {
	if c.on != nil {
		c.on(ev)
	}
	for _, f := range ev.GetFindings().GetFindings() {
		p := f.Location.GetPath()
		if len(c.wrong) < maxReasons && p != "" && (path.IsAbs(p) || path.Clean(p) != p || p == ".." || strings.HasPrefix(p, "../")) {
			c.wrong = append(c.wrong, fmt.Errorf("a finding by the rule %q is at %q: paths are relative to the root, without \"..\"", f.RuleId, p))
		}
	}
	if done := ev.GetCompleted(); done != nil {
		c.done = done
	}
	return nil
}
