package client

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// Target is a host that you say is yours, to be scanned by URL.
type Target struct {
	ID        string     `json:"id" format:"uuid"`
	Host      string     `json:"host" doc:"A name, alone or with a port."`
	Token     string     `json:"token" doc:"What to publish. It is no secret: it proves the host for your tenant only."`
	DNS       TargetDNS  `json:"dns" doc:"One of two ways to publish it: covers every port of the host, and every name below it."`
	File      TargetFile `json:"file" doc:"The other: covers the ports 80 and 443 of the host, or the port that it names, and nothing below."`
	Proven    bool       `json:"proven" doc:"Whether it may be scanned now."`
	Proof     string     `json:"proof,omitempty" enum:"dns,well_known" doc:"Where the token was found."`
	ProvenAt  *time.Time `json:"proven_at,omitempty" doc:"When it was last found there."`
	ExpiresAt *time.Time `json:"expires_at,omitempty" doc:"When the proof ends unless the token is found again, which the host looks for by itself."`
	CheckedAt *time.Time `json:"checked_at,omitempty" doc:"When it was last looked for."`
	Problem   string     `json:"problem,omitempty" doc:"Why it was not found then, in words."`
	CreatedAt time.Time  `json:"created_at"`
}

// TargetDNS is a TXT record to make.
type TargetDNS struct {
	Name  string `json:"name" example:"_securetag-challenge.shop.example.com"`
	Type  string `json:"type" enum:"TXT"`
	Value string `json:"value"`
}

// TargetFile is a file to serve.
type TargetFile struct {
	URL     string `json:"url" example:"https://shop.example.com/.well-known/securetag-challenge.txt" doc:"Over https with a certificate that is trusted. Redirects are not followed."`
	Content string `json:"content" doc:"All of it; white space around it does no harm."`
}

func targetPath(id string) string { return "/targets/" + url.PathEscape(id) }

// Targets lists them, by host.
func (c *Client) Targets(ctx context.Context) ([]Target, error) {
	var p Page[Target]
	_, err := c.get(ctx, "/targets", nil, &p)
	return p.Items, err
}

// Target gives one.
func (c *Client) Target(ctx context.Context, id string) (Target, error) {
	var t Target
	_, err := c.get(ctx, targetPath(id), nil, &t)
	return t, err
}

// CreateTarget registers a host. Its answer says what to publish.
func (c *Client) CreateTarget(ctx context.Context, host string) (Target, error) {
	var t Target
	err := c.postJSON(ctx, "/targets", struct {
		Host string `json:"host"`
	}{host}, &t)
	return t, err
}

// VerifyTarget looks for the token now. That it is not there is no error: see
// Proven and Problem.
func (c *Client) VerifyTarget(ctx context.Context, id string) (Target, error) {
	var t Target
	err := c.postJSON(ctx, targetPath(id)+"/verify", nil, &t)
	return t, err
}

// DeleteTarget removes one, and its proof with it.
func (c *Client) DeleteTarget(ctx context.Context, id string) error {
	_, err := c.send(ctx, request{method: http.MethodDelete, path: targetPath(id)}, nil)
	return err
}
