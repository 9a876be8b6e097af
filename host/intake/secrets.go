package intake

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/securetaghq/securetag/host"
)

// Sealer keeps secrets from who reads the store.
type Sealer interface {
	// Seal makes the box of a scan.
	Seal(t host.TenantID, s host.ScanID, content []byte) []byte
	// Fingerprint tells whether two requests have the same secrets. Nobody can try
	// out by it what they are.
	Fingerprint(t host.TenantID, content []byte) []byte
}

// secretNames are the options that the plugins of a scan type call sensitive.
type secretNames struct {
	of      map[string][]string // by plugin
	unknown []string            // plugins of which this host cannot say it
}

func (in *Intake) secretNames(ctx context.Context, t ScanType) secretNames {
	n := secretNames{of: map[string][]string{}}
	for _, p := range t.Plugins {
		if in.cfg.SecretOptions == nil {
			continue
		}
		names, known := in.cfg.SecretOptions(ctx, p)
		if !known {
			n.unknown = append(n.unknown, p)
		}
		n.of[p] = names
	}
	return n
}

// all lists them, sorted.
func (n secretNames) all() []string {
	var out []string
	for _, names := range n.of {
		out = append(out, names...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// CheckSecrets holds what a client gives with a scan of a type against what its
// plugins call secret: none of it may stand among the options, where everybody who
// may see the scan would see it, and all of the secrets must be taken. A [*Refusal]
// names everything that is wrong, and repeats no value.
func (in *Intake) CheckSecrets(ctx context.Context, scanType string, options, secrets json.RawMessage) error {
	types := in.rules.Load().types
	i := slices.IndexFunc(types, func(t ScanType) bool { return t.Name == scanType })
	if i < 0 {
		return refuse(host.ErrNotFound, "unknown_scan_type", "", "There is no scan type %.64q.", scanType)
	}
	_, _, err := in.checkSecrets(ctx, types[i], options, secrets)
	return err
}

// checkSecrets is CheckSecrets of a type. It gives the secrets in one spelling, and
// each by its name.
func (in *Intake) checkSecrets(ctx context.Context, t ScanType, options, secrets json.RawMessage) (content []byte, given map[string]json.RawMessage, err error) {
	if len(options) == 0 && len(secrets) == 0 {
		return nil, nil, nil
	}
	names := in.secretNames(ctx, t)
	if faults := names.shown(options, t); len(faults) > 0 {
		return nil, nil, faulty(faults)
	}
	content, given, err = parseSecrets(secrets)
	if err != nil || len(given) == 0 {
		return nil, nil, err
	}
	if in.cfg.Sealer == nil {
		return nil, nil, refuse(host.ErrInvalid, "", "secrets", "This host has no key and takes no secrets.")
	}
	if faults := names.faults(given, t); len(faults) > 0 {
		return nil, nil, faulty(faults)
	}
	return content, given, nil
}

// keepSecrets puts the secrets of a request into the scan's box.
func (in *Intake) keepSecrets(ctx context.Context, req Request, t ScanType, scan *host.Scan) error {
	content, given, err := in.checkSecrets(ctx, t, req.Options, req.Secrets)
	if err != nil || len(given) == 0 {
		return err
	}
	scan.SecretOptions = slices.Sorted(maps.Keys(given))
	scan.Secrets = in.cfg.Sealer.Seal(scan.TenantID, scan.ID, content)
	return nil
}

func faulty(faults []Fault) error {
	return &Refusal{Field: faults[0].Field, Detail: faults[0].Detail, Faults: faults, Err: host.ErrInvalid}
}

// shown lists the secret options among those that are shown.
func (n secretNames) shown(options json.RawMessage, t ScanType) (out []Fault) {
	var given map[string]json.RawMessage
	if json.Unmarshal(options, &given) != nil {
		return nil // it is checked elsewhere
	}
	secret := n.all()
	for _, name := range slices.Sorted(maps.Keys(given)) {
		var own map[string]json.RawMessage
		if !slices.Contains(t.Plugins, name) || json.Unmarshal(given[name], &own) != nil {
			own = nil
			if slices.Contains(secret, name) {
				out = append(out, misplaced(name, "options/"+escape(name)))
			}
		}
		for _, option := range slices.Sorted(maps.Keys(own)) {
			if slices.Contains(n.of[name], option) {
				out = append(out, misplaced(option, "options/"+escape(name)+"/"+escape(option)))
			}
		}
	}
	return out
}

func misplaced(name, field string) Fault {
	return Fault{Field: field, Detail: fmt.Sprintf("The option %q is secret, and options are shown with the scan: give it in the object secrets.", name)}
}

// escape is that of a JSON pointer (RFC 6901).
func escape(name string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(fmt.Sprintf("%.64s", name))
}

// faults lists the secrets that no plugin of the type takes. A scan without them
// would be another one.
func (n secretNames) faults(given map[string]json.RawMessage, t ScanType) (out []Fault) {
	secret := n.all()
	for _, name := range slices.Sorted(maps.Keys(given)) {
		field := "secrets/" + escape(name)
		switch {
		case slices.Contains(secret, name):
		case len(n.unknown) > 0:
			out = append(out, Fault{field, fmt.Sprintf("Whether scan type %q takes the secret %.64q is not known here: no host has started its plugin %s yet. Try again when one has.", t.Name, name, strings.Join(n.unknown, ", "))})
		case len(secret) == 0:
			out = append(out, Fault{field, fmt.Sprintf("Scan type %q takes no secrets.", t.Name)})
		default:
			out = append(out, Fault{field, fmt.Sprintf("Scan type %q takes no secret %.64q. Its secrets are %s.", t.Name, name, strings.Join(secret, ", "))})
		}
	}
	return out
}

// parseSecrets reads the object secrets: within the bounds of options, in one
// spelling. What it refuses it does not repeat.
func parseSecrets(raw json.RawMessage) (compact []byte, given map[string]json.RawMessage, err error) {
	bad := func(detail string) ([]byte, map[string]json.RawMessage, error) {
		return nil, nil, refuse(host.ErrInvalid, "", "secrets", "%s", detail)
	}
	if len(bytes.TrimSpace(raw)) == 0 {
		return nil, nil, nil
	}
	if len(raw) > MaxOptions {
		return bad(fmt.Sprintf("The secrets are larger than %d bytes.", MaxOptions))
	}
	compact, err = ParseOptions(raw)
	if err != nil {
		return bad(fmt.Sprintf("The secrets must be one JSON object, nested at most %d deep, of text that can be stored.", MaxOptionsDepth))
	}
	if compact == nil { // null
		return nil, nil, nil
	}
	if err := json.Unmarshal(compact, &given); err != nil {
		return nil, nil, fmt.Errorf("read secrets: %w", err) // ParseOptions made them
	}
	return compact, given, nil
}

// secretsDigest is what the secrets add to the digest of a request; "" without any.
func (in *Intake) secretsDigest(req Request) string {
	content, given, err := parseSecrets(req.Secrets)
	if err != nil || len(given) == 0 || in.cfg.Sealer == nil {
		return ""
	}
	return string(in.cfg.Sealer.Fingerprint(req.Tenant, content))
}
