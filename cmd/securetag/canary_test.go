package main

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"
)

// parrot is a site that repeats to whoever asks what they sent, and writes it down.
func parrot(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, len(args) == 2, "parrot FILE VARIABLE")
	f, err := os.Create(ts.MkAbs(args[0]))
	ts.Check(err)
	var mu sync.Mutex
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var b bytes.Buffer
		_ = r.Write(&b) // a request that cannot be written is missed where it is looked for
		mu.Lock()
		defer mu.Unlock()
		_, _ = f.Write(append(b.Bytes(), '\n'))
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("X-Parrot", r.Header.Get("Authorization")+r.Header.Get("Cookie"))
		_, _ = fmt.Fprintf(w, "<p>Traceback (most recent call last): token=%s</p>", b.String())
	}))
	ts.Defer(func() {
		srv.Close()
		_ = f.Close()
	})
	ts.Setenv(args[1], srv.URL)
}

// nowhere looks for a text in files and in all that is below directories.
func nowhere(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, len(args) >= 2, "nowhere TEXT PATH...")
	read := 0
	for _, root := range args[1:] {
		ts.Check(filepath.WalkDir(ts.MkAbs(root), func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			f, err := os.Open(path)
			if err != nil {
				return err
			}
			defer f.Close()
			content, err := io.ReadAll(f)
			if err != nil {
				return err
			}
			read += len(content)
			if i := bytes.Index(content, []byte(args[0])); i >= 0 {
				ts.Fatalf("%s is in %s: %q", args[0], path, content[max(0, i-200):i+len(args[0])])
			}
			return nil
		}))
	}
	if read == 0 {
		ts.Fatalf("nothing was looked at")
	}
}
