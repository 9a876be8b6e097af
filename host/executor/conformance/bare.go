package conformance

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/securetaghq/securetag/sdk/proto/pluginv1"
	"github.com/securetaghq/securetag/sdk/wire"
)

// bare is a process of the plugin without what the host puts around it: no
// namespace and no parent death signal. It is for seeing how the plugin ends by
// itself; everything else goes through the host's launcher.
type bare struct {
	k      *kit
	cmd    *exec.Cmd
	dir    string
	marker string // a variable in the environment of it and its children

	done   chan struct{} // closed when the process that was started has ended
	life   chan struct{} // closed when the plugin itself has, also below a shell
	ready  chan string   // the handshake line
	stdout *output
	stderr *output
	conn   *grpc.ClientConn
}

type bareKind int

const (
	bareServing bareKind = iota
	bareByHand           // without the handshake's variables, as by a person
	bareShell            // below a shell
)

const shell = "/bin/sh"

// bare starts a process. Whoever has it calls end.
func (k *kit) bare(kind bareKind) (*bare, error) {
	dir, err := os.MkdirTemp(filepath.Join(k.base, "run"), "b")
	if err != nil {
		return nil, err
	}
	tmp := filepath.Join(dir, "tmp")
	if err := os.Mkdir(tmp, 0o700); err != nil {
		return nil, err
	}
	b := &bare{
		k: k, dir: dir, marker: "SECURETAG_PROCESS=" + rand.Text(),
		done: make(chan struct{}), life: make(chan struct{}), ready: make(chan string, 1),
		stdout: &output{}, stderr: &output{},
	}
	b.cmd = exec.Command(k.plugin.Command, k.plugin.Args...)
	if kind == bareShell {
		// The shell waits; what it started has the shell for a parent.
		b.cmd = exec.Command(shell, append([]string{"-c", `"$@" & wait`, "sh", k.plugin.Command}, k.plugin.Args...)...)
	}
	b.cmd.Dir = tmp
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	b.cmd.Env = []string{"HOME=" + tmp, "TMPDIR=" + tmp, b.marker}
	for name, v := range k.plugin.Env {
		b.cmd.Env = append(b.cmd.Env, name+"="+v)
	}
	slices.Sort(b.cmd.Env)
	if kind != bareByHand {
		b.cmd.Env = append(b.cmd.Env, wire.MagicCookieKey+"="+wire.MagicCookieValue,
			"PLUGIN_PROTOCOL_VERSIONS=1", "PLUGIN_MIN_PORT=10000", "PLUGIN_MAX_PORT=25000", "PLUGIN_UNIX_SOCKET_DIR="+dir)
	}
	return b, b.start()
}

// start starts it with pipes that tell of its end even when a shell is between:
// nobody but the plugin and the shell has the third.
func (b *bare) start() error {
	var pipes [3][2]*os.File
	for i := range pipes {
		r, w, err := os.Pipe()
		if err != nil {
			return errors.Join(err, closeAll(pipes))
		}
		pipes[i] = [2]*os.File{r, w}
	}
	b.cmd.Stdout, b.cmd.Stderr, b.cmd.ExtraFiles = pipes[0][1], pipes[1][1], []*os.File{pipes[2][1]}
	err := b.cmd.Start()
	for _, p := range pipes {
		p[1].Close()
	}
	if err != nil {
		close(b.done)
		close(b.life)
		b.cmd.Process = nil
		return errors.Join(err, closeAll(pipes), removeAll(b.dir))
	}
	var reading sync.WaitGroup
	reading.Go(func() { b.stdout.read(pipes[0][0], b.ready) })
	reading.Go(func() { b.stderr.read(pipes[1][0], nil) })
	go func() {
		defer close(b.life)
		_, _ = io.Copy(io.Discard, pipes[2][0])
		pipes[2][0].Close()
	}()
	go func() {
		defer close(b.done)
		_ = b.cmd.Wait() // how it ended is in ProcessState
		// A child of its own may hold the pipes: what it says is not waited for.
		until := time.Now().Add(100 * time.Millisecond)
		if b.cmd.Path != shell {
			_ = pipes[0][0].SetReadDeadline(until)
			_ = pipes[1][0].SetReadDeadline(until)
		}
		reading.Wait()
		pipes[0][0].Close()
		pipes[1][0].Close()
	}()
	return nil
}

func closeAll(pipes [3][2]*os.File) error {
	var err error
	for _, p := range pipes {
		for _, f := range p {
			if f != nil {
				err = errors.Join(err, f.Close())
			}
		}
	}
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}

// served starts a process up to its handshake and dials it.
func (k *kit) served(ctx context.Context, below bool) (*bare, error) {
	kind := bareServing
	if below {
		kind = bareShell
	}
	b, err := k.bare(kind)
	if err != nil {
		return nil, fmt.Errorf("it could not be started without the host: %w", err)
	}
	t := time.NewTimer(k.opts.StartTimeout)
	defer t.Stop()
	var line string
	select {
	case line = <-b.ready:
	case <-b.done:
	case <-t.C:
	case <-ctx.Done():
	}
	fields := strings.Split(line, "|")
	if len(fields) < 5 {
		b.end()
		return nil, faulty{errors.New("it gave no handshake when it was started without the host")}
	}
	b.conn, err = grpc.NewClient("unix:"+fields[3], grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithNoProxy())
	if err != nil {
		b.end()
		return nil, fmt.Errorf("dial its socket: %w", err)
	}
	return b, nil
}

// shutdown is how go-plugin asks a plugin to end.
func (b *bare) shutdown(ctx context.Context) error {
	call, cancel := context.WithTimeout(ctx, b.k.opts.StopTimeout)
	defer cancel()
	return b.conn.Invoke(call, "/plugin.GRPCController/Shutdown", &emptypb.Empty{}, &emptypb.Empty{})
}

// work configures the process and has it scan once.
func (b *bare) work(ctx context.Context) error {
	api := pluginv1.NewScannerClient(b.conn)
	call, cancel := context.WithTimeout(ctx, b.k.opts.ScanTimeout)
	defer cancel()
	if _, err := api.Configure(call, &pluginv1.ConfigureRequest{ConfigJson: b.k.config}); err != nil {
		return err
	}
	r, err := b.k.ordinary()
	if err != nil {
		return err
	}
	work := filepath.Join(b.k.base, "work", "bare")
	if err := makeDir(work); err != nil {
		return err
	}
	req := &pluginv1.ScanRequest{RunId: "conformance/bare", Attempt: 1, OptionsJson: []byte("{}"), WorkDir: work}
	if req.Target = (&pluginv1.Target{Kind: &pluginv1.Target_Url{Url: r.url}}); r.tree != nil {
		req.Target.Kind = &pluginv1.Target_Root{Root: r.tree.root}
	}
	stream, err := api.Scan(call, req)
	for err == nil {
		_, err = stream.Recv()
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return errors.Join(err, removeAll(work))
}

// ended waits for the process that was started.
func (b *bare) ended(ctx context.Context, d time.Duration) bool { return within(ctx, b.done, d) }

// gone waits for the plugin, wherever it is.
func (b *bare) gone(ctx context.Context, d time.Duration) bool { return within(ctx, b.life, d) }

func within(ctx context.Context, done <-chan struct{}, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-done:
		return true
	case <-t.C:
	case <-ctx.Done():
	}
	return false
}

func (b *bare) code() int { return b.cmd.ProcessState.ExitCode() }

func (b *bare) output() string { return b.stdout.String() + b.stderr.String() }

// end kills whatever is left of it: its group, and what carries its marker.
func (b *bare) end() {
	if b.conn != nil {
		_ = b.conn.Close()
	}
	if b.cmd.Process == nil {
		return
	}
	_ = syscall.Kill(-b.cmd.Process.Pid, syscall.SIGKILL)
	for range 10 {
		pids, _ := marked(b.marker)
		if len(pids) == 0 {
			break
		}
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	<-b.done
	<-b.life
	_ = removeAll(b.dir) // the kit removes its whole directory at the end
}

// output keeps what a process writes, up to a limit.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// read reads to the end, and hands over the first line when somebody waits.
func (o *output) read(r io.Reader, line chan<- string) {
	buf := make([]byte, 16<<10)
	for {
		n, err := r.Read(buf)
		o.mu.Lock()
		if o.b.Len() < maxKept {
			o.b.Write(buf[:n])
		}
		first, _, complete := strings.Cut(o.b.String(), "\n")
		o.mu.Unlock()
		if line != nil && complete {
			line <- first
			line = nil
		}
		if err != nil {
			return
		}
	}
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}
