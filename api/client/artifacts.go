package client

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/url"
	"time"
)

// Artifact is a file that a job produced: an SBOM, a raw report.
type Artifact struct {
	ID        string    `json:"id" format:"uuid"`
	ScanID    string    `json:"scan_id" format:"uuid"`
	JobID     string    `json:"job_id" format:"uuid"`
	Plugin    string    `json:"plugin"`
	Name      string    `json:"name" doc:"A file name, unique among the job's artifacts." example:"sbom.cdx.json"`
	MediaType string    `json:"media_type" doc:"What the plugin says it is." example:"application/vnd.cyclonedx+json"`
	Size      int64     `json:"size" doc:"Bytes."`
	SHA256    string    `json:"sha256" doc:"Lower-case hex, computed by the host."`
	CreatedAt time.Time `json:"created_at"`
}

// Artifacts lists what the jobs of a scan produced so far, by plugin and name.
func (c *Client) Artifacts(ctx context.Context, scan string) ([]Artifact, error) {
	var p Page[Artifact]
	_, err := c.get(ctx, scanPath(scan)+"/artifacts", nil, &p)
	return p.Items, err
}

// Download writes the content of an artifact to w. When it returns nil, w has
// all of it and its SHA-256 is the artifact's; after an error w may have a part.
func (c *Client) Download(ctx context.Context, a Artifact, w io.Writer) error {
	r := request{method: "GET", path: scanPath(a.ScanID) + "/artifacts/" + url.PathEscape(a.ID)}
	resp, err := c.open(ctx, r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(w, sum), io.LimitReader(resp.Body, a.Size+1))
	switch {
	case err != nil:
		return &NetworkError{r.op(), fmt.Errorf("read artifact %q: %w", a.Name, err)}
	case n != a.Size || hex.EncodeToString(sum.Sum(nil)) != a.SHA256:
		return &NetworkError{r.op(), fmt.Errorf("artifact %q arrived as %d bytes with another SHA-256 than the host said: try again", a.Name, n)}
	}
	return nil
}
