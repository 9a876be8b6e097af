package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/securetaghq/securetag/bench/peers/report"
)

// facts are what a reader needs to compare the numbers with their own.
func (b *bench) facts(ctx context.Context) ([]report.Fact, error) {
	var postgres string
	if err := b.admin.QueryRow(ctx, `show server_version`).Scan(&postgres); err != nil {
		return nil, fmt.Errorf("ask PostgreSQL for its version: %w", err)
	}
	info, err := b.redis.Info(ctx, "server").Result()
	if err != nil {
		return nil, fmt.Errorf("ask Redis for its version: %w", err)
	}
	cpuinfo, _ := os.ReadFile("/proc/cpuinfo")
	meminfo, _ := os.ReadFile("/proc/meminfo")
	facts := []report.Fact{
		{Name: "measured", Value: time.Now().UTC().Format("2006-01-02 15:04 UTC") + ", SecureTag " + b.said(ctx, filepath.Join(b.root, "bin", "securetag"), "version")},
		{Name: "processor", Value: fmt.Sprintf("%d x %s", runtime.NumCPU(), field(string(cpuinfo), "model name"))},
		{Name: "memory", Value: gib(field(string(meminfo), "MemTotal"))},
		{Name: "kernel", Value: b.said(ctx, "uname", "-srm")},
		{Name: "disk", Value: fileSystem(b.dir) + "; everything on loopback"},
		{Name: "PostgreSQL", Value: postgres + ", defaults (fsync and synchronous_commit on)"},
		{Name: "Redis", Value: field(info, "redis_version") + ", appendonly yes, appendfsync everysec"},
		{Name: "Go", Value: strings.TrimPrefix(runtime.Version(), "go") + b.modules()},
		{Name: "Node.js", Value: strings.TrimPrefix(b.said(ctx, "node", "--version"), "v") + b.packages()},
		{Name: "every system", Value: "50 jobs at once, 20 connections to PostgreSQL in each process, 1,000 uploads to warm up"},
	}
	return facts, nil
}

// said is what a command prints, "-" when there is none.
func (b *bench) said(ctx context.Context, name string, args ...string) string {
	out, err := exec.CommandContext(ctx, name, args...).Output()
	if err != nil {
		return "-"
	}
	first, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	return strings.TrimPrefix(first, "securetag ")
}

// field finds "name: value" or "name : value" in a text of lines.
func field(text, name string) string {
	for line := range strings.SplitSeq(text, "\n") {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return "-"
}

func gib(kb string) string {
	n, err := strconv.ParseFloat(strings.TrimSuffix(kb, " kB"), 64)
	if err != nil {
		return kb
	}
	return fmt.Sprintf("%.1f GiB", n/(1<<20))
}

// fileSystem is the type of the one that holds path.
func fileSystem(path string) string {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return "unknown file system"
	}
	return mountType(string(mounts), path)
}

// mountType finds the deepest mount point above path, the last where several
// are mounted at the same.
func mountType(mounts, path string) string {
	kind, deepest := "unknown file system", -1
	for line := range strings.SplitSeq(mounts, "\n") {
		f := strings.Fields(line)
		if len(f) < 3 {
			continue
		}
		at := strings.TrimSuffix(f[1], "/")
		if (path == at || strings.HasPrefix(path, at+"/")) && len(at) >= deepest {
			kind, deepest = f[2], len(at)
		}
	}
	return kind
}

// modules are the versions of the Go peers' libraries.
func (b *bench) modules() string {
	raw, err := os.ReadFile(filepath.Join(b.root, "bench", "peers", "go.mod"))
	if err != nil {
		return ""
	}
	all := ""
	for _, name := range []string{"hibiken/asynq", "riverqueue/river", "jackc/pgx/v5", "redis/go-redis/v9"} {
		for line := range strings.SplitSeq(string(raw), "\n") {
			if f := strings.Fields(line); len(f) >= 2 && f[0] == "github.com/"+name {
				all += ", " + name + " " + f[1]
			}
		}
	}
	return all
}

// packages are the versions of the Node peer's.
func (b *bench) packages() string {
	raw, err := os.ReadFile(filepath.Join(b.root, "bench", "peers", "express", "package.json"))
	if err != nil {
		return ""
	}
	all := ""
	for _, name := range []string{"express", "bullmq", "pg", "ioredis", "multer"} {
		all += ", " + name + " " + strings.Trim(field(string(raw), strconv.Quote(name)), `", `)
	}
	return all
}
