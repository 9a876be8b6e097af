package executor_test

import (
	"io"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/hashicorp/go-hclog"

	"github.com/securetaghq/securetag/host/executor"
)

func TestReadHandshake(t *testing.T) {
	t.Parallel()
	for _, line := range []string{"1|1|unix|/run/p/s|grpc|", "1|1|unix|/run/p/s|grpc", "1|1|unix|/run/p/s|grpc|\r"} {
		// More after the line must not matter, nor must slow writing.
		r := iotest.OneByteReader(strings.NewReader(line + "\nmore"))
		if addr, err := executor.ReadHandshake(r, "/run/p"); err != nil || addr != "/run/p/s" {
			t.Errorf("%q: %q, %v", line, addr, err)
		}
	}
	for line, want := range map[string]string{
		"":                                       "without a handshake line",
		"1|1|unix|/run/p/s|grpc|":                "within its first line", // no line end
		"hello\n":                                "no handshake",
		"2|1|unix|/run/p/s|grpc|\n":              "core protocol",
		"1|9|unix|/run/p/s|grpc|\n":              "plugin protocol",
		"1|1|tcp|127.0.0.1:1|grpc|\n":            `"tcp" address`,
		"1|1|unix|/run/p/s|netrpc|\n":            `serves "netrpc"`,
		"1|1|unix|/run/p/s|grpc|CERT\n":          "certificate",
		"1|1|unix|/run/p/s|grpc||true\n":         "certificate or more",
		"1|1|unix|/run/s|grpc|\n":                "not in PLUGIN_UNIX_SOCKET_DIR",
		"1|1|unix|/run/p/../p/s|grpc|\n":         "not in PLUGIN_UNIX_SOCKET_DIR",
		"1|1|unix|/run/p/tmp/s|grpc|\n":          "not in PLUGIN_UNIX_SOCKET_DIR",
		"1|1|unix|/run/p|grpc|\n":                "not in PLUGIN_UNIX_SOCKET_DIR",
		"1|1|unix|s|grpc|\n":                     "not in PLUGIN_UNIX_SOCKET_DIR",
		"1|1|unix|/run/p/s\x00|grpc|\n":          "not in PLUGIN_UNIX_SOCKET_DIR",
		strings.Repeat("x", 1<<20):               "4096 bytes without a line end",
		"1|1|unix|" + strings.Repeat("x", 1<<20): "4096 bytes without a line end",
	} {
		addr, err := executor.ReadHandshake(strings.NewReader(line), "/run/p")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %q, %v; want an error that says %q", line, addr, err, want)
		}
	}
}

func FuzzHandshake(f *testing.F) {
	f.Add("1|1|unix|/run/p/s|grpc|\n")
	f.Add("1|1|unix|/run/p/../s|grpc|AAAA|true\n")
	f.Fuzz(func(t *testing.T, s string) {
		addr, err := executor.ReadHandshake(strings.NewReader(s), "/run/p")
		if err == nil && (filepath.Dir(addr) != "/run/p" || filepath.Clean(addr) != addr || strings.ContainsAny(addr, "|\x00\n")) {
			t.Errorf("%q was taken as a handshake with the address %q", s, addr)
		}
		if err != nil && strings.ContainsAny(err.Error(), "\n\x00\x1b") {
			t.Errorf("error is not one clean line: %q", err)
		}
	})
}

func TestParseLog(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]struct {
		level  hclog.Level
		text   string
		logged bool
	}{
		"plain":                               {hclog.Debug, "plain", false},
		`{"@message":1}`:                      {hclog.Debug, `{"@message":1}`, false},
		`{"@message":"x","@level":{}}`:        {hclog.Debug, `{"@message":"x","@level":{}}`, false},
		`{"@message":"x","@level":"off"}`:     {hclog.Debug, `{"@message":"x","@level":"off"}`, false},
		`{"@message":"x"`:                     {hclog.Debug, `{"@message":"x"`, false},
		`{"@level":"warn","@message":"slow"}`: {hclog.Warn, "slow", true},
		`{"@level":"error","@message":"bad\n\u001b","b":2,"a":"x","c":{"d":1},"@timestamp":[]}`: {hclog.Error, "bad a=x b=2", true},
	} {
		if level, text, logged := executor.ParseLog(in); level != want.level || text != want.text || logged != want.logged {
			t.Errorf("%s: %s %q, logged %t, want %+v", in, level, text, logged, want)
		}
	}
}

func FuzzParseLog(f *testing.F) {
	f.Add(`{"@message":1,"@level":[],"@timestamp":{}}`)
	f.Add("panic: \x1b\u202e")
	f.Fuzz(func(t *testing.T, s string) {
		level, text, _ := executor.ParseLog(s)
		if strings.ContainsAny(text, "\n\x00\x1b\u202e") || len(text) > 2<<10 || level == hclog.NoLevel || level == hclog.Off {
			t.Errorf("%q: %s %q", s, level, text)
		}
	})
}

func TestCopyLogIsBounded(t *testing.T) {
	t.Parallel()
	var out syncBuffer
	log := hclog.New(&hclog.LoggerOptions{Output: &out, Level: hclog.Trace})
	in := io.MultiReader(
		strings.NewReader(strings.Repeat("short line\n", 100_000)),
		strings.NewReader(strings.Repeat("no end ", 1_000_000)+"\n"),
		strings.NewReader("panic: boom\n\ngoroutine 1 [running]:\nmain.main()\n\t/x.go:1 +0x1d"),
	)
	var tail executor.Tail
	executor.CopyLog(in, &tail, log)
	if got := tail.String(); got != "panic: boom" {
		t.Errorf("tail %q, want the panic", got)
	}
	got := out.String()
	if n := strings.Count(got, "\n"); n > 1000 {
		t.Errorf("%d lines logged of a flood", n)
	}
	if !strings.Contains(got, "it logs too much: lines=") {
		t.Errorf("the log does not say that lines were dropped: %.300s", got)
	}
}

func TestTail(t *testing.T) {
	t.Parallel()
	var tail executor.Tail
	executor.CopyLog(strings.NewReader("1\n2\n\n3\n"+strings.Repeat("4", 9000)+"\n"), &tail, hclog.NewNullLogger())
	if got := tail.String(); !strings.HasPrefix(got, "2 | 3 | 444") || len(got) > 400 {
		t.Errorf("tail %q (%d bytes)", got, len(got))
	}
	// Where it listens is among nobody's last words.
	const listens = `{"@level":"debug","@message":"plugin address","address":"/run/securetag/plugin1","network":"unix"}`
	var last executor.Tail
	executor.CopyLog(strings.NewReader(listens+"\n"+`{"@level":"error","@message":"no memory"}`+"\n"), &last, hclog.NewNullLogger())
	if got := last.String(); got != "no memory" {
		t.Errorf("tail %q", got)
	}
}
