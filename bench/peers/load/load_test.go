package load_test

import (
	"archive/zip"
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/securetaghq/securetag/bench/peers/load"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func archive(t *testing.T) []byte {
	t.Helper()
	b, err := load.Zip(10 << 10)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestZip(t *testing.T) {
	t.Parallel()
	b := archive(t)
	if len(b) < 10_000 || len(b) > 10_500 {
		t.Errorf("%d bytes, want about 10 KiB", len(b))
	}
	if !bytes.Equal(b, archive(t)) {
		t.Error("two archives differ")
	}
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, r); err != nil {
			t.Errorf("%s: %v", f.Name, err)
		}
	}
}

// server accepts uploads as the systems do, and refuses those behind limit.
func server(t *testing.T, limit int64) (addr string, taken *atomic.Int64) {
	t.Helper()
	taken = new(atomic.Int64)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f, _, err := r.FormFile("file")
		if err != nil || r.Header.Get("X-API-Key") != "secret" || r.URL.Path != "/codeaudit/upload" {
			t.Errorf("%s with key %q: %v", r.URL, r.Header.Get("X-API-Key"), err)
			return
		}
		if b, err := io.ReadAll(f); err != nil || !bytes.Equal(b, archive(t)) {
			t.Errorf("the archive did not arrive: %d bytes, %v", len(b), err)
		}
		if taken.Add(1) > limit {
			http.Error(w, "too many", http.StatusTooManyRequests)
			return
		}
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.WriteString(w, `{"id": "scan"}`)
	}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://"), taken
}

func request(t *testing.T, addr string) []byte {
	t.Helper()
	r, err := load.Request(addr, "secret", archive(t))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRunSendsEachOnce(t *testing.T) {
	t.Parallel()
	addr, taken := server(t, 1000)
	got, err := load.Run(t.Context(), addr, request(t, addr), 101, 8)
	if err != nil {
		t.Fatal(err)
	}
	if taken.Load() != 101 || got.PerSec <= 0 || got.Answer.Max <= 0 {
		t.Errorf("%d arrived, result %+v", taken.Load(), got)
	}
}

func TestRunReportsARefusal(t *testing.T) {
	t.Parallel()
	addr, _ := server(t, 10)
	if _, err := load.Run(t.Context(), addr, request(t, addr), 100, 4); err == nil || !strings.Contains(err.Error(), "429") {
		t.Errorf("error %v, want the 429", err)
	}
}

func TestPace(t *testing.T) {
	t.Parallel()
	addr, _ := server(t, 1000)
	sent, err := load.Pace(t.Context(), addr, request(t, addr), 3, 1e4)
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range sent {
		if s.ID != "scan" || !s.Confirmed.After(s.Sent) {
			t.Errorf("upload %d: %+v", i, s)
		}
	}
	if len(sent) != 3 {
		t.Errorf("%d uploads, want 3", len(sent))
	}
}
