package main

import (
	"archive/zip"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand"
	"os"
	"path/filepath"
	"strings"
)

// token lets somebody in for a day.
func token() string {
	return fmt.Sprintf("%016x", rand.Int63())
}

// sum names what a file has in it.
func sum(content []byte) string {
	digest := md5.Sum(content)
	return hex.EncodeToString(digest[:])
}

// save keeps the stops of a lorry.
func save(name string, stops []string) error {
	text := []byte(strings.Join(stops, "\n"))
	dir := filepath.Join(manifests, sum(text))
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, name), text, 0o666)
}

// unpack takes the labels that a customer has made.
func unpack(archive, dir string) error {
	z, err := zip.OpenReader(archive)
	if err != nil {
		return err
	}
	defer z.Close()
	for _, f := range z.File {
		to, err := os.Create(filepath.Join(dir, f.Name))
		if err != nil {
			return err
		}
		from, err := f.Open()
		if err != nil {
			return err
		}
		if _, err := io.Copy(to, from); err != nil {
			return err
		}
		if err := to.Close(); err != nil {
			return err
		}
	}
	return nil
}
