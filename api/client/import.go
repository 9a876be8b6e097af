package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"net/http"
)

// MaxSARIF is what no host takes more of in ImportSARIF, in bytes.
const MaxSARIF = 32 << 20

// ImportSARIF gives a project the report of a scanner that ran elsewhere, a SARIF
// 2.1.0 log, and returns the scan that reads it as accepted. The project must be
// there. key is that of StartOptions; "" is a random one. Whatever is lost on the
// way there is one scan.
func (c *Client) ImportSARIF(ctx context.Context, project string, log []byte, key string) (Scan, error) {
	if key == "" {
		key = rand.Text()
	}
	var s Scan
	_, err := c.tryAgain(ctx, func() (http.Header, error) {
		return c.send(ctx, request{
			method: http.MethodPost, path: projectPath(project) + "/sarif", key: key, expect: true,
			contentType: "application/sarif+json", body: bytes.NewReader(log), size: int64(len(log)),
		}, &s)
	})
	return s, err
}
