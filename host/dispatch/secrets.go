package dispatch

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/securetaghq/securetag/host"
)

var errNoKeys = errors.New("this host has no keys")

// secrets opens the secret options of a scan, now that a job of it starts. Without
// them it must not: what it would find as a stranger is not what was asked for.
func (d *Dispatcher) secrets(s host.Scan) (map[string]json.RawMessage, error) {
	if len(s.SecretOptions) == 0 {
		return nil, nil
	}
	if len(s.Secrets) == 0 {
		return nil, &host.Fault{Code: host.CodeSecretsGone, Message: fmt.Sprintf(
			"not started: its secrets are gone (%s), which are kept until a scan has ended: start a new scan and give them again", strings.Join(s.SecretOptions, ", "))}
	}
	open := d.cfg.Secrets
	if open == nil {
		open = func(host.Scan) (map[string]json.RawMessage, error) { return nil, errNoKeys }
	}
	secret, err := open(s)
	if err != nil { // another host may have the key
		return nil, &host.Fault{Code: host.CodeInternal, Retryable: true, Err: err,
			Message: "not started: this host cannot open the secrets of the scan: its operator gives every host the same secrets.key"}
	}
	return secret, nil
}
