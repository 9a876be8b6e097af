package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"sync"
)

// UploadOptions say what is uploaded and how it is scanned. The zero value is
// good.
type UploadOptions struct {
	Type     string          // scan type; default "codeaudit"
	Filename string          // what to call the archive; default "archive"
	Project  string          // default: none
	Priority Priority        // default: normal
	Options  json.RawMessage // a JSON object: by name the options of the scan type, by plugin name an object for that plugin; default: none
	Secrets  json.RawMessage // a JSON object: by name the options that nobody is shown; default: none
	Gate     *GatePolicy     // default: the project's
	// Size of the archive in bytes, when it is known: a host then refuses one
	// that is too large before it is sent. 0: not known.
	Size int64
	// Key is that of StartOptions.
	Key string
}

// Upload sends an archive (zip, tar, tar.gz or tar.zst) and returns the scan as
// accepted. The archive is streamed; memory does not grow with its size. When
// the host refuses it half-way, the error is the host's problem. An error of
// archive itself is returned as it is, and nothing is scanned. Upload does not
// read from archive any more once it has returned.
//
// An archive that is an io.Seeker is sent again, from where it stood, when that
// may help; there is one scan all the same.
func (c *Client) Upload(ctx context.Context, archive io.Reader, opts UploadOptions) (Scan, error) {
	if opts.Key == "" {
		opts.Key = rand.Text()
	}
	seeker, ok := archive.(io.Seeker)
	if !ok {
		return c.upload(ctx, archive, opts)
	}
	start, err := seeker.Seek(0, io.SeekCurrent)
	if err != nil { // of a kind that could, such as a pipe in a file
		return c.upload(ctx, archive, opts)
	}
	var s Scan
	_, err = c.tryAgain(ctx, func() (http.Header, error) {
		if _, err := seeker.Seek(start, io.SeekStart); err != nil {
			return nil, err
		}
		s, err = c.upload(ctx, archive, opts)
		return nil, err
	})
	return s, err
}

func (c *Client) upload(ctx context.Context, archive io.Reader, opts UploadOptions) (Scan, error) {
	if opts.Type == "" {
		opts.Type = "codeaudit"
	}
	if opts.Filename == "" {
		opts.Filename = "archive"
	}
	head, tail, contentType, err := formAround(opts)
	if err != nil {
		return Scan{}, fmt.Errorf("encode form: %w", err)
	}
	body := &uploadBody{archive: archive}
	body.r = io.MultiReader(bytes.NewReader(head), readerFunc(body.readArchive), bytes.NewReader(tail))
	size := int64(-1)
	if opts.Size > 0 {
		size = int64(len(head)) + opts.Size + int64(len(tail))
	}
	var s Scan
	_, err = c.send(ctx, request{
		method: http.MethodPost, path: "/" + url.PathEscape(opts.Type) + "/upload",
		contentType: contentType, body: body, size: size, expect: true, key: opts.Key,
	}, &s)
	if readErr := body.finish(); err != nil && readErr != nil {
		var refused *Error
		if !errors.As(err, &refused) {
			return Scan{}, readErr
		}
	}
	return s, err
}

// formAround gives the form's bytes before and behind the archive. The small
// parts come first, so that a mistake in them is found before the archive is
// sent.
func formAround(opts UploadOptions) (head, tail []byte, contentType string, err error) {
	var buf bytes.Buffer
	w := multipart.NewWriter(&buf)
	if opts.Project != "" {
		err = errors.Join(err, w.WriteField("project", opts.Project))
	}
	if opts.Priority != "" {
		err = errors.Join(err, w.WriteField("priority", string(opts.Priority)))
	}
	if len(opts.Options) > 0 {
		err = errors.Join(err, w.WriteField("options", string(opts.Options)))
	}
	if len(opts.Secrets) > 0 {
		err = errors.Join(err, w.WriteField("secrets", string(opts.Secrets)))
	}
	if opts.Gate != nil {
		raw, gateErr := json.Marshal(opts.Gate)
		err = errors.Join(err, gateErr, w.WriteField("gate", string(raw)))
	}
	_, fileErr := w.CreateFormFile("file", opts.Filename)
	n := buf.Len()
	err = errors.Join(err, fileErr, w.Close())
	return buf.Bytes()[:n:n], buf.Bytes()[n:], w.FormDataContentType(), err
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// uploadBody is the form as it is sent. The transport may still read it in the
// background when the host answered early; finish ends that.
type uploadBody struct {
	mu      sync.Mutex
	r       io.Reader
	archive io.Reader
	err     error // of the archive
	ended   bool
}

func (b *uploadBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended {
		return 0, errors.New("upload has ended")
	}
	return b.r.Read(p)
}

func (b *uploadBody) readArchive(p []byte) (int, error) {
	n, err := b.archive.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		b.err = err
	}
	return n, err
}

// finish waits for a Read under way, ends the rest, and gives the archive's
// own error.
func (b *uploadBody) finish() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended = true
	return b.err
}
