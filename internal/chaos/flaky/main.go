// Command flaky is the plugin of the chaos tests. Its first argument is its
// name; what it does and finds is decided by package plan from the options of
// each job.
package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/protobuf/proto"

	"github.com/securetaghq/securetag/internal/chaos/plan"
	"github.com/securetaghq/securetag/sdk"
	"github.com/securetaghq/securetag/sdk/proto/pluginv1"
	"github.com/securetaghq/securetag/sdk/wire"
)

const rule = "planned"

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "flaky: the first argument must be the plugin's name")
		os.Exit(2)
	}
	log := hclog.New(&hclog.LoggerOptions{Level: hclog.Info, Output: os.Stderr, JSONFormat: true})
	process := rand.Text()
	server, err := sdk.NewServer(sdk.Scanner[struct{}]{
		Name: os.Args[1], Version: "0.1.0", Description: "Misbehaves as planned.",
		Consumes: []sdk.Input{sdk.Tree},
		Rules:    []sdk.Rule{{ID: rule, Title: "Planned", Severity: sdk.Info}},
		Options:  plan.Options{},
		Scan: func(ctx context.Context, _ *struct{}, t *sdk.Target, out *sdk.Out) error {
			return scan(ctx, process, t, out)
		},
	}, log)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig: wire.Handshake(), Plugins: wire.Plugins(&liar{server}), Logger: log, GRPCServer: plugin.DefaultGRPCServer,
	})
}

// scan is the part that keeps to the contract, as long as it lives.
func scan(ctx context.Context, process string, t *sdk.Target, out *sdk.Out) error {
	o := t.Options().(*plan.Options)
	b := o.Behave(t.Attempt())
	out.Progress(sdk.Progress{Phase: "waiting"})
	if o.Gate != "" {
		if err := pass(ctx, o.Gate+"-"+strconv.Itoa(t.Attempt())); err != nil {
			return err
		}
	}
	n, severities := o.Findings(), []sdk.Severity{sdk.Critical, sdk.High, sdk.Medium, sdk.Low, sdk.Info}
	for i := range n {
		if i == n/2 {
			if err := midway(ctx, b, o, t.Attempt()); err != nil {
				return err
			}
		}
		out.Finding(rule, sdk.Finding{
			Message: fmt.Sprintf("seed %d finding %d", o.Seed, i), Severity: severities[plan.Rank(i)],
			Identity:   []string{strconv.Itoa(i)},
			Properties: map[string]string{"attempt": strconv.Itoa(t.Attempt()), "process": process},
		})
	}
	if n == 0 {
		return midway(ctx, b, o, t.Attempt())
	}
	return nil
}

// midway is what goes wrong once some findings may have been sent.
func midway(ctx context.Context, b plan.Behaviour, o *plan.Options, attempt int) error {
	switch b {
	case plan.Crash, plan.ExitZero:
		time.Sleep(250 * time.Millisecond) // what was found is on its way by then
		os.Exit(map[plan.Behaviour]int{plan.Crash: 3}[b])
	case plan.Fail:
		return sdk.Retryable(errors.New("failed as planned"))
	case plan.Slow:
		select {
		case <-time.After(o.Delay(attempt)):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// pass waits for a file.
func pass(ctx context.Context, path string) error {
	for {
		if _, err := os.Stat(path); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// liar breaks the contract around a server that keeps to it.
type liar struct{ *sdk.Server }

func (l *liar) Scan(req *pluginv1.ScanRequest, stream pluginv1.Scanner_ScanServer) error {
	var o plan.Options
	if err := json.Unmarshal(req.GetOptionsJson(), &o); err != nil {
		return l.Server.Scan(req, stream)
	}
	switch b := o.Behave(int(req.GetAttempt())); b {
	case plan.Hang:
		select {}
	case plan.Miscount, plan.Undeclared, plan.Nonsense:
		stream = &lies{stream, b}
	}
	return l.Server.Scan(req, stream)
}

// lies falsifies the end of a stream.
type lies struct {
	pluginv1.Scanner_ScanServer
	how plan.Behaviour
}

func (l *lies) Send(ev *pluginv1.ScanEvent) error {
	done := ev.GetCompleted()
	if done == nil {
		return l.Scanner_ScanServer.Send(ev)
	}
	if l.how == plan.Undeclared {
		extra := &pluginv1.Findings{Findings: []*pluginv1.Finding{{RuleId: "undeclared", Message: "a lie"}}}
		if err := l.Scanner_ScanServer.Send(&pluginv1.ScanEvent{Event: &pluginv1.ScanEvent_Findings{Findings: extra}}); err != nil {
			return err
		}
	}
	done = proto.CloneOf(done)
	if l.how == plan.Nonsense {
		done.Status = 42
	} else {
		done.Findings++
	}
	return l.Scanner_ScanServer.Send(&pluginv1.ScanEvent{Event: &pluginv1.ScanEvent_Completed{Completed: done}})
}
