package main

import (
	"archive/zip"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"strings"
)

// largest is how much a label may have in it.
const largest = 1 << 20

// token lets somebody in for a day.
func token() string {
	return rand.Text()
}

// sum names what a file has in it.
func sum(content []byte) string {
	digest := sha256.Sum256(content)
	return hex.EncodeToString(digest[:])
}

// save keeps the stops of a lorry.
func save(dir *os.Root, stops []string) error {
	text := []byte(strings.Join(stops, "\n"))
	return dir.WriteFile(sum(text), text, 0o600)
}

// unpack takes the labels that a customer has made.
func unpack(archive io.ReaderAt, size int64, dir *os.Root) error {
	z, err := zip.NewReader(archive, size)
	if err != nil {
		return err
	}
	for _, f := range z.File {
		from, err := f.Open()
		if err != nil {
			return err
		}
		content, err := io.ReadAll(io.LimitReader(from, largest))
		if err != nil {
			return err
		}
		if err := dir.WriteFile(f.Name, content, 0o600); err != nil {
			return err
		}
	}
	return nil
}
