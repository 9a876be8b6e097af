package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/cmd/securetag/internal/login"
	"github.com/securetaghq/securetag/cmd/securetag/internal/report"
	"github.com/securetaghq/securetag/host/apikey"
	"github.com/securetaghq/securetag/internal/safetext"
)

func (p *program) loginCommand() *cobra.Command {
	var server string
	cmd := &cobra.Command{
		Use: "login", Short: "Keep a server and a key for the verbs that talk to one",
		Long: `login asks for a key, or reads it from standard input when that is no terminal,
tries it on the server and keeps both for this user: the key in the system's
keyring where the session has one, else in a file that only this user can read.

The verbs that talk to a server then need neither --server nor --key. Both, and
` + envServer + ` and ` + envKey + `, still come first, and the key
that is kept goes to no server but its own. A tenant's key and an operator's can
be kept side by side; each verb takes the one that it needs. There is one server
at a time.`,
		Example: `  securetag login --server https://scans.example.com
  securetag login --server https://scans.example.com <key.txt`,
		Args: args(cobra.NoArgs),
	}
	cmd.Flags().StringVar(&server, "server", "", "URL of the server (default $"+envServer+", then that of the last login)")
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return p.login(cmd.Context(), server, *asJSON) }
	return cmd
}

// loginView is a login as JSON.
type loginView struct {
	Server string     `json:"server"`
	Kind   login.Kind `json:"kind"`
	KeptIn string     `json:"kept_in"` // keyring or file
	File   string     `json:"file"`
}

func (p *program) login(ctx context.Context, server string, asJSON bool) error {
	store, ok := p.loginStore()
	if !ok {
		return usageError{errors.New("there is no home to keep a login in: set HOME or XDG_CONFIG_HOME, or use " + envServer + " and " + envKey)}
	}
	old, _ := store.Read() // one that is refused is replaced
	if server = first(server, p.getenv(envServer), old.Server); server == "" {
		return usageError{errors.New("which server? Give --server, such as https://scans.example.com")}
	}
	server, err := login.Canonical(server)
	if err != nil {
		return usageError{err}
	}
	if inClear(server) {
		fmt.Fprintf(p.stderr, "Warning: %s is not encrypted: everybody on the way can read the key.\n", server)
	}
	key, err := p.readSecret(ctx, "Key for "+server+": ")
	if err != nil {
		return err
	}
	kind, err := kindOf(key)
	if err != nil {
		return usageError{err}
	}
	if err := p.tryKey(ctx, server, kind, key); err != nil {
		return fmt.Errorf("log in to %s: %w", server, err)
	}
	saved, err := store.Save(ctx, server, kind, key)
	if err != nil {
		return err
	}
	return p.printLogin(loginView{server, kind, map[bool]string{true: "keyring", false: "file"}[saved.InRing], store.File()}, saved, asJSON)
}

func (p *program) printLogin(v loginView, saved login.Saved, asJSON bool) error {
	if saved.RingErr != nil {
		fmt.Fprintln(p.stderr, "Warning: the keyring did not take the key: "+safetext.Plain(saved.RingErr.Error()))
	}
	if asJSON {
		return report.Document(p.stdout, v)
	}
	if saved.Left != "" {
		fmt.Fprintf(p.stdout, "Logged out of %s.\n", safetext.Plain(saved.Left))
	}
	what, where := "a tenant's key", "in the keyring"
	if v.Kind == login.Operator {
		what = "an operator's key"
	}
	if !saved.InRing {
		where = "in " + v.File
	}
	fmt.Fprintf(p.stdout, "Logged in to %s with %s, which is kept %s.\n", v.Server, what, where)
	return nil
}

// kindOf says what a key opens. It finds a key that was not copied whole before
// anybody is asked.
func kindOf(key string) (login.Kind, error) {
	if _, ok := apikey.Parse(key); ok {
		return login.API, nil
	}
	if _, ok := apikey.ParseOperator(key); ok {
		return login.Operator, nil
	}
	return "", errors.New("this is no key: one begins with stag_, or stagop_ for an operator, and ends as securetag key create printed it")
}

// tryKey asks the server for something that the key opens.
func (p *program) tryKey(ctx context.Context, server string, kind login.Kind, key string) error {
	c, err := client.New(server, key, client.Options{UserAgent: "securetag/" + p.version})
	if err != nil {
		return usageError{err}
	}
	if kind == login.Operator {
		_, err = c.QueueStats(ctx)
	} else {
		_, err = c.Usage(ctx)
	}
	refused, ok := errors.AsType[*client.Error](err)
	if ok && refused.StatusCode == http.StatusForbidden && refused.Code == "insufficient_scope" {
		return nil // it is known, and may do something else
	}
	return err
}

// inClear reports whether what goes to a server can be read on the way.
func inClear(server string) bool {
	u, err := url.Parse(server)
	if err != nil || u.Scheme != "http" {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() != "localhost" && !strings.HasSuffix(u.Hostname(), ".localhost") && (ip == nil || !ip.IsLoopback())
}

func (p *program) logoutCommand() *cobra.Command {
	return &cobra.Command{
		Use: "logout", Short: "Forget what login kept",
		Long: `logout removes the server and the keys that login kept. The keys themselves stay
good until somebody revokes them: see securetag key revoke.`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			store, ok := p.loginStore()
			if !ok {
				fmt.Fprintln(p.stdout, "Not logged in.")
				return nil
			}
			l, err := store.Remove(cmd.Context())
			switch {
			case errors.Is(err, login.ErrNone):
				fmt.Fprintln(p.stdout, "Not logged in.")
				return nil
			case err != nil:
				return err
			case l.Server == "":
				fmt.Fprintln(p.stdout, "Removed "+store.File()+".")
			default:
				fmt.Fprintf(p.stdout, "Logged out of %s.\n", l.Server)
			}
			return nil
		},
	}
}
