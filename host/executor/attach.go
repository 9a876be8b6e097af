package executor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/sdk/proto/pluginv1"
	"github.com/securetaghq/securetag/sdk/wire"
)

// Attach is a plugin process that somebody started by hand, with --debug: it is
// dialled instead of one being started, for each run anew, and is never stopped.
// It may stand still in a debugger, so its silence is no hang. Nothing confines
// it and nothing has checked what it runs; callers attach only plugins that the
// operator marked as in development.
type Attach struct {
	Socket string // absolute path
	PID    int    // for people
}

// patience is MaxSilence of an attached plugin.
const patience = 24 * time.Hour

// ParseAttach reads the value of SECURETAG_REATTACH, by plugin name; "" is none.
func ParseAttach(value string) (map[string]Attach, error) {
	if value == "" {
		return nil, nil
	}
	var given map[string]wire.Reattach
	if err := json.Unmarshal([]byte(value), &given); err != nil {
		return nil, fmt.Errorf("%s is not what a plugin with --debug prints: %w", wire.ReattachKey, err)
	}
	out := make(map[string]Attach, len(given))
	var errs []error
	for name, at := range given {
		if at.Network != "unix" || !filepath.IsAbs(at.Address) || strings.ContainsRune(at.Address, 0) {
			errs = append(errs, fmt.Errorf("%s: plugin %q listens on %q %q, and only the absolute path of a unix socket is dialled", wire.ReattachKey, name, at.Network, at.Address))
		}
		out[name] = Attach{Socket: at.Address, PID: at.PID}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return out, nil
}

// attach dials a process that is there already. Its runner never starts; done is
// closed when the connection ends.
func (e *Executor) attach(ctx context.Context, p Plugin) (*process, error) {
	proc := &process{
		plugin: p, born: time.Now(), log: e.log.With("plugin", p.Name),
		runner: &procRunner{path: p.Attach.Socket, done: make(chan struct{}), contain: "attached"},
	}
	if err := proc.dial(ctx); err != nil {
		return nil, proc.fault(host.CodePluginUnavailable, true, "is to be attached to and cannot be: no answer on %s of process %d: %v", p.Attach.Socket, p.Attach.PID, err)
	}
	return proc, nil
}

func (p *process) dial(caller context.Context) error {
	conn, err := grpc.NewClient("unix:"+p.plugin.Attach.Socket,
		append(dialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithIdleTimeout(0))...)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(caller, p.plugin.StartTimeout)
	defer cancel()
	conn.Connect()
	for state := conn.GetState(); state != connectivity.Ready; state = conn.GetState() {
		if state == connectivity.TransientFailure || !conn.WaitForStateChange(ctx, state) {
			return errors.Join(errors.New("is it running?"), ctx.Err(), conn.Close())
		}
	}
	p.conn, p.scanner = conn, pluginv1.NewScannerClient(conn)
	go func() { // ends when the connection does, which stop closes
		conn.WaitForStateChange(context.WithoutCancel(caller), connectivity.Ready)
		close(p.runner.done)
	}()
	return nil
}

// letGo ends the connection and waits until that is known.
func (p *process) letGo() {
	_ = p.conn.Close() // only ever says that it is closed already
	<-p.runner.done
}
