// Package browser opens what people open in a browser, the HTML report and the
// API's pages, in a headless Chromium, and hears of everything that it finds wrong:
// what a page's own policy (CSP) forbids it, what cannot be loaded, what fails.
//
// It is a module of its own, so that the driver of the browser is nothing that the
// host depends on, and it drives the built binary from outside: `make test` builds
// that before.
package browser_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// binary is the host that `make build` made.
func binary(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs("../../bin/securetag")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%v: run make build first", err)
	}
	return path
}

// browser is one Chromium with a directory of its own.
func browser(t *testing.T) context.Context {
	t.Helper()
	flags := append(chromedp.DefaultExecAllocatorOptions[:], // headless, no first run, no sync, no background networking
		chromedp.NoSandbox, // which root in a container cannot have
		chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.UserDataDir(t.TempDir()),
	)
	ctx, stop := chromedp.NewExecAllocator(t.Context(), flags...)
	t.Cleanup(stop)
	ctx, end := chromedp.NewContext(ctx)
	t.Cleanup(end)
	if err := chromedp.Do(ctx); err != nil { // starts it
		t.Fatalf("start Chromium: %v", err)
	}
	return ctx
}

// complaints are what the browser says of one page.
type complaints struct {
	mu  sync.Mutex
	all []string
}

func (c *complaints) hear(event any) {
	var text string
	switch e := event.(type) {
	case *runtime.EventConsoleAPICalled: // no page of ours has a script that could
		text = fmt.Sprintf("console.%s", e.Type)
	case *runtime.EventExceptionThrown:
		text = "exception: " + e.ExceptionDetails.Text
	case *log.EventEntryAdded: // violations of CSP and failed requests among them
		text = fmt.Sprintf("%s %s: %s %s", e.Entry.Source, e.Entry.Level, e.Entry.Text, e.Entry.URL)
	case *network.EventLoadingFailed:
		text = fmt.Sprintf("not loaded: %s %s", e.ErrorText, e.BlockedReason)
	default:
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = append(c.all, text)
}

func (c *complaints) text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Join(c.all, "\n")
}

// open opens a page in a tab of its own and gives its text and what was wrong.
func open(t *testing.T, ctx context.Context, url string) (text, wrong string) {
	t.Helper()
	tab, closed := chromedp.NewContext(ctx)
	defer closed()
	var heard complaints
	err := chromedp.Listen(tab, heard.hear) // opens the tab as well
	if err != nil {
		t.Fatalf("open a tab: %v", err)
	}
	tab, cancel := context.WithTimeout(tab, time.Minute)
	defer cancel()
	err = chromedp.Do(tab, enable, chromedp.Navigate(url))
	if err == nil {
		text, err = chromedp.Run(tab, chromedp.Text("body"))
	}
	if err != nil {
		t.Fatalf("open %s: %v", url, err)
	}
	return text, heard.text()
}

// enable makes the browser tell what it finds wrong.
func enable(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
	_, err := cdp.Call(ctx, t, network.Enable, network.EnableParams{})
	if err == nil {
		_, err = cdp.Call(ctx, t, log.Enable, cdp.Empty{})
	}
	if err == nil {
		_, err = cdp.Call(ctx, t, runtime.Enable, cdp.Empty{})
	}
	return chromedp.Void{}, err
}

// TestBrowser: what people open has nothing wrong with it; and pages that have are
// seen to have.
func TestBrowser(t *testing.T) {
	t.Parallel()
	ctx := browser(t)
	bad := map[string]string{
		"/script": `<meta http-equiv="Content-Security-Policy" content="default-src 'none'"><script>1</script>`,
		"/style":  `<meta http-equiv="Content-Security-Policy" content="default-src 'none'"><p style="color: red">x`,
		"/image":  `<link rel="icon" href="data:,"><img src="/missing">`,
		"/throws": `<link rel="icon" href="data:,"><script>throw new Error("x")</script>`,
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if bad[r.URL.Path] == "" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/html")
		_, _ = fmt.Fprint(w, "<!doctype html><body>"+bad[r.URL.Path])
	}))
	defer srv.Close()
	for path := range bad {
		if _, wrong := open(t, ctx, srv.URL+path); wrong == "" {
			t.Errorf("nothing is wrong with %s, so that this test sees nothing", path)
		}
	}

	h := serve(t)
	report := h.report(t)
	for url, want := range map[string]string{
		"file://" + report:  "Private Key",
		h.url + "/docs":     "Scan a URL",
		h.url + "/problems": "unauthorized",
	} {
		text, wrong := open(t, ctx, url)
		if wrong != "" {
			t.Errorf("%s:\n%s", url, wrong)
		}
		if !strings.Contains(strings.ToLower(text), strings.ToLower(want)) {
			t.Errorf("%s does not show %q:\n%.2000s", url, want, text)
		}
	}
}

// running is a host.
type running struct{ url, key, dir string }

// serve starts one on a directory of its own, and stops it at the end.
func serve(t *testing.T) running {
	t.Helper()
	h := running{dir: t.TempDir()}
	cmd := exec.Command(binary(t), "serve", "--listen", "127.0.0.1:0", "--data-dir", filepath.Join(h.dir, "data"))
	cmd.Dir, cmd.Env = h.dir, []string{"PATH=" + os.Getenv("PATH"), "HOME=" + h.dir}
	out, err := os.Create(filepath.Join(h.dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd.Stdout = out
	stderr, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	said, ready := make(chan struct{}), make(chan string, 1)
	go func() {
		defer close(said)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			var line struct {
				Message string `json:"@message"`
				URL     string
			}
			if json.Unmarshal(lines.Bytes(), &line) == nil && line.Message == "serving" {
				ready <- line.URL
			}
		}
		close(ready)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		<-said
		_ = cmd.Wait()
	})
	if h.url = <-ready; h.url == "" {
		t.Fatal("the host did not start")
	}
	// The key was printed before.
	printed, err := os.ReadFile(out.Name())
	if h.key = regexp.MustCompile(`stag_[a-z0-9]+`).FindString(string(printed)); h.key == "" {
		t.Fatalf("no key in %q, %v", printed, err)
	}
	return h
}

// report has the host scan a tree with a key in it, in a file whose name would be
// markup, and saves the report.
func (h running) report(t *testing.T) string {
	t.Helper()
	tree := filepath.Join(h.dir, "tree")
	key := "-----BEGIN RSA PRIVATE " + "KEY-----\n" + strings.Repeat("MIIEpAIBAAKCAQEA7bq0vK3nQ9xYtR5z\n", 20) + "-----END RSA PRIVATE " + "KEY-----\n"
	if err := os.Mkdir(tree, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{`<img src=x onerror=alert(1)>.pem`, "plain.pem"} {
		if err := os.WriteFile(filepath.Join(tree, name), []byte(key), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(h.dir, "report.html")
	cmd := exec.Command(binary(t), "scan", "--server", h.url, "--key", h.key, "--fail-on", "none", "--format", "html", "-o", file, tree)
	cmd.Dir, cmd.Env = h.dir, []string{"PATH=" + os.Getenv("PATH"), "HOME=" + h.dir}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("scan: %v\n%s", err, out)
	}
	return file
}
