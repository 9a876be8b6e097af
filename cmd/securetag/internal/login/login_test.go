package login_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/cmd/securetag/internal/login"
)

const (
	here  = "https://scans.example.com"
	there = "https://other.example.com"
)

// ring is a keyring in memory.
type ring struct {
	secrets map[string]string
	err     error // of Set
}

func (r *ring) Set(_ context.Context, account, secret string) error {
	if r.err == nil {
		r.secrets[account] = secret
	}
	return r.err
}

func (r *ring) Get(_ context.Context, account string) (string, error) {
	if s, ok := r.secrets[account]; ok {
		return s, nil
	}
	return "", errors.New("no such secret")
}

func (r *ring) Remove(_ context.Context, account string) error {
	delete(r.secrets, account)
	return nil
}

func save(t *testing.T, s login.Store, server string, kind login.Kind, key string) login.Saved {
	t.Helper()
	saved, err := s.Save(t.Context(), server, kind, key)
	if err != nil {
		t.Fatal(err)
	}
	return saved
}

// key is what a verb gets for a server.
func key(t *testing.T, s login.Store, server string, kind login.Kind) string {
	t.Helper()
	l, err := s.Read()
	if err != nil {
		t.Fatal(err)
	}
	k, err := s.Key(t.Context(), l, server, kind)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestFile(t *testing.T) {
	t.Parallel()
	s := login.Store{Dir: filepath.Join(t.TempDir(), "config", "securetag")}
	if _, err := s.Read(); !errors.Is(err, login.ErrNone) {
		t.Fatalf("before a login: %v", err)
	}
	if saved := save(t, s, "https://Scans.example.com:443/", login.API, "one"); saved != (login.Saved{}) {
		t.Errorf("got %+v", saved)
	}
	save(t, s, here, login.Operator, "two")
	for path, want := range map[string]os.FileMode{s.File(): 0o600, s.Dir: os.ModeDir | 0o700} {
		if info, err := os.Stat(path); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v; want %v", path, info.Mode(), err, want)
		}
	}
	got := []string{key(t, s, here, login.API), key(t, s, here, login.Operator), key(t, s, there, login.API)}
	if diff := cmp.Diff([]string{"one", "two", ""}, got); diff != "" {
		t.Error(diff)
	}
	save(t, s, here, login.API, "three")
	if got := key(t, s, here, login.API) + key(t, s, here, login.Operator); got != "threetwo" {
		t.Errorf("after another key of one kind: %s", got)
	}
	if saved := save(t, s, there, login.API, "four"); saved.Left != here {
		t.Errorf("left %q, want %s", saved.Left, here)
	}
	if got := key(t, s, here, login.API) + key(t, s, there, login.Operator); got != "" {
		t.Errorf("another server leaves %q", got)
	}
	if l, err := s.Remove(t.Context()); err != nil || l.Server != there {
		t.Errorf("%+v, %v", l, err)
	}
	if _, err := s.Remove(t.Context()); !errors.Is(err, login.ErrNone) {
		t.Errorf("removed twice: %v", err)
	}
	if left, err := os.ReadDir(s.Dir); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

func TestRing(t *testing.T) {
	t.Parallel()
	r := &ring{secrets: map[string]string{}}
	s := login.Store{Dir: t.TempDir(), Ring: r}
	if saved := save(t, s, here, login.API, "in-the-ring"); !saved.InRing {
		t.Errorf("got %+v", saved)
	}
	if raw, err := os.ReadFile(s.File()); err != nil || strings.Contains(string(raw), "in-the-ring") {
		t.Errorf("the file has the key as well: %s, %v", raw, err)
	}
	if got := key(t, s, here, login.API) + key(t, s, there, login.API); got != "in-the-ring" {
		t.Errorf("got %q", got)
	}
	// The same user, without the desktop's session.
	l, err := s.Read()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (login.Store{Dir: s.Dir}).Key(t.Context(), l, here, login.API); err == nil {
		t.Error("there is a key without a keyring")
	}
	r.err = errors.New("locked")
	if saved := save(t, s, here, login.Operator, "two"); saved.InRing || saved.RingErr == nil {
		t.Errorf("a keyring that refuses: %+v", saved)
	}
	if got := key(t, s, here, login.API) + key(t, s, here, login.Operator); got != "in-the-ringtwo" {
		t.Errorf("got %q", got)
	}
	if _, err := s.Remove(t.Context()); err != nil || len(r.secrets) > 0 {
		t.Errorf("left in the keyring: %v, %v", r.secrets, err)
	}
}

// TestRefused: a file that is not its owner's alone gives no server and no key,
// and a new login replaces it.
func TestRefused(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		make func(file string) error
		want string
	}{
		{"others may read it", func(f string) error { return os.Chmod(f, 0o604) }, "chmod 600"},
		{"its group may write it", func(f string) error { return os.Chmod(f, 0o620) }, "has mode 0620"},
		{"not JSON", func(f string) error { return os.WriteFile(f, []byte("{"), 0o600) }, "log in again"},
		{"no server", func(f string) error { return os.WriteFile(f, []byte("{}"), 0o600) }, "names no server"},
		{"a server that is no URL", func(f string) error { return os.WriteFile(f, []byte(`{"server":"file:///x"}`), 0o600) }, "names no server"},
		{"too large", func(f string) error { return os.Truncate(f, 1<<20) }, "over 65536 bytes"},
		{"a pipe", func(f string) error { return errors.Join(os.Remove(f), syscall.Mkfifo(f, 0o600)) }, "is not a file"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := login.Store{Dir: t.TempDir()}
			save(t, s, here, login.API, "known")
			if err := tt.make(s.File()); err != nil {
				t.Fatal(err)
			}
			if l, err := s.Read(); err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "known") {
				t.Errorf("%+v, %v", l, err)
			}
			save(t, s, here, login.API, "new")
			if got := key(t, s, here, login.API); got != "new" {
				t.Errorf("after a new login: %q", got)
			}
			if err := tt.make(s.File()); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Remove(t.Context()); err != nil {
				t.Error(err)
			}
			if _, err := s.Read(); !errors.Is(err, login.ErrNone) {
				t.Errorf("after logout: %v", err)
			}
		})
	}
}

func TestSame(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{here, here, true},
		{here, "HTTPS://SCANS.example.com:443/", true},
		{here + "/a", here + "/a/", true},
		{"http://[::1]:80", "http://[::1]", true},
		{here, "http://scans.example.com", false},
		{here, "http://scans.example.com:443", false},
		{here, here + ":8443", false},
		{here, here + ".evil.example", false},
		{here, "https://scans.example.com@evil.example", false},
		{here, here + "/a", false},
		{here + "/a", here + "/A", false},
		{here + "/a/b", here + "/a%2Fb", false},
		{"", "", false},
		{"x", "x", false},
		{"http://", "http://", false},
	} {
		if got := login.Same(tt.a, tt.b); got != tt.want {
			t.Errorf("%q and %q: %v", tt.a, tt.b, got)
		}
	}
}
