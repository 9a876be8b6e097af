// Package peer is what the two Go peers share: taking an upload, their
// database, and the work behind each job.
package peer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Slots is how many jobs each worker runs at once, in every peer and in ours.
const Slots = 50

// maxUpload is the largest file that the peers take.
const maxUpload = 100 << 20

// Pool connects to DATABASE_URL with as many connections as our host's default.
func Pool(ctx context.Context) (*pgxpool.Pool, error) {
	cfg, err := pgxpool.ParseConfig(os.Getenv("DATABASE_URL"))
	if err != nil {
		return nil, fmt.Errorf("read DATABASE_URL: %w", err)
	}
	cfg.MaxConns = 20
	return pgxpool.NewWithConfig(ctx, cfg)
}

// Duration reads an environment variable; 0, a library's default, without it.
func Duration(name string) (time.Duration, error) {
	s := os.Getenv(name)
	if s == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", name, err)
	}
	return d, nil
}

// Task is what a job carries.
type Task struct {
	ID   string `json:"taskId"`
	Path string `json:"path"`
}

// Upload is a file that was taken.
type Upload struct {
	Task
	Filename string
	Size     int64
}

// Receive streams the part "file" to a new file in UPLOAD_DIR, as multer's disk
// storage does: without a sync.
func Receive(r *http.Request) (u Upload, err error) {
	parts, err := r.MultipartReader()
	if err != nil {
		return u, fmt.Errorf("read the form: %w", err)
	}
	for {
		p, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			return u, errors.New("the form has no part \"file\"")
		}
		if err != nil {
			return u, fmt.Errorf("read the form: %w", err)
		}
		if p.FormName() != "file" {
			continue
		}
		u.ID, u.Filename = uuid.NewString(), p.FileName()
		u.Path = filepath.Join(os.Getenv("UPLOAD_DIR"), u.ID+".zip")
		f, err := os.OpenFile(u.Path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return u, fmt.Errorf("keep the file: %w", err)
		}
		u.Size, err = io.Copy(f, io.LimitReader(p, maxUpload))
		return u, errors.Join(err, f.Close())
	}
}

// InsertTask takes id, status, filename, path and size.
const InsertTask = `insert into tasks (id, status, filename, path, size_bytes) values ($1, $2, $3, $4, $5)`

// Accept answers 202.
func Accept(w http.ResponseWriter, id string) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(http.StatusAccepted)
	_ = json.NewEncoder(w).Encode(map[string]string{"id": id, "status": "queued"}) // the client has gone
}

// Work is a scan that finds nothing: two statements, a transaction each.
func Work(ctx context.Context, pool *pgxpool.Pool, id string, start time.Time) error {
	if _, err := pool.Exec(ctx, `update tasks set status = 'running', started_at = $2 where id = $1`, id, start); err != nil {
		return fmt.Errorf("start task %s: %w", id, err)
	}
	if _, err := pool.Exec(ctx, `update tasks set status = 'completed', completed_at = clock_timestamp() where id = $1`, id); err != nil {
		return fmt.Errorf("complete task %s: %w", id, err)
	}
	return nil
}

// Serve answers uploads at HTTP_PORT until SIGTERM.
func Serve(ctx context.Context, upload http.HandlerFunc) error {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /codeaudit/upload", upload)
	srv := &http.Server{Addr: "127.0.0.1:" + os.Getenv("HTTP_PORT"), Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- srv.ListenAndServe() }()
	fmt.Println("ready")
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		return srv.Close()
	}
}

// Main runs the half of a peer that the command line names.
func Main(halves map[string]func(context.Context) error) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if len(os.Args) != 2 || halves[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage:", filepath.Base(os.Args[0]), strings.Join(slices.Sorted(maps.Keys(halves)), "|"))
		os.Exit(2)
	}
	if err := halves[os.Args[1]](ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
