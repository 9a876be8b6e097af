package main

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/securetaghq/securetag/host"
)

// identity is a host's name among hosts: stable across restarts, so that Redis
// consumers do not pile up, and held under a file lock, so that whoever gets
// the name knows that the one before is dead and may give its jobs back at once.
type identity struct {
	name string
	key  string // the random part of name
	slot int    // its number among the hosts that share the data directory
	lock *os.File
}

// maxHosts is how many hosts may share one data directory.
const maxHosts = 64

// takeIdentity takes the first free name of dataDir. Hosts that share the
// directory get different ones; directories that were made apart never share
// one, because each name holds random text.
func takeIdentity(dataDir string) (*identity, error) {
	dir := filepath.Join(dataDir, "hosts")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("take a host name: %w", err)
	}
	for i := range maxHosts {
		lock, err := lockFile(filepath.Join(dir, strconv.Itoa(i)+".lock"))
		if errors.Is(err, host.ErrConflict) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("take a host name: %w", err)
		}
		id, err := keepRandom(filepath.Join(dir, strconv.Itoa(i)+".id"), 8)
		if err != nil {
			_ = lock.Close()
			return nil, fmt.Errorf("take a host name: %w", err)
		}
		machine, err := os.Hostname()
		if err != nil {
			machine = "host"
		}
		key := hex.EncodeToString(id)
		return &identity{name: machine + "-" + key, key: key, slot: i, lock: lock}, nil
	}
	return nil, fmt.Errorf("take a host name: %d hosts already use %s", maxHosts, dir)
}

// Close frees the name.
func (i *identity) Close() error { return i.lock.Close() }

// lockFile opens path and locks it until the file is closed or the process
// ends. host.ErrConflict when another process holds it.
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("%s is locked by another process: %w", path, host.ErrConflict)
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return f, nil
}

// keepRandom returns the n random bytes kept in a file, and makes them the
// first time. Hosts that race for it all get the same.
func keepRandom(path string, n int) ([]byte, error) {
	for range 3 {
		text, err := os.ReadFile(path)
		if err == nil {
			b, err := hex.DecodeString(string(bytes.TrimSpace(text)))
			if err != nil || len(b) != n {
				return nil, fmt.Errorf("%s does not hold %d bytes in hex: remove it to make a new one", path, n)
			}
			return b, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if err := writeNew(path, n); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
	}
	return nil, fmt.Errorf("%s comes and goes", path)
}

// writeNew writes n random bytes to a file that must not exist; others see it
// whole or not at all.
func writeNew(path string, n int) error {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never returns an error
	tmp, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(tmp.Name()) }()
	_, err = tmp.WriteString(hex.EncodeToString(b) + "\n")
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	return os.Link(tmp.Name(), path)
}
