package client

import (
	"context"
	"fmt"
	"io"
	"net/http"
)

// Report writes a scan and its findings to w as one document: "sarif", "csv",
// "jsonl" or "html". After an error w may have a part of it. A document says
// what is there now; that of a scan that goes on is not all there will be.
func (c *Client) Report(ctx context.Context, scan, format string, w io.Writer) error {
	r := request{method: http.MethodGet, path: scanPath(scan) + "/report", query: values("format", format)}
	resp, err := c.open(ctx, r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(w, resp.Body); err != nil {
		return &NetworkError{r.op(), fmt.Errorf("read report: %w", err)}
	}
	return nil
}

// open gives an answer whose body is not read into memory. The caller closes it.
func (c *Client) open(ctx context.Context, r request) (*http.Response, error) {
	resp, err := c.do(ctx, r)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, &NetworkError{r.op(), fmt.Errorf("read answer: %w", err)}
	}
	return nil, readError(resp, body)
}
