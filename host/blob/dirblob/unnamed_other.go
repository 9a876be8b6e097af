//go:build !linux

package dirblob

import (
	"context"
	"io"
)

// putUnnamed is for Linux.
func (s *Store) putUnnamed(context.Context, string, io.Reader) (int64, string, error) {
	return 0, "", errNoUnnamed
}
