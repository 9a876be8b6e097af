package main

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"
)

const (
	maxRecord   = 32 << 20 // of one advisory
	batchWrites = 5000
	namedAtMost = 10 // records that could not be read, in the log
)

// builder makes a database beside the one that is there.
type builder struct {
	dir        string
	path       string // of the new one, until it is in place
	ecosystems []string
	log        io.Writer
	db         *bolt.DB // nil when it is closed
	pending    []entry
	newest     time.Time
	calendars  map[string]*calendar // by ecosystem
	skipped    int
}

type entry struct {
	ecosystem  string
	key, value []byte
}

func newBuilder(dir string, ecosystems []string, log io.Writer) (*builder, error) {
	f, err := os.CreateTemp(dir, ".new-*.db")
	if err != nil {
		return nil, err
	}
	b := &builder{dir: dir, path: f.Name(), ecosystems: ecosystems, log: log, calendars: map[string]*calendar{}}
	if err := f.Close(); err != nil {
		return nil, errors.Join(err, os.Remove(b.path))
	}
	b.db, err = bolt.Open(b.path, 0o644, &bolt.Options{NoSync: true, NoFreelistSync: true, Timeout: lockTimeout})
	if err != nil {
		return nil, errors.Join(err, os.Remove(b.path))
	}
	return b, nil
}

// discard takes away what did not get to its place.
func (b *builder) discard() {
	if b.db != nil {
		_ = b.db.Close() // it goes
		b.db = nil
	}
	if b.path != "" {
		_ = os.Remove(b.path) // the next update is not in its way
	}
}

// zip takes every advisory of an archive.
func (b *builder) zip(ctx context.Context, path string) error {
	z, err := zip.OpenReader(path)
	if err != nil {
		return fmt.Errorf("open %s: %w", path, err)
	}
	defer func() { _ = z.Close() }() // only read
	for _, f := range z.File {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if !strings.HasSuffix(f.Name, ".json") {
			continue
		}
		r, err := f.Open()
		if err != nil {
			return fmt.Errorf("open %q of %s: %w", f.Name, path, err)
		}
		err = b.record(f.Name, r)
		if err := errors.Join(err, r.Close()); err != nil {
			return fmt.Errorf("read %q of %s: %w", f.Name, path, err)
		}
	}
	return nil
}

func (b *builder) file(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return b.record(path, f)
}

// record takes one advisory. What is no advisory is counted and left out; an
// error is one of reading or writing.
func (b *builder) record(name string, r io.Reader) error {
	raw, err := io.ReadAll(io.LimitReader(r, maxRecord+1))
	if err != nil {
		return err
	}
	var advisories map[about]*advisory
	var dated dates
	if len(raw) > maxRecord {
		err = fmt.Errorf("it is larger than %d bytes", maxRecord)
	} else {
		advisories, dated, err = parseRecord(raw)
	}
	if err != nil {
		if b.skipped++; b.skipped <= namedAtMost {
			fmt.Fprintf(b.log, "left out %q: %v\n", name, err)
		}
		return nil
	}
	// One that says it is of tomorrow would keep the database from ever being old.
	if dated.modified.After(time.Now().Add(oneDay)) {
		dated.modified = time.Time{}
	}
	if dated.modified.After(b.newest) {
		b.newest = dated.modified
	}
	for about, a := range advisories {
		if !wants(b.ecosystems, about.ecosystem) {
			continue
		}
		if b.calendars[about.ecosystem] == nil {
			b.calendars[about.ecosystem] = newCalendar()
		}
		b.calendars[about.ecosystem].add(dated)
		value, err := json.Marshal(a)
		if err != nil {
			return err
		}
		key := slices.Concat([]byte(about.name), []byte{0}, []byte(a.ID))
		b.pending = append(b.pending, entry{about.ecosystem, key, value})
	}
	if len(b.pending) >= batchWrites {
		return b.flush()
	}
	return nil
}

// flush writes in the order of the keys, which is what the tree takes fastest.
func (b *builder) flush() error {
	slices.SortFunc(b.pending, func(x, y entry) int {
		if c := strings.Compare(x.ecosystem, y.ecosystem); c != 0 {
			return c
		}
		return bytes.Compare(x.key, y.key)
	})
	err := b.db.Update(func(tx *bolt.Tx) error {
		for _, e := range b.pending {
			bucket, err := tx.CreateBucketIfNotExists([]byte(e.ecosystem))
			if err != nil {
				return err
			}
			if err := bucket.Put(e.key, e.value); err != nil {
				return err
			}
		}
		return nil
	})
	b.pending = b.pending[:0]
	return err
}

// finish puts the new database into the place of the old one.
func (b *builder) finish(source string) (meta, error) {
	if err := b.flush(); err != nil {
		return meta{}, err
	}
	m := meta{
		Format: databaseFormat, Made: time.Now().UTC(), Newest: b.newest.UTC(), Source: source,
		Advisories: map[string]int{}, Ecosystems: map[string]pace{}, Skipped: b.skipped,
	}
	for e, c := range b.calendars {
		m.Ecosystems[e] = c.pace()
	}
	err := b.db.Update(func(tx *bolt.Tx) error {
		total := 0
		err := tx.ForEach(func(name []byte, bucket *bolt.Bucket) error {
			n := bucket.Stats().KeyN
			m.Advisories[string(name)] = n
			total += n
			return nil
		})
		if err != nil {
			return err
		}
		if total == 0 {
			return fmt.Errorf("there is no advisory about %s in it; the database that was there stays", strings.Join(b.ecosystems, ", "))
		}
		raw, err := json.Marshal(m)
		if err != nil {
			return err
		}
		bucket, err := tx.CreateBucket(metaBucket)
		if err != nil {
			return err
		}
		return bucket.Put(metaKey, raw)
	})
	if err != nil {
		return meta{}, err
	}
	return m, b.place()
}

func (b *builder) place() error {
	err := b.db.Sync()
	err = errors.Join(err, b.db.Close())
	b.db = nil
	if err == nil {
		err = os.Chmod(b.path, 0o644) // whoever scans may read it
	}
	if err == nil {
		err = os.Rename(b.path, filepath.Join(b.dir, databaseFile))
	}
	if err == nil {
		b.path = ""
	}
	return err
}
