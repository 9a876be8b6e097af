// Package login keeps the server and the keys that `securetag login` was given,
// for the verbs that come after it.
//
// One file, login.json in the user's configuration directory, says which server
// it is and which of its keys are in the system's keyring. A key that no keyring
// took is in the file itself. Nobody but its owner may read or write the file,
// and one that others could is refused rather than repaired: its keys may be
// known already, and its server may not be the user's choice.
//
// There is one login at a time, and its keys are for its server alone: Key gives
// none for another.
package login

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
)

// ErrNone says that nobody is logged in.
var ErrNone = errors.New("not logged in")

// maxFile bounds what is read of the file, in bytes; what Save writes has some
// hundreds.
const maxFile = 64 << 10

// Kind is what a key opens.
type Kind string

// The kinds of keys; a login has at most one of each.
const (
	API      Kind = "api"      // a tenant's scans
	Operator Kind = "operator" // /admin
)

// Ring is the system's keyring. An account has one secret.
type Ring interface {
	// Set keeps a secret, in place of the account's last. It may wait for a
	// person who unlocks the keyring, as the others may.
	Set(ctx context.Context, account, secret string) error
	// Get fails when there is none.
	Get(ctx context.Context, account string) (string, error)
	// Remove takes one away; none is no error.
	Remove(ctx context.Context, account string) error
}

// Login is what the file says.
type Login struct {
	Server string          `json:"server"`            // canonical
	Keys   map[Kind]string `json:"keys,omitempty"`    // those that are in the file
	InRing []Kind          `json:"keyring,omitempty"` // those that are in the keyring
}

// Kinds are those of the keys that there are, in order.
func (l Login) Kinds() []Kind {
	out := slices.Clone(l.InRing)
	for k := range l.Keys {
		out = append(out, k)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// without is l with no key of a kind.
func (l Login) without(kind Kind) Login {
	out := Login{Server: l.Server, Keys: map[Kind]string{}}
	for k, v := range l.Keys {
		if k != kind {
			out.Keys[k] = v
		}
	}
	out.InRing = slices.DeleteFunc(slices.Clone(l.InRing), func(k Kind) bool { return k == kind })
	return out
}

// Store keeps a login. Not for concurrent use; two processes leave one of their
// files whole.
type Store struct {
	Dir  string // made when there is something to keep, with mode 0700
	Ring Ring   // nil: the system has none
}

// File is where the login is.
func (s Store) File() string { return filepath.Join(s.Dir, "login.json") }

// Read gives the login, or ErrNone.
func (s Store) Read() (Login, error) {
	raw, err := s.readFile()
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return Login{}, ErrNone
	}
	if err != nil {
		return Login{}, fmt.Errorf("read the login: %w", err)
	}
	var l Login
	if err := json.Unmarshal(raw, &l); err != nil {
		return Login{}, fmt.Errorf("read the login: %s is not as securetag login writes it (%w): log in again", s.File(), err)
	}
	if server, err := Canonical(l.Server); err != nil || server != l.Server {
		return Login{}, fmt.Errorf("read the login: %s names no server as securetag login writes it: log in again", s.File())
	}
	return l, nil
}

// readFile reads the file when it is its owner's alone. It looks at the file that
// it has open, which nobody can put another in place of.
func (s Store) readFile() ([]byte, error) {
	// Without waiting, should somebody have made a pipe of that name.
	f, err := os.OpenFile(s.File(), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	switch owner := info.Sys().(*syscall.Stat_t).Uid; {
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a file: remove it and log in again", s.File())
	case owner != uint32(os.Geteuid()):
		return nil, fmt.Errorf("%s belongs to user %d and not to you: remove it and log in again", s.File(), owner)
	case info.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("%s has mode %04o, so that others may know or change what it says: "+
			"when nobody did, chmod 600 it; else remove it, revoke the key and log in with another", s.File(), info.Mode().Perm())
	}
	raw, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(raw) > maxFile {
		err = fmt.Errorf("%s has over %d bytes: remove it and log in again", s.File(), maxFile)
	}
	return raw, err
}

// Key is the login's key of a kind; "" when it has none, or is for another server.
func (s Store) Key(ctx context.Context, l Login, server string, kind Kind) (string, error) {
	if !Same(l.Server, server) {
		return "", nil
	}
	if key := l.Keys[kind]; key != "" || !slices.Contains(l.InRing, kind) {
		return key, nil
	}
	if s.Ring == nil {
		return "", errors.New("the key is in the keyring of a desktop session, which cannot be reached from here: " +
			"log in here as well, or give the key by a flag or the environment")
	}
	key, err := s.Ring.Get(ctx, account(l.Server, kind))
	if err != nil {
		return "", fmt.Errorf("read the key from the keyring: %w", err)
	}
	return key, nil
}

func account(server string, kind Kind) string { return string(kind) + " " + server }

// Saved is what became of a login.
type Saved struct {
	InRing  bool  // in the keyring, else in the file
	RingErr error // why not in the keyring that there is
	Left    string
}

// Save keeps a key. The login's other keys stay when they are for the same
// server; Left is the server that they were for when it was another.
func (s Store) Save(ctx context.Context, server string, kind Kind, key string) (Saved, error) {
	var saved Saved
	server, err := Canonical(server)
	if err != nil {
		return saved, err
	}
	old, _ := s.Read() // one that is refused is replaced
	next := Login{Server: server, Keys: map[Kind]string{}}
	if old.Server == server {
		next = old.without(kind)
	} else if saved.Left = old.Server; saved.Left != "" {
		_ = s.clear(ctx, old) // what is left there opens nothing here
	}
	if s.Ring != nil {
		saved.RingErr = s.Ring.Set(ctx, account(server, kind), key)
		saved.InRing = saved.RingErr == nil
	}
	if saved.InRing {
		next.InRing = append(next.InRing, kind)
	} else {
		next.Keys[kind] = key
	}
	if err := s.writeFile(next); err != nil {
		return saved, fmt.Errorf("keep the login: %w", err)
	}
	return saved, nil
}

// writeFile replaces the file with one that is whole.
func (s Store) writeFile(l Login) error {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(l); err != nil {
		return err
	}
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(s.Dir, ".login-*") // with mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // there is none after a success
	_, err = f.Write(out.Bytes())
	for _, end := range []func() error{f.Sync, f.Close} {
		if e := end(); err == nil {
			err = e
		}
	}
	if err == nil {
		err = os.Rename(f.Name(), s.File())
	}
	return err
}

// Remove forgets the login, also one that Read refuses, and gives what it was;
// ErrNone when there was none. The file is gone even when the keyring keeps a key.
func (s Store) Remove(ctx context.Context) (Login, error) {
	l, err := s.Read()
	if errors.Is(err, ErrNone) {
		return l, err
	}
	err = nil // whatever is wrong with it, it goes
	if l.Server != "" {
		err = s.clear(ctx, l)
	}
	if rerr := os.Remove(s.File()); rerr != nil {
		return l, errors.Join(err, fmt.Errorf("remove the login: %w", rerr))
	}
	return l, err
}

// clear takes a login's keys out of the keyring.
func (s Store) clear(ctx context.Context, l Login) error {
	var errs []error
	for _, kind := range l.InRing {
		err := errors.New("it cannot be reached from here")
		if s.Ring != nil {
			err = s.Ring.Remove(ctx, account(l.Server, kind))
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("remove %q from the keyring: %w", account(l.Server, kind), err))
		}
	}
	return errors.Join(errs...)
}
