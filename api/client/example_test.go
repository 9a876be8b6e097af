package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/securetaghq/securetag/api/client"
)

// Upload an archive, wait for the scan, and go through what it found.
func ExampleClient() {
	host := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/codeaudit/upload":
			w.WriteHeader(http.StatusAccepted)
			_, _ = io.WriteString(w, `{"id":"019a","state":"queued"}`)
		case "/scans/019a":
			_, _ = io.WriteString(w, `{"id":"019a","state":"succeeded","counts":{"high":1}}`)
		default:
			_, _ = io.WriteString(w, `{"items":[{"severity":"high","title":"AWS key","location":{"path":"deploy.env","start_line":3}}]}`)
		}
	}))
	defer host.Close()

	ctx := context.Background()
	c, err := client.New(host.URL, "stag_...", client.Options{})
	if err != nil {
		panic(err)
	}
	scan, err := c.Upload(ctx, strings.NewReader("PK..."), client.UploadOptions{Filename: "shop.zip", Project: "shop"})
	var refused *client.Error
	if errors.As(err, &refused) {
		fmt.Println("the host refused it:", refused.Detail)
		return
	}
	if scan, err = c.Wait(ctx, scan.ID, nil); err != nil {
		panic(err)
	}
	fmt.Println(scan.State)
	for f, err := range c.AllFindings(ctx, scan.ID, client.FindingsQuery{}) {
		if err != nil {
			panic(err)
		}
		fmt.Printf("%s %s:%d %s\n", f.Severity, f.Location.Path, f.Location.StartLine, f.Title)
	}
	// Output:
	// succeeded
	// high deploy.env:3 AWS key
}
