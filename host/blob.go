package host

import (
	"context"
	"io"
	"time"
)

// BlobKey names a stored blob: lower-case letters, digits, '-', and '/' between
// segments. Keys are made by this host and never from outside input.
type BlobKey string

// Blob is an open blob. Close it. Size is in bytes and does not change.
type Blob interface {
	io.ReaderAt
	io.ReadCloser
	Size() int64
}

// BlobInfo says what a stored blob is.
type BlobInfo struct {
	Key      BlobKey
	Size     int64
	Modified time.Time // when it was written, by the clock of what keeps it
}

// BlobStore keeps uploaded archives. Safe for concurrent use.
type BlobStore interface {
	// Put stores all of r under key and returns its size and SHA-256 (lower-case
	// hex). Once it returns nil the blob survives a crash of the machine.
	// When r fails or ctx ends nothing is left behind and r's error is wrapped.
	// ErrConflict when the key is taken. Memory does not grow with the size.
	Put(ctx context.Context, key BlobKey, r io.Reader) (size int64, sha256 string, err error)
	// Open opens a blob for reading; ErrNotFound when there is none.
	Open(ctx context.Context, key BlobKey) (Blob, error)
	// Delete removes a blob; deleting what is not there is no error.
	Delete(ctx context.Context, key BlobKey) error
	// List gives at most limit blobs (0, or more than that: 1000) behind cursor,
	// which is "" at first and then what the call before returned as next; next
	// is "" at the end. The order is the store's own, and a page may be empty
	// before the end. A blob that is there all the time is listed once, however
	// many are put and deleted meanwhile; one that is not may be or may not.
	// ErrInvalid when the cursor is none of this store.
	List(ctx context.Context, cursor string, limit int) (page []BlobInfo, next string, err error)
}
