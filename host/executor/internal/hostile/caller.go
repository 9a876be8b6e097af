package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/securetaghq/securetag/sdk"
	"github.com/securetaghq/securetag/sdk/egress"
)

// calls are what a test has the plugin call.
type calls struct {
	May    string `json:"may" doc:"A URL that it may call."`
	MayNot string `json:"may_not" doc:"One that it may not."`
	Direct string `json:"direct" doc:"An address that it tries to reach past the proxy."`
}

// caller is a plugin of the SDK that says how far it gets on the network.
func caller() {
	sdk.Main(sdk.Scanner[struct{}]{
		Name: "hostile", Version: "1.2.3", Consumes: []sdk.Input{sdk.Tree}, Options: calls{},
		Needs: sdk.Needs{Network: true, SpawnsProcesses: true},
		Rules: []sdk.Rule{{ID: declared, Title: "A fact", Severity: sdk.High}},
		Scan: func(ctx context.Context, _ *struct{}, t *sdk.Target, out *sdk.Out) error {
			o := t.Options().(*calls) //nolint:forcetypeassert // it is that of Scanner.Options
			for name, what := range map[string]string{
				"direct": direct(o.Direct), "client": byClient(ctx, o.May), "client, refused": byClient(ctx, o.MayNot),
				"tool": byTool(ctx, t, o.May), "tool, refused": byTool(ctx, t, o.MayNot), "others": neighbours(),
				"env": strings.Join([]string{os.Getenv("HTTPS_PROXY"), os.Getenv("all_proxy"), "no: " + os.Getenv("NO_PROXY")}, " "),
			} {
				out.Finding(declared, sdk.Finding{Message: name + "=" + what, At: sdk.Location{Path: "main.go", StartLine: 1}})
			}
			return nil
		},
	})
}

func direct(address string) string {
	c, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		return err.Error()
	}
	_ = c.Close() // that it is open says all
	return "reached"
}

// byClient calls with the client of the kit, which is told to allow more than the
// host does.
func byClient(ctx context.Context, url string) string {
	g, err := egress.New(egress.Config{
		Proxy: egress.HostProxy(), Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Ports: []egress.Ports{{First: 1, Last: 65535}},
	})
	if err != nil {
		return err.Error()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err.Error()
	}
	resp, err := g.Client().Do(req)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return fmt.Sprintf("%s %v", body, err)
}

// byTool calls with a program that knows HTTP_PROXY and no more.
func byTool(ctx context.Context, t *sdk.Target, url string) string {
	ran, err := t.Run(ctx, sdk.Command{Args: []string{"/usr/bin/curl", "-sS", "--max-time", "20", url}})
	return strings.TrimSpace(fmt.Sprintf("%s %v", ran.Stdout, err))
}

// neighbours are the sockets of other processes that it sees.
func neighbours() string {
	own := filepath.Dir(os.Getenv(egress.SocketVar))
	others, _ := filepath.Glob(filepath.Join(filepath.Dir(own), "*"))
	var seen []string
	for _, o := range others {
		if o != own {
			seen = append(seen, o)
		}
	}
	return fmt.Sprint(len(seen))
}
