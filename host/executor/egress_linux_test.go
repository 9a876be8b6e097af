package executor_test

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/executor"
	"github.com/securetaghq/securetag/host/executor/proxy"
	"github.com/securetaghq/securetag/host/executor/sandbox"
	"github.com/securetaghq/securetag/sdk/egress"
)

// callable is a server that counts who comes.
type callable struct {
	*httptest.Server
	heard atomic.Int32
}

func newCallable(t *testing.T) *callable {
	t.Helper()
	c := &callable{}
	c.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }))
	c.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			c.heard.Add(1)
		}
	}
	c.Start()
	t.Cleanup(c.Close)
	return c
}

// to lets the plugin call that server.
func (c *callable) to() *proxy.Config {
	h, err := egress.ParseHost(c.Listener.Addr().String())
	if err != nil {
		panic(err)
	}
	return &proxy.Config{Rules: egress.Config{Hosts: []egress.Host{h}, Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}}
}

// call runs the plugin that calls, for a job that may call permitted, and gives
// what it says.
func (b *bench) call(t *testing.T, may, mayNot *callable, permitted ...string) map[string]string {
	t.Helper()
	task := b.task(t, "")
	task.PermittedHosts = permitted
	task.Options, _ = json.Marshal(map[string]string{"may": may.URL, "may_not": mayNot.URL, "direct": may.Listener.Addr().String()})
	s := &sink{}
	if _, err := b.Run(t.Context(), task, s); err != nil {
		t.Fatal(err)
	}
	return confession(s)
}

// TestEgress: a confined plugin reaches what its block says, through the proxy and
// no other way; so do the tools that it starts.
func TestEgress(t *testing.T) {
	t.Parallel()
	may, mayNot := newCallable(t), newCallable(t)
	b := newBench(t, "caller", confined, plugin(func(p *executor.Plugin) {
		p.Egress, p.Env = may.to(), map[string]string{"HTTPS_PROXY": "http://proxy.inside:3128", "NO_PROXY": "*"}
	}))
	var got [2]map[string]string
	var runs sync.WaitGroup
	for i := range got { // beside one another, so that they could see each other
		runs.Go(func() { got[i] = b.call(t, may, mayNot) })
	}
	runs.Wait()
	for _, got := range got {
		for what, want := range map[string]string{
			"direct": "refused", "client": "hello <nil>", "client, refused": "it is not one of the ports that may be called; an operator can", "others": "0",
			"tool": "hello <nil>", "tool, refused": "egress_ports", "env": "http://" + sandbox.EgressAddr + " http://" + sandbox.EgressAddr + " no: ",
		} {
			said, ok := got[what]
			if what == "direct" && strings.Contains(said, "denied") { // by Landlock, before there is nobody
				continue
			}
			if !ok || !strings.Contains(said, want) {
				t.Errorf("%s: %q, want %q", what, said, want)
			}
		}
	}
	if n := mayNot.heard.Load(); n > 0 {
		t.Errorf("somebody called %d times", n)
	}
	if n := may.heard.Load(); n != 4 {
		t.Errorf("what may be called was called %d times, want 4", n)
	}
	s := b.status()
	if u := s.Egress; u.Connections != 4 || u.Refused != 4 || u.Sent == 0 || u.Received == 0 {
		t.Errorf("counted %+v", u)
	}
	if !strings.Contains(s.Containment, "network through the host's proxy alone") {
		t.Errorf("containment: %s", s.Containment)
	}
	if !strings.Contains(b.logs.String(), "network used by a job") {
		t.Error("the log does not say what a job used")
	}
}

// TestEgressPermitted: a plugin that does not look at permitted_hosts is held to
// them by the host, as are the tools that it starts.
func TestEgressPermitted(t *testing.T) {
	t.Parallel()
	may, mayNot := newCallable(t), newCallable(t)
	b := newBench(t, "caller", confined, plugin(func(p *executor.Plugin) {
		p.Egress = may.to()
		p.Egress.Rules.Hosts = append(p.Egress.Rules.Hosts, mayNot.to().Rules.Hosts...)
	}))
	got := b.call(t, may, mayNot, may.Listener.Addr().String())
	for what, want := range map[string]string{
		"client": "hello <nil>", "client, refused": "it is not one of the hosts that this scan may call; its tenant can prove",
		"tool": "hello <nil>", "tool, refused": "this scan may call",
	} {
		if said := got[what]; !strings.Contains(said, want) {
			t.Errorf("%s: %q, want %q", what, said, want)
		}
	}
	if n := mayNot.heard.Load(); n > 0 {
		t.Errorf("what the job may not call was called %d times", n)
	}
	if got := b.call(t, may, mayNot, "*"); got["client, refused"] != "hello <nil>" {
		t.Errorf("a job that may call every host: %q", got["client, refused"])
	}
}

// TestEgressOwn: in its own network a plugin sees none of the host's addresses, and
// the host knows them: a network that is allowed does not open them. The loopback
// stands for every interface, as all machines have it.
func TestEgressOwn(t *testing.T) {
	t.Parallel()
	may, mayNot := newCallable(t), newCallable(t)
	b := newBench(t, "caller", confined, plugin(func(p *executor.Plugin) {
		p.Egress = may.to()
		p.Egress.Rules.Allow = []netip.Prefix{netip.MustParsePrefix("64.0.0.0/2")}
	}))
	got := b.call(t, may, mayNot)
	for _, what := range []string{"client", "tool"} {
		if said := got[what]; !strings.Contains(said, "it is an address of this host") || !strings.Contains(said, "in egress_networks of the block") {
			t.Errorf("%s: %q", what, said)
		}
	}
	if n := may.heard.Load(); n > 0 {
		t.Errorf("this host was called %d times", n)
	}
}

// TestEgressElsewhere: where the machine cannot hold it, required refuses the
// plugin, and best_effort says that it has the host's network.
func TestEgressElsewhere(t *testing.T) {
	t.Parallel()
	may := newCallable(t)
	on := func(how executor.Confinement) *bench {
		return newBench(t, "caller", func(c *executor.Config) {
			c.Sandbox = sandbox.Open("", hclog.NewNullLogger())
			c.Plugins[0].Sandbox, c.Plugins[0].Egress = how, may.to()
		})
	}
	_, _, err := on(executor.Required).run(t)
	wantFault(t, err, host.CodePluginUnavailable, true, "does not hold", "best_effort")
	b := on(executor.Unconfined)
	if got := b.call(t, may, may); got["direct"] != "reached" || got["client"] != "hello <nil>" {
		t.Errorf("off: %v", got)
	}
	if s := b.status(); !strings.Contains(s.Containment, "it has the host's network") || !strings.Contains(b.logs.String(), "a plugin has the host's whole network") {
		t.Errorf("it is not said: %s\n%s", s.Containment, b.logs)
	}
	bad := func(c *executor.Config) { c.Plugins[0].Network, c.Plugins[0].Egress = true, may.to() }
	cfg := executor.Config{RunDir: t.TempDir(), Plugins: []executor.Plugin{{Name: "hostile", Command: "/x", Dev: true}}}
	bad(&cfg)
	if _, err := executor.New(cfg, hclog.NewNullLogger()); err == nil || !strings.Contains(err.Error(), "it has the host's network") {
		t.Errorf("both: %v", err)
	}
}
