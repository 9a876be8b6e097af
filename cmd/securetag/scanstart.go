package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/api/export"
	"github.com/securetaghq/securetag/cmd/securetag/internal/pack"
	"github.com/securetaghq/securetag/cmd/securetag/internal/report"
	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/intake"
	"github.com/securetaghq/securetag/host/permission"
)

// isURL reports whether an argument is one, and no path.
func isURL(arg string) bool {
	for _, scheme := range []string{"http://", "https://"} {
		if len(arg) >= len(scheme) && strings.EqualFold(arg[:len(scheme)], scheme) {
			return true
		}
	}
	return false
}

// defaultType is the scan type that is meant when none is named.
func defaultType(url bool) string {
	if url {
		return "web"
	}
	return "codeaudit"
}

// startFunc asks for the scan.
type startFunc func(context.Context, *client.Client) (client.Scan, error)

// prepare looks at what is to be scanned before any server is asked.
func (p *program) prepare(ctx context.Context, target string, f scanFlags, secrets map[string]json.RawMessage, progress *report.Progress) (startFunc, error) {
	options, err := parseOptions(f.options)
	if err != nil {
		return nil, usageError{err}
	}
	var sealed json.RawMessage
	if len(secrets) > 0 {
		sealed = encoded(secrets)
	}
	if f.url {
		return func(ctx context.Context, c *client.Client) (client.Scan, error) {
			return startURL(ctx, c, target, client.StartOptions{
				Type: f.kind, Project: f.project, Priority: client.Priority(f.priority), Options: options, Secrets: sealed, Gate: f.gate(),
			})
		}, nil
	}
	plan, err := pack.Prepare(ctx, target, pack.Config{ProgressFunc: progress.Upload})
	if errors.Is(err, fs.ErrNotExist) && looksLikeSite(target) {
		err = fmt.Errorf("%w: a site is given by its URL, which begins with https:// or http://", err)
	}
	if err != nil {
		return nil, usageError{err}
	}
	if !f.quiet {
		p.warnLeftOut(plan.Stats())
	}
	return func(ctx context.Context, c *client.Client) (client.Scan, error) {
		return upload(ctx, c, plan, client.UploadOptions{
			Filename: plan.Filename(), Project: f.project, Type: f.kind, Priority: client.Priority(f.priority), Options: options, Secrets: sealed, Gate: f.gate(),
		})
	}, nil
}

// gate is what the scan is held to; nil is the gate of its project.
func (f scanFlags) gate() *client.GatePolicy {
	if !f.gated {
		return nil
	}
	return &client.GatePolicy{FailOn: f.failOn, NewOnly: f.newOnly}
}

// checkURL gives the URL as every host understands it. What is wrong is said
// without the URL, which may hold a password.
func checkURL(target string) (string, error) {
	u, err := intake.ParseURL(target)
	var refused *intake.Refusal
	if errors.As(err, &refused) {
		err = errors.New(refused.Detail)
		if parsed, perr := url.Parse(target); perr == nil && parsed.User != nil {
			err = errors.New(refused.Detail + " Give a login as --secret headers.Authorization=@FILE, with \"Basic \" and what is behind it in the file.")
		}
	}
	return u, err
}

// looksLikeSite reports whether a path that does not exist is a URL without its
// scheme: shop.example.com/cart, localhost:8080.
func looksLikeSite(path string) bool {
	name, _, _ := strings.Cut(path, "/")
	if strings.Contains(path, "://") {
		return true
	}
	u, err := url.Parse("https://" + name)
	archive := slices.Contains([]string{".zip", ".tar", ".gz", ".tgz", ".zst"}, filepath.Ext(name))
	return err == nil && !strings.HasPrefix(name, ".") && !archive && (u.Port() != "" || strings.Contains(name, "."))
}

// runScan starts the scan, waits and reads the findings. When ctx ends on the way
// the scan is canceled.
func runScan(ctx context.Context, c *client.Client, start startFunc, progress *report.Progress) (client.Scan, []client.Finding, error) {
	scan, err := start(ctx, c)
	if err != nil {
		return scan, nil, err
	}
	id := scan.ID
	progress.Scan(scan) // it may have ended before it is asked for
	scan, err = c.WaitForGate(ctx, id, progress.Scan)
	if err != nil {
		if ctx.Err() != nil && !errors.Is(context.Cause(ctx), errHostEnded) {
			cancelScan(ctx, c, id)
		}
		return scan, nil, err
	}
	var findings []client.Finding
	for finding, err := range c.AllFindings(ctx, id, client.FindingsQuery{}) {
		if err != nil {
			return scan, nil, fmt.Errorf("read the findings: %w", err)
		}
		findings = append(findings, finding)
	}
	return scan, findings, nil
}

// upload sends the archive while it is being packed.
func upload(ctx context.Context, c *client.Client, plan *pack.Plan, opts client.UploadOptions) (client.Scan, error) {
	pr, pw := io.Pipe()
	packed := make(chan error, 1)
	go func() {
		_, err := plan.Write(ctx, pw)
		_ = pw.CloseWithError(err)
		packed <- err
	}()
	scan, err := c.Upload(ctx, pr, opts)
	_ = pr.CloseWithError(io.ErrClosedPipe) // the server answered early: stop packing
	if perr := <-packed; perr != nil && !errors.Is(perr, io.ErrClosedPipe) {
		return scan, fmt.Errorf("pack: %w", perr)
	}
	if report.ExitCodeOf(err) == report.ExitUsage { // it is about what was sent
		err = fmt.Errorf("%s: %w", plan.Filename(), err)
	}
	return scan, err
}

// startURL asks for a scan of a site. The type is one of archives when its route
// reads no JSON.
func startURL(ctx context.Context, c *client.Client, target string, opts client.StartOptions) (client.Scan, error) {
	scan, err := c.StartURL(ctx, target, opts)
	var refused *client.Error
	if !errors.As(err, &refused) {
		return scan, err
	}
	switch {
	case refused.StatusCode == http.StatusUnsupportedMediaType:
		err = usageError{fmt.Errorf("scan type %q takes archives, not URLs", opts.Type)}
	case refused.Code == "target_not_permitted" && provable(target) != "":
		err = fmt.Errorf("%w; to prove it from here: securetag targets add %s", err, provable(target))
	}
	return scan, err
}

// provable is the host of a URL as a tenant can prove it to be theirs; "" when it
// cannot.
func provable(target string) string {
	u, err := url.Parse(target)
	if err != nil {
		return ""
	}
	name, err := permission.ParseHost(u.Host)
	if err != nil {
		return ""
	}
	return name
}

// cancelScan tells the server that nobody waits any more.
func cancelScan(ctx context.Context, c *client.Client, id string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	_, _ = c.Cancel(ctx, id) // nothing is left to do when it fails
}

// hintRefused says what to do when a plugin of this machine may not call the site.
// dir is "" when the scan ran on another.
func (p *program) hintRefused(scan client.Scan, dir string) {
	for _, j := range scan.Jobs {
		if dir == "" || scan.URL == "" || j.Error == nil || j.Error.Code != string(host.CodePluginRefused) || !strings.Contains(j.Error.Message, " is refused: ") {
			continue
		}
		fmt.Fprintf(p.stderr, "Hint: public addresses are scanned, at ports 80 and 443. To scan a site of your own elsewhere, give --config a file whose block plugin %q has "+
			"egress_networks and egress_ports, and allow_networks and ports in its config; of this machine itself each address by itself.\n", j.Plugin)
		return
	}
}

// warnLeftOut names what of the directory is not scanned and may be missed.
func (p *program) warnLeftOut(s pack.Stats) {
	const most = 10
	for _, left := range s.Left[:min(most, len(s.Left))] {
		fmt.Fprintf(p.stderr, "Warning: not scanned: %q: %s\n", left.Name, left.Reason)
	}
	if s.LeftTotal > most {
		fmt.Fprintf(p.stderr, "Warning: not scanned: %d more\n", s.LeftTotal-most)
	}
	if s.Links > 0 {
		fmt.Fprintf(p.stderr, "Warning: not followed: %s; a lockfile or a Dockerfile that is only a link is not seen under that name\n", export.Count(s.Links, "symbolic link", "symbolic links"))
	}
}
