package client

import "context"

// Setting is one that is in force on a host.
type Setting struct {
	Path    string `json:"path"`
	Value   string `json:"value" doc:"As in the file; what is sensitive is not shown."`
	Source  string `json:"source" doc:"default, a place in a file, a variable or a flag."`
	Restart bool   `json:"needs_restart" doc:"A change waits until the host is started again."`
}

// ConfigChange is a setting, or a whole block with a name, that the file has
// differently from what is in force.
type ConfigChange struct {
	Action  string `json:"action" enum:"changed,added,removed"`
	Path    string `json:"path"`
	Old     string `json:"old,omitempty" doc:"As in the file; left out for a block. What is sensitive is not shown."`
	New     string `json:"new,omitempty"`
	Source  string `json:"source" doc:"Where the new value is; of a block that is gone, where it was."`
	Restart bool   `json:"needs_restart" doc:"It waits until the host is started again."`
	Because string `json:"because,omitempty" doc:"Why it waits, where the setting by itself would not."`
}

// ConfigReload is what became of reading the configuration again, or would.
type ConfigReload struct {
	Changes []ConfigChange `json:"changes" doc:"Those that wait for a restart, too, as long as they do."`
	Plugins []string       `json:"plugins" doc:"Plugins that begin anew: new jobs get new processes, running ones keep theirs."`
	Waiting int            `json:"waiting" doc:"How many changes wait for a restart."`
}

// Settings lists what is in force on the host that answers. It takes an
// operator's key.
func (c *Client) Settings(ctx context.Context) ([]Setting, error) {
	var p Page[Setting]
	_, err := c.get(ctx, "/admin/config", nil, &p)
	return p.Items, err
}

// PreviewReload says what Reload would change on the host that answers. It takes
// an operator's key.
func (c *Client) PreviewReload(ctx context.Context) (ConfigReload, error) {
	var r ConfigReload
	_, err := c.get(ctx, "/admin/reload", nil, &r)
	return r, err
}

// Reload makes the host that answers read its configuration again. It takes an
// operator's key.
func (c *Client) Reload(ctx context.Context) (ConfigReload, error) {
	var r ConfigReload
	err := c.postJSON(ctx, "/admin/reload", nil, &r)
	return r, err
}
