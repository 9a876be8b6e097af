package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/securetaghq/securetag/sdk"
)

const (
	probeTime = 60 * time.Second
	probeMost = 64 << 10
)

// prober asks the tool its version: once a process, and only when the operator
// wants one.
type prober struct {
	once sync.Once
	done chan struct{}
	said string
	err  error
}

// health says what keeps the tool from running, without waiting for it.
func (p *plugin) health(c *Config) sdk.Health {
	if why := missing(c); why != "" {
		return sdk.Health{Degraded: why}
	}
	if c.Version == "" {
		return sdk.Health{}
	}
	p.probe(c)
	select {
	case <-p.done:
		return sdk.Health{Degraded: p.unfit(c)}
	default:
		return sdk.Health{} // it is being asked
	}
}

// wrong says why no scan can be done; "" when nothing is known to be wrong.
func (p *plugin) wrong(ctx context.Context, c *Config) string {
	if why := missing(c); why != "" || c.Version == "" {
		return why
	}
	p.probe(c) //nolint:contextcheck // what it hears is kept for the next scans
	select {
	case <-p.done:
		return p.unfit(c)
	case <-ctx.Done():
		return "stopped while asking for the version: " + context.Cause(ctx).Error()
	}
}

func missing(c *Config) string {
	_, err := exec.LookPath(c.Command)
	switch {
	case err == nil:
		return ""
	case errors.Is(err, exec.ErrNotFound):
		return fmt.Sprintf("%s is not installed in the PATH of the plugin (env of its block), or the sandbox does not show it (read of its block)", c.Command)
	default:
		return fmt.Sprintf("%s cannot be run (is it installed, and does read of the plugin's block show it?): %v", filepath.Base(c.Command), errors.Unwrap(err))
	}
}

// unfit compares what the tool said with what the operator wants.
func (p *prober) unfit(c *Config) string {
	tool := filepath.Base(c.Command)
	if p.err != nil {
		return newCensor(c, nil, "").reason(fmt.Errorf("%s does not say its version: %w", tool, p.err), p.said).Error()
	}
	if ok, err := regexp.MatchString(c.Version, p.said); err == nil && ok {
		return ""
	}
	first, _, _ := strings.Cut(p.said, "\n")
	return fmt.Sprintf("%s is of another version than the settings want: %q does not match %q", tool, first[:min(len(first), 80)], c.Version)
}

// probe begins to ask, the first time.
func (p *prober) probe(c *Config) {
	p.once.Do(func() {
		p.done = make(chan struct{})
		go func() {
			defer close(p.done)
			p.said, p.err = ask(c)
		}()
	})
}

func ask(c *Config) (string, error) {
	// Not the scan's context: what it says is kept for the next ones.
	ctx, cancel := context.WithTimeout(context.Background(), probeTime)
	defer cancel()
	home, err := os.MkdirTemp("", "home-*")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(home) }() // else it goes with the plugin's directory
	var said bounded
	cmd := exec.CommandContext(ctx, c.Command, c.VersionArgs...)
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.WaitDelay = home, &said, &said, time.Second
	cmd.Env = []string{"HOME=" + home, "TMPDIR=" + home, "LANG=C.UTF-8", "PATH=" + os.Getenv("PATH")}
	// The host finds the processes of a plugin by the last one.
	for _, k := range append(slices.Clone(c.EnvPass), "SECURETAG_PROCESS") {
		if v, ok := os.LookupEnv(k); ok {
			cmd.Env = append(cmd.Env, k+"="+v)
		}
	}
	for k, v := range c.Env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	err = cmd.Run()
	return strings.TrimSpace(strings.ToValidUTF8(said.String(), "")), err
}

// bounded keeps the beginning of what is written to it.
type bounded struct{ bytes.Buffer }

func (b *bounded) Write(p []byte) (int, error) {
	b.Buffer.Write(p[:min(len(p), max(0, probeMost-b.Len()))])
	return len(p), nil
}
