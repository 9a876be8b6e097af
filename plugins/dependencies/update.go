package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// ecosystems are what is fetched by default: those of the extractors that OSV
// has advisories for.
var ecosystems = []string{ //nolint:gochecknoglobals // a table, never written
	"npm", "PyPI", "Go", "Maven", "crates.io", "RubyGems", "Packagist", "NuGet", "Pub", "Hex", "Hackage", "CRAN", "SwiftURL",
}

const (
	headerTimeout = 30 * time.Second
	maxDownload   = 8 << 30
)

const updateUsage = `usage: dependencies update --from DIR|FILE|URL --to DIR [--ecosystems npm,PyPI]

Makes the database that the setting "database" names, of advisories in the OSV
format: a directory with *.json and *.zip of them, one such zip, or the URL of a
server that has ECOSYSTEM/all.zip, such as
https://osv-vulnerabilities.storage.googleapis.com

The database that was there stays in place until the new one is whole.

`

// updateCommand is "dependencies update".
func updateCommand(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("update", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { fmt.Fprint(stderr, updateUsage); flags.PrintDefaults() }
	from := flags.String("from", "", "directory, zip file or URL with advisories")
	to := flags.String("to", "", "directory for the database; it is made when it is not there")
	only := flags.String("ecosystems", "", "comma-separated; default: "+strings.Join(ecosystems, ","))
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if *from == "" || *to == "" || flags.NArg() > 0 {
		flags.Usage()
		return 2
	}
	u := update{from: *from, to: *to, ecosystems: ecosystems, log: stderr}
	if *only != "" {
		u.ecosystems = strings.Split(*only, ",")
		for _, e := range u.ecosystems {
			if !compares(e) {
				fmt.Fprintf(stderr, "--ecosystems: %q is none whose versions can be compared; the names are OSV's: %s\n", e, strings.Join(ecosystems, ", "))
				return 2
			}
		}
	}
	m, err := u.run(ctx)
	if err != nil {
		fmt.Fprintf(stderr, "update from %s: %v\n", *from, err)
		return 1
	}
	total := 0
	for _, e := range sortedKeys(m.Advisories) {
		fmt.Fprintf(stdout, "%-12s %d, the newest of %s\n", e, m.Advisories[e], m.Ecosystems[e].Newest.Format(time.DateOnly))
		total += m.Advisories[e]
	}
	fmt.Fprintf(stdout, "%d advisories, the newest of %s, in %s\n", total, m.Newest.UTC().Format(time.DateOnly), filepath.Join(*to, databaseFile))
	if m.Skipped > 0 {
		fmt.Fprintf(stderr, "%d records could not be read and are missing\n", m.Skipped)
	}
	return 0
}

// update is one run of the command.
type update struct {
	from, to   string
	ecosystems []string
	log        io.Writer
}

func (u update) run(ctx context.Context) (m meta, err error) {
	// Who scans may be another user: in its sandbox a plugin has one of its own.
	if err := os.MkdirAll(u.to, 0o755); err != nil {
		return meta{}, err
	}
	b, err := newBuilder(u.to, u.ecosystems, u.log)
	if err != nil {
		return meta{}, err
	}
	defer b.discard()
	if strings.HasPrefix(u.from, "http://") || strings.HasPrefix(u.from, "https://") {
		err = u.fetch(ctx, b)
	} else {
		err = u.walk(ctx, b)
	}
	if err != nil {
		return meta{}, err
	}
	return b.finish(u.source())
}

// source is where the advisories are from, without a password.
func (u update) source() string {
	if p, err := url.Parse(u.from); err == nil {
		return p.Redacted()
	}
	return u.from
}

// walk takes the files of a directory, or the one file.
func (u update) walk(ctx context.Context, b *builder) error {
	return filepath.WalkDir(u.from, func(path string, d os.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			return err
		case d.IsDir():
			return nil
		case strings.HasSuffix(path, ".zip"):
			return b.zip(ctx, path)
		case strings.HasSuffix(path, ".json"):
			return b.file(path)
		}
		return nil
	})
}

// fetch downloads the zip of each ecosystem, one after the other.
func (u update) fetch(ctx context.Context, b *builder) error {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.ResponseHeaderTimeout = headerTimeout
	client := &http.Client{Transport: transport}
	defer transport.CloseIdleConnections()
	for _, e := range u.ecosystems {
		path, err := u.download(ctx, client, e)
		if err != nil {
			return err
		}
		fmt.Fprintf(u.log, "fetched %s\n", e)
		err = b.zip(ctx, path)
		if err := errors.Join(err, os.Remove(path)); err != nil {
			return err
		}
	}
	return nil
}

func (u update) download(ctx context.Context, client *http.Client, ecosystem string) (path string, err error) {
	from, err := url.JoinPath(u.from, ecosystem, "all.zip")
	if err != nil {
		return "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return "", err
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s answers %s; --ecosystems takes only some of: %s", req.URL.Redacted(), resp.Status, strings.Join(u.ecosystems, ", "))
	}
	f, err := os.CreateTemp(u.to, ".download-*.zip")
	if err != nil {
		return "", err
	}
	n, err := io.Copy(f, io.LimitReader(resp.Body, maxDownload+1))
	if err == nil && n > maxDownload {
		err = fmt.Errorf("%s is larger than %d bytes", req.URL.Redacted(), int64(maxDownload))
	}
	if err == nil && resp.ContentLength >= 0 && n != resp.ContentLength {
		err = fmt.Errorf("%s ended after %d of %d bytes", req.URL.Redacted(), n, resp.ContentLength)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return "", errors.Join(err, os.Remove(f.Name()))
	}
	return f.Name(), nil
}

// wants reports whether an ecosystem was asked for.
func wants(asked []string, ecosystem string) bool { return slices.Contains(asked, ecosystem) }
