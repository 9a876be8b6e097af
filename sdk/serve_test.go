package sdk_test

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"

	"github.com/securetaghq/securetag/sdk/proto/pluginv1"
	"github.com/securetaghq/securetag/sdk/wire"
)

const roleEnv = "SDK_TEST_ROLE"

func self(t testing.TB, role string, args ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, args...)
	cmd.Env = append(os.Environ(), roleEnv+"="+role)
	return cmd
}

// A real process, a real handshake with mutual TLS, a scan, an orderly end.
func TestServedToAHost(t *testing.T) {
	t.Parallel()
	client := plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig:  wire.Handshake(),
		Plugins:          wire.Plugins(nil),
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		Cmd:              self(t, "plugin"),
		AutoMTLS:         true,
		Logger:           hclog.NewNullLogger(),
	})
	defer client.Kill()
	conn, err := client.Client()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := conn.Dispense(wire.PluginName)
	if err != nil {
		t.Fatal(err)
	}
	c := raw.(pluginv1.ScannerClient)
	d, err := c.Describe(t.Context(), &pluginv1.DescribeRequest{})
	if err != nil || d.Name != "todos" || len(d.ApiVersions) != 1 {
		t.Fatalf("describe: %v, %v", d, err)
	}
	configure(t, c, "{}")
	stream, err := c.Scan(t.Context(), request("a", tree(t, map[string]string{"a.go": "// FIXME\n"})))
	if err != nil {
		t.Fatal(err)
	}
	r, err := collect(stream)
	if err != nil {
		t.Fatal(err)
	}
	if all, _ := r.findings(); len(all) != 1 || all[0].Location.Path != "a.go" {
		t.Errorf("findings %v", all)
	}
	client.Kill()
	if !client.Exited() {
		t.Error("the plugin lives on")
	}
}

// beHost starts the plugin as a host does, says so and waits to be killed.
func beHost() {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), roleEnv+"=plugin", wire.MagicCookieKey+"="+wire.MagicCookieValue, "PLUGIN_PROTOCOL_VERSIONS=1")
	cmd.Stdout = os.Stdout // the handshake line tells the test that it serves
	if err := cmd.Run(); err != nil {
		os.Exit(1)
	}
}

// When the host is killed, the plugin, which nobody tells, ends too: the pipe
// that both hold comes to its end.
func TestHostDies(t *testing.T) {
	t.Parallel()
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	host := self(t, "host")
	host.Stdout = in
	if err := host.Start(); err != nil {
		t.Fatal(err)
	}
	in.Close()
	var line [1]byte
	if _, err := io.ReadFull(out, line[:]); err != nil {
		t.Fatalf("the plugin did not start: %v", err)
	}
	if err := host.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = host.Wait() // killed
	if rest, err := io.ReadAll(out); err != nil || !strings.Contains(string(rest), "|grpc|") {
		t.Errorf("handshake %q, %v", rest, err)
	}
}

func TestByHand(t *testing.T) {
	t.Parallel()
	root := tree(t, map[string]string{"a\x1b[2J.go": "// FIXME\n", "clean/x": "nothing\n"})
	tests := map[string]struct {
		args   []string
		code   int
		stdout string
		stderr string
	}{
		"nothing":        {nil, 2, "", "is a SecureTag scanner plugin"},
		"help":           {[]string{"--help"}, 0, "todos scan", ""},
		"unknown verb":   {[]string{"dance"}, 2, "", "todos scan"},
		"describe":       {[]string{"--describe"}, 0, `"max_file_size"`, ""},
		"scan":           {[]string{"scan", root}, 1, "a?[2J.go:1:4: info todo: left to do\n", "succeeded: 1 findings"},
		"scan json":      {[]string{"scan", "--json", root}, 1, `"ruleId":"todo"`, ""},
		"scan clean":     {[]string{"scan", root + "/clean"}, 0, "", "succeeded: 0 findings"},
		"bad config":     {[]string{"scan", "--config", `{"max": 1}`, root}, 2, "", `no setting "max"`},
		"not a tree":     {[]string{"scan", root + "/clean/x"}, 2, "", "not a directory"},
		"no such tree":   {[]string{"scan", root + "/none"}, 2, "", "no such file"},
		"no target":      {[]string{"scan"}, 2, "", "name one directory"},
		"wrong target":   {[]string{"scan", "https://example.com"}, 3, "", "takes no URL"},
		"unknown option": {[]string{"scan", "--options", `{"x":1}`, root}, 3, "", `no setting "x"`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var stdout, stderr bytes.Buffer
			cmd := self(t, "plugin", tt.args...)
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			_ = cmd.Run() // its code says it
			out := strings.ReplaceAll(stdout.String(), ": ", ":")
			if code := cmd.ProcessState.ExitCode(); code != tt.code || !strings.Contains(out, strings.ReplaceAll(tt.stdout, ": ", ":")) || !strings.Contains(stderr.String(), tt.stderr) {
				t.Errorf("code %d, want %d\nstdout %s\nstderr %s", code, tt.code, &stdout, &stderr)
			}
		})
	}
}
