package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/cmd/securetag/internal/login"
)

// serverKey says which server a verb asks, and with which key. What its flags
// leave open the environment says, and then the login.
type serverKey struct {
	server, key string
	kind        login.Kind // of the key; "" is login.API
}

func (r *serverKey) flags(cmd *cobra.Command) {
	what := "API key"
	if r.kind == login.Operator {
		what = "operator's key"
	}
	cmd.Flags().StringVar(&r.server, "server", "", "URL of the server (default $"+envServer+", then that of securetag login)")
	cmd.Flags().StringVar(&r.key, "key", "", what+" (default $"+envKey+", then that of securetag login for the same server)")
}

// dial makes the client of a verb: the one place that says where its server and
// key come from.
func (p *program) dial(ctx context.Context, r serverKey) (*client.Client, error) {
	r, err := p.resolve(ctx, r)
	if err == nil {
		err = r.whole()
	}
	if err != nil {
		return nil, err
	}
	if !strings.Contains(r.server, "://") {
		return nil, usageError{fmt.Errorf("--server %q: give a whole URL, such as https://scans.example.com", r.server)}
	}
	c, err := client.New(r.server, r.key, client.Options{UserAgent: "securetag/" + p.version})
	if err != nil {
		return nil, usageError{err}
	}
	return c, nil
}

// resolve fills in what the flags leave open. The key of a login is for its own
// server alone, whoever names another.
func (p *program) resolve(ctx context.Context, r serverKey) (serverKey, error) {
	if r.kind == "" {
		r.kind = login.API
	}
	r.server, r.key = first(r.server, p.getenv(envServer)), first(r.key, p.getenv(envKey))
	if r.server != "" && r.key != "" {
		return r, nil
	}
	store, ok := p.loginStore()
	if !ok {
		return r, nil
	}
	l, err := store.Read()
	if errors.Is(err, login.ErrNone) {
		return r, nil
	}
	if err != nil {
		return r, usageError{err}
	}
	r.server = first(r.server, l.Server)
	if r.key == "" {
		r.key, err = store.Key(ctx, l, r.server, r.kind)
	}
	return r, err
}

// whole says what is missing.
func (r serverKey) whole() error {
	switch {
	case r.server == "":
		return usageError{fmt.Errorf("which server? Log in with securetag login, or give --server and --key or set %s and %s", envServer, envKey)}
	case r.key == "" && r.kind == login.Operator:
		return usageError{fmt.Errorf("%s needs an operator's key: give --key, set %s, or log in there with one; securetag operator create makes one", r.server, envKey)}
	case r.key == "":
		return usageError{fmt.Errorf("%s needs a key: give --key, set %s, or log in there with securetag login", r.server, envKey)}
	}
	return nil
}

// loginStore is where the login of this user is; there is none for a user
// without a home.
func (p *program) loginStore() (login.Store, bool) {
	dir := p.getenv("XDG_CONFIG_HOME")
	if !filepath.IsAbs(dir) { // as the specification has it
		if dir = p.getenv("HOME"); dir == "" {
			return login.Store{}, false
		}
		dir = filepath.Join(dir, ".config")
	}
	return login.Store{Dir: filepath.Join(dir, "securetag"), Ring: login.SystemRing(p.getenv)}, true
}
