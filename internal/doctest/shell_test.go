package doctest_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/securetaghq/securetag/internal/testserver"
)

const repository = "../.."

// checkout makes what a reader has after `make build`: the repository, with
// binaries. Everything in it but bin is a link to the real thing.
func checkout(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	root, err := filepath.Abs(repository)
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if slices.Contains([]string{"bin", ".git", "securetag-data"}, e.Name()) {
			continue
		}
		if err := os.Symlink(filepath.Join(root, e.Name()), filepath.Join(dir, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, "bin", "plugins"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"securetag", "plugins/secrets", "plugins/dependencies", "plugins/iac", "plugins/gosec", "plugins/web", "plugins/sarif"} {
		if err := os.Link(filepath.Join(built, name), filepath.Join(dir, "bin", name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

var address = regexp.MustCompile(`127\.0\.0\.1:808\d`)

// stage gives each address of a page a free one for a run.
type stage struct{ real, shown map[string]string }

func newStage(t *testing.T, page string) stage {
	t.Helper()
	s := stage{real: map[string]string{}, shown: map[string]string{}}
	for _, a := range append(address.FindAllString(page, -1), "127.0.0.1:8080") {
		if s.real[a] != "" {
			continue
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close() // when all are chosen, so that they differ
		s.real[a] = l.Addr().String()
		s.shown[s.real[a]] = a
	}
	return s
}

func (s stage) toReal(text string) string {
	return address.ReplaceAllStringFunc(text, func(a string) string { return s.real[a] })
}

func (s stage) toShown(text string) string {
	for real, shown := range s.shown {
		text = strings.ReplaceAll(text, real, shown)
	}
	return text
}

// play does what the page says and returns what it found wrong.
func play(t *testing.T, page string) []string {
	t.Helper()
	all, err := steps(page)
	if err != nil {
		return []string{err.Error()}
	}
	dir, outputs := checkout(t), t.TempDir()
	stage := newStage(t, page)
	ended := run(t, dir, stage, script(all, stage, outputs))
	var wrong []string
	for i, s := range all {
		if s.has("file") {
			continue
		}
		printed, _ := os.ReadFile(filepath.Join(outputs, strconv.Itoa(i)))
		got := stage.toShown(string(printed))
		code, err := os.ReadFile(filepath.Join(outputs, strconv.Itoa(i)+".code"))
		if err != nil {
			return append(wrong, fmt.Sprintf("line %d: the shell ended here (%v), having printed:\n%s", s.line, ended, got))
		}
		want := s.marks["exit"]
		if want == "" {
			want = "0"
		}
		if c := strings.TrimSpace(string(code)); c != want {
			wrong = append(wrong, fmt.Sprintf("line %d: exit code %s, want %s; it printed:\n%s", s.line, c, want, got))
		}
		if diff := differs(s.want, got); diff != "" {
			wrong = append(wrong, fmt.Sprintf("line %d: the output differs %s", s.want.line, diff))
		}
	}
	return wrong
}

func differs(want *block, got string) string {
	switch {
	case want == nil:
		return ""
	case want.lang == "json":
		return sameJSON(want.text, got)
	default:
		return sameText(want.text, got)
	}
}

// script runs each block in the same shell, its output and its exit code in
// files of their own. A command that fails ends the script, except in blocks
// that say how they end.
func script(all []step, s stage, outputs string) string {
	var b strings.Builder
	for i, st := range all {
		if st.has("file") {
			fmt.Fprintf(&b, "cat > '%s' <<'END OF FILE'\n%s\nEND OF FILE\n", st.marks["file"], s.toReal(st.text))
			continue
		}
		stop := "set -e"
		if st.has("exit") {
			stop = "set +e"
		}
		out := filepath.Join(outputs, strconv.Itoa(i))
		fmt.Fprintf(&b, "%s\n{ %s\n} > '%s' 2>&1\necho $? > '%s.code'\n", stop, s.toReal(st.text), out, out)
	}
	return b.String()
}

// run runs a script with whatever it starts in the background, and leaves
// nothing running.
func run(t *testing.T, dir string, s stage, script string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	file := filepath.Join(t.TempDir(), "page.sh")
	if err := os.WriteFile(file, []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	tmp, err := os.MkdirTemp("", "page") // t.TempDir has the page's name, and is too long for sockets
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	cmd := exec.CommandContext(ctx, "sh", file)
	cmd.Dir = dir
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "SECURETAG_") {
			cmd.Env = append(cmd.Env, kv)
		}
	}
	cmd.Env = append(cmd.Env, "PWD="+dir, "TMPDIR="+tmp, "XDG_CONFIG_HOME="+filepath.Join(tmp, "config"), "SECURETAG_SERVER__LISTEN="+s.real["127.0.0.1:8080"])
	if strings.Contains(script, "DATABASE_URL") {
		cmd.Env = append(cmd.Env, "DATABASE_URL="+testserver.Postgres(t), "REDIS_URL=redis://"+testserver.Redis(t)+"/0")
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	end := func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.Cancel = end
	err = cmd.Run()
	_ = end() // hosts in the background; none is no error of ours
	return err
}
