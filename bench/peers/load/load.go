// Package load uploads archives to a server, as fast as it takes them or at a
// steady pace.
package load

import (
	"archive/zip"
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"mime/multipart"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/securetaghq/securetag/bench/peers/stats"
)

const requestTimeout = 30 * time.Second

// Zip is an archive of about size bytes that does not compress, always the same.
func Zip(size int) ([]byte, error) {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	names := []string{"src/main.sol", "src/token.sol", "README.md"}
	const headers = 450 // about what the format adds for three files
	rng := rand.NewChaCha8([32]byte{1})
	for _, name := range names {
		w, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Store})
		if err != nil {
			return nil, err
		}
		noise := make([]byte, max(0, size-headers)/len(names))
		_, _ = rng.Read(noise) // never fails
		if _, err := w.Write(noise); err != nil {
			return nil, err
		}
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// Request is a whole HTTP/1.1 request that uploads an archive, made once, so
// that an upload costs the generator one write and one read.
func Request(addr, apiKey string, archive []byte) ([]byte, error) {
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	w, err := form.CreateFormFile("file", "contracts.zip")
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(archive); err != nil {
		return nil, err
	}
	if err := form.Close(); err != nil {
		return nil, err
	}
	key := ""
	if apiKey != "" {
		key = "X-API-Key: " + apiKey + "\r\n"
	}
	head := fmt.Sprintf("POST /codeaudit/upload HTTP/1.1\r\nHost: %s\r\nContent-Type: %s\r\nContent-Length: %d\r\nAccept: application/json\r\n%s\r\n",
		addr, form.FormDataContentType(), body.Len(), key)
	return append([]byte(head), body.Bytes()...), nil
}

type conn struct {
	net.Conn
	r *bufio.Reader
}

func dial(addr string) (conn, error) {
	c, err := net.DialTimeout("tcp", addr, 2*time.Second)
	if err != nil {
		return conn{}, err
	}
	return conn{c, bufio.NewReaderSize(c, 4096)}, nil
}

// upload returns the id that came with a 202.
func (c conn) upload(request []byte) (string, error) {
	if err := c.SetDeadline(time.Now().Add(requestTimeout)); err != nil {
		return "", err
	}
	if _, err := c.Write(request); err != nil {
		return "", err
	}
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		return "", err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	resp.Body.Close()
	if err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusAccepted {
		return "", fmt.Errorf("an upload was answered %s: %.300s", resp.Status, body)
	}
	var answer struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return "", fmt.Errorf("read the answer of an upload: %w", err)
	}
	return answer.ID, nil
}

// Burst is how uploads went that were sent as fast as the server took them.
type Burst struct {
	Began  time.Time     `json:"began"`
	PerSec float64       `json:"per_sec"`
	Answer stats.Latency `json:"answer"` // ms from sending to 202
}

// Run sends n uploads from some clients, each one after the other on a
// connection of its own. Any refusal is an error.
func Run(ctx context.Context, addr string, request []byte, n, clients int) (Burst, error) {
	conns := make([]conn, clients)
	for i := range conns {
		c, err := dial(addr)
		if err != nil {
			return Burst{}, err
		}
		defer func() { _ = c.Close() }()
		conns[i] = c
	}
	var (
		next  atomic.Int64
		wg    sync.WaitGroup
		took  = make([][]float64, clients)
		fault = make([]error, clients)
		began = time.Now()
	)
	for i, c := range conns {
		wg.Go(func() {
			for next.Add(1) <= int64(n) && ctx.Err() == nil {
				sent := time.Now()
				if _, fault[i] = c.upload(request); fault[i] != nil {
					return
				}
				took[i] = append(took[i], ms(time.Since(sent)))
			}
		})
	}
	wg.Wait()
	seconds := time.Since(began).Seconds()
	for _, err := range fault {
		if err != nil {
			return Burst{}, err
		}
	}
	if err := ctx.Err(); err != nil {
		return Burst{}, err
	}
	return Burst{Began: began, PerSec: float64(n) / seconds, Answer: stats.Of(slices.Concat(took...))}, nil
}

// Sent is one upload of [Pace].
type Sent struct {
	ID              string
	Sent, Confirmed time.Time
}

// Pace sends n uploads, perSec of them a second, whether or not the ones before
// are done.
func Pace(ctx context.Context, addr string, request []byte, n int, perSec float64) ([]Sent, error) {
	c, err := dial(addr)
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Close() }()
	tick := time.NewTicker(time.Duration(float64(time.Second) / perSec))
	defer tick.Stop()
	all := make([]Sent, 0, n)
	for range n {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		sent := time.Now()
		id, err := c.upload(request)
		if err != nil {
			return nil, err
		}
		all = append(all, Sent{ID: id, Sent: sent, Confirmed: time.Now()})
	}
	return all, nil
}

func ms(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e6 }
