package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	bolt "go.etcd.io/bbolt"
)

const (
	databaseFile   = "advisories.db"
	databaseFormat = 2               // with the names of keyOf
	lockTimeout    = 2 * time.Second // nobody writes to a database that is in place
)

var metaBucket, metaKey = []byte("\x00meta"), []byte("meta") //nolint:gochecknoglobals // never written

// meta is what a database says of itself.
type meta struct {
	Format     int             `json:"format"`
	Made       time.Time       `json:"made"`   // by "update"
	Newest     time.Time       `json:"newest"` // when the advisory that changed last did
	Source     string          `json:"source"`
	Advisories map[string]int  `json:"advisories"` // by ecosystem: pairs of package and advisory
	Ecosystems map[string]pace `json:"ecosystems"` // when advisories of each come
	Skipped    int             `json:"skipped"`    // records that could not be read
}

// database is a file with a bucket for each ecosystem, whose keys are the
// package, a zero byte and the id of the advisory. Looking up a package reads a
// few pages of it, however large it is.
type database struct {
	bolt *bolt.DB
	meta meta
}

func openDatabase(dir string) (db *database, err error) {
	path := filepath.Join(dir, databaseFile)
	defer damaged(func() {
		db, err = nil, fmt.Errorf("open %s: it is damaged; make it again with \"dependencies update\"", path)
	})()
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("there is no %s: fill the directory with \"dependencies update\", and name it in the plugin's read", path)
	case err != nil:
		return nil, err
	case info.Size() == 0:
		return nil, fmt.Errorf("%s is empty: make it again with \"dependencies update\"", path)
	}
	b, err := bolt.Open(path, 0, &bolt.Options{ReadOnly: true, Timeout: lockTimeout})
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	db = &database{bolt: b}
	err = b.View(func(tx *bolt.Tx) error {
		bucket := tx.Bucket(metaBucket)
		if bucket == nil {
			return errors.New("it says nothing of itself")
		}
		return json.Unmarshal(bucket.Get(metaKey), &db.meta)
	})
	if err == nil && db.meta.Format != databaseFormat {
		err = fmt.Errorf("it is of format %d, and this plugin reads %d", db.meta.Format, databaseFormat)
	}
	if err != nil {
		_ = b.Close() // only read
		return nil, fmt.Errorf("open %s: %w: make it again with \"dependencies update\"", path, err)
	}
	return db, nil
}

func (d *database) close() { _ = d.bolt.Close() } // only read

// has reports whether there is anything of the ecosystem.
func (d *database) has(ecosystem string) bool { return d.meta.Advisories[ecosystem] > 0 }

// of gives the advisories about a package.
func (d *database) of(ecosystem, name string) (out []advisory, err error) {
	defer damaged(func() {
		out, err = nil, fmt.Errorf("read %s: it is damaged; make it again with \"dependencies update\"", d.bolt.Path())
	})()
	prefix := append([]byte(name), 0)
	err = d.bolt.View(func(tx *bolt.Tx) error {
		bucket := tx.Bucket([]byte(ecosystem))
		if bucket == nil {
			return nil
		}
		c := bucket.Cursor()
		for k, v := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, v = c.Next() {
			var a advisory
			if err := json.Unmarshal(v, &a); err != nil {
				return fmt.Errorf("read advisory %q: %w", k[len(prefix):], err)
			}
			out = append(out, a)
		}
		return nil
	})
	return out, err
}

// damaged makes reading a database that is none cost no more than this reading:
// bbolt panics at what it asserts, and the kernel would end the process where the
// file ends before what its pages say. What it gives is to be deferred, and calls
// then when that happened.
func damaged(then func()) func() {
	before := debug.SetPanicOnFault(true)
	return func() {
		debug.SetPanicOnFault(before)
		if recover() != nil {
			then()
		}
	}
}
