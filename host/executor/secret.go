package executor

import (
	"context"

	"github.com/securetaghq/securetag/host/executor/catalog"
)

// SecretOptions names the options of a plugin that it calls sensitive, and says
// whether that is known: it is not while the plugin cannot be started. The first
// time it may start it; after that it costs nothing.
func (e *Executor) SecretOptions(ctx context.Context, name string) (names []string, known bool) {
	k := e.keeper(name)
	if k == nil {
		return nil, false
	}
	k.mu.Lock()
	info := k.info
	k.mu.Unlock()
	if info != nil {
		return info.Secret, true
	}
	asked, err := e.Known(ctx, name)
	return asked.Secret, err == nil
}

// RememberedSecretOptions is SecretOptions for a host that runs no plugins: what
// another one, with the same directory of descriptions, heard of the program that
// is pinned. It starts nothing.
func RememberedSecretOptions(describeDir string, p Plugin) (names []string, known bool) {
	d := catalog.Cache{Dir: describeDir}.Get(catalog.Key(p.SHA256, p.Args))
	if d == nil {
		return nil, false
	}
	info, _, err := newInfo(d)
	return info.Secret, err == nil
}
