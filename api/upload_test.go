package api_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/securetaghq/securetag/api"
	"github.com/securetaghq/securetag/api/client"
)

type part struct{ name, file, value string }

// encode writes a form; parts with a file name are files.
func encode(t testing.TB, parts ...part) (contentType string, body []byte) {
	t.Helper()
	var buf bytes.Buffer
	w := multipart.NewWriter(&buf)
	for _, p := range parts {
		var pw io.Writer
		var err error
		if p.file != "" {
			pw, err = w.CreateFormFile(p.name, p.file)
		} else {
			pw, err = w.CreateFormField(p.name)
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(pw, p.value); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return w.FormDataContentType(), buf.Bytes()
}

func TestUploadPartsInAnyOrder(t *testing.T) {
	t.Parallel()
	e := newEnv(t, api.Config{})
	file := part{"file", "shop.zip", "PK" + strings.Repeat("x", 100_000)}
	project, options := part{"project", "", "shop"}, part{"options", "", `{"secrets": {"deep": true}}`}
	priority := part{"priority", "", "low"}
	for _, order := range [][]part{
		{file, project, options, priority}, {options, priority, file, project}, {priority, project, options, file},
	} {
		contentType, body := encode(t, order...)
		resp, text := e.do(t, "alice", http.MethodPost, "/codeaudit/upload", contentType, bytes.NewReader(body))
		if resp.StatusCode != http.StatusAccepted {
			t.Fatalf("status %d: %s", resp.StatusCode, text)
		}
		s, err := e.client(t, "alice").Scan(t.Context(), strings.TrimPrefix(resp.Header.Get("Location"), "/scans/"))
		if err != nil {
			t.Fatal(err)
		}
		if s.Project != "shop" || s.Priority != client.PriorityLow || string(s.Options) != `{"secrets":{"deep":true}}` || s.State != client.StateQueued ||
			s.Archive.Filename != "shop.zip" || s.Archive.Size != 100_002 || len(s.Jobs) != 1 || s.Jobs[0].Plugin != "secrets" {
			t.Errorf("scan = %+v, archive %+v", s, s.Archive)
		}
		if resp.Header.Get("Retry-After") != "1" {
			t.Errorf("Retry-After %q, want 1", resp.Header.Get("Retry-After"))
		}
	}
	if n := e.stored(t); n != 3 {
		t.Errorf("%d blobs stored, want 3", n)
	}
}

func TestUploadRefused(t *testing.T) {
	t.Parallel()
	e := newEnv(t, api.Config{})
	file := part{"file", "a.zip", "PK"}
	big := part{"file", "a.zip", "PK" + strings.Repeat("x", maxArchive)}
	for name, c := range map[string]struct {
		parts   []part
		status  int
		code    string
		pointer string
		// mangle changes the encoded form.
		mangle func(contentType string, body []byte) (string, []byte)
	}{
		"no file":            {parts: []part{{"project", "", "a"}}, status: 422, code: "invalid", pointer: "form.file"},
		"two files":          {parts: []part{file, file}, status: 422, code: "invalid", pointer: "form.file"},
		"two projects":       {parts: []part{{"project", "", "a"}, {"project", "", "a"}, file}, status: 422, code: "invalid", pointer: "form.project"},
		"unknown part":       {parts: []part{file, {"colour", "", "red"}}, status: 422, code: "unknown_part"},
		"bad project":        {parts: []part{file, {"project", "", "a b"}}, status: 422, code: "invalid", pointer: "form.project"},
		"long project":       {parts: []part{{"project", "", strings.Repeat("a", 65)}, file}, status: 422, code: "invalid", pointer: "form.project"},
		"unknown priority":   {parts: []part{{"priority", "", "urgent"}, file}, status: 422, code: "invalid", pointer: "form.priority"},
		"priority's case":    {parts: []part{file, {"priority", "", "High"}}, status: 422, code: "invalid", pointer: "form.priority"},
		"long priority":      {parts: []part{file, {"priority", "", strings.Repeat("high", 5)}}, status: 422, code: "invalid", pointer: "form.priority"},
		"two priorities":     {parts: []part{{"priority", "", "high"}, {"priority", "", "low"}, file}, status: 422, code: "invalid", pointer: "form.priority"},
		"bad options":        {parts: []part{file, {"options", "", "[1]"}}, status: 422, code: "invalid", pointer: "form.options"},
		"large options":      {parts: []part{file, {"options", "", `{"a":"` + strings.Repeat("x", 20_000) + `"}`}}, status: 422, code: "invalid", pointer: "form.options"},
		"null for a gate":    {parts: []part{{"gate", "", "null"}, file}, status: 422, code: "invalid", pointer: "form.gate"},
		"more than a gate":   {parts: []part{{"gate", "", `{"fail_on": "high"}}`}, file}, status: 422, code: "invalid", pointer: "form.gate"},
		"no archive":         {parts: []part{{"file", "a.zip", "hello"}}, status: 422, code: "archive_not_an_archive", pointer: "form.file"},
		"empty archive":      {parts: []part{{"file", "a.zip", ""}}, status: 422, code: "archive_empty", pointer: "form.file"},
		"one byte too large": {parts: []part{{"file", "a.zip", big.value[:maxArchive+1]}}, status: 413, code: "archive_too_large", pointer: "form.file"},
		"too large, last":    {parts: []part{{"project", "", "a"}, {"options", "", "{}"}, big}, status: 413, code: "archive_too_large", pointer: "form.file"},
		"large unknown part": {parts: []part{{"junk", "", strings.Repeat("x", 500_000)}, file}, status: 422, code: "unknown_part"},
		"not a form": {parts: []part{file}, status: 415, code: "unsupported_media_type", mangle: func(_ string, b []byte) (string, []byte) {
			return "application/zip", b
		}},
		"no content type": {parts: []part{file}, status: 415, code: "unsupported_media_type", mangle: func(_ string, b []byte) (string, []byte) {
			return "", b
		}},
		"no boundary": {parts: []part{file}, status: 400, code: "malformed", mangle: func(_ string, b []byte) (string, []byte) {
			return "multipart/form-data", b
		}},
		"cut off in the file": {parts: []part{big}, status: 400, code: "malformed", mangle: func(ct string, b []byte) (string, []byte) {
			return ct, b[:5000]
		}},
		"no last boundary": {parts: []part{file}, status: 400, code: "malformed", mangle: func(ct string, b []byte) (string, []byte) {
			return ct, b[:len(b)-10]
		}},
		"goes on behind the end": {parts: []part{file}, status: 400, code: "malformed", mangle: func(ct string, b []byte) (string, []byte) {
			return ct, append(b, make([]byte, 100_000)...)
		}},
		"endless preamble": {parts: []part{file}, status: 413, code: "too_large", mangle: func(ct string, b []byte) (string, []byte) {
			return ct, append(bytes.Repeat([]byte("x\r\n"), 100_000), b...)
		}},
		"endless part header": {parts: []part{file}, status: 413, code: "too_large", mangle: func(ct string, b []byte) (string, []byte) {
			return ct, bytes.Replace(b, []byte("Content-Disposition"), []byte("X: "+strings.Repeat("x", 500_000)+"\r\nContent-Disposition"), 1)
		}},
	} {
		for _, chunked := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/chunked=%v", name, chunked), func(t *testing.T) {
				t.Parallel()
				contentType, body := encode(t, c.parts...)
				if c.mangle != nil {
					contentType, body = c.mangle(contentType, body)
				}
				var r io.Reader = bytes.NewReader(body)
				if chunked {
					r = io.MultiReader(r) // hides the length
				}
				resp, text := e.do(t, "alice", http.MethodPost, "/codeaudit/upload", contentType, r)
				p := problem(t, resp, text)
				if p.Status != c.status || p.Code != c.code {
					t.Errorf("problem %+v, want %d %s", p, c.status, c.code)
				}
				if c.pointer != "" && (len(p.Errors) != 1 || p.Errors[0].Pointer != c.pointer) {
					t.Errorf("errors %+v, want one at %s", p.Errors, c.pointer)
				}
			})
		}
	}
	t.Cleanup(func() {
		if n := e.stored(t); n != 0 {
			t.Errorf("%d blobs left by refused uploads", n)
		}
	})
}

func TestConnectionSurvivesUpload(t *testing.T) {
	t.Parallel()
	e := newEnv(t, api.Config{})
	contentType, body := encode(t, part{"file", "a.zip", "PK"})
	for _, r := range []io.Reader{bytes.NewReader(body), io.MultiReader(bytes.NewReader(body))} {
		resp, _ := e.do(t, "alice", http.MethodPost, "/codeaudit/upload", contentType, r)
		if resp.Close || resp.Header.Get("Connection") != "" {
			t.Errorf("a whole upload closed its connection: %v", resp.Header)
		}
	}
}

// deafClient sends everything before it reads anything, as many HTTP libraries
// do. It returns the answer, and how much it could send.
func deafClient(t *testing.T, url, header string, size int64) (*http.Response, string, int64) {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, header); err != nil {
		t.Fatal(err)
	}
	sent, err := io.CopyN(conn, zeros{}, size)
	if err != nil {
		t.Logf("sending stopped after %d bytes: %v", sent, err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("the answer was lost: %v", err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("the answer was lost: %v", err)
	}
	return resp, string(b), sent
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func uploadHeader(key, length string) string {
	return "POST /codeaudit/upload HTTP/1.1\r\nHost: x\r\nX-API-Key: " + key + "\r\n" + length +
		"Content-Type: multipart/form-data; boundary=b\r\n\r\n"
}

// TestRefusedBodyAnswered: the answer to a body that is refused half-way, or
// before it is read at all, reaches a client that is still sending.
func TestRefusedBodyAnswered(t *testing.T) {
	t.Parallel()
	const size = 12 << 20
	e := newEnv(t, api.Config{DrainTime: time.Minute})
	length := fmt.Sprintf("Content-Length: %d\r\n", size)
	start := "--b\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nPK"
	for name, c := range map[string]struct {
		header string
		status int
	}{
		"length over the limit": {uploadHeader(e.keys["alice"], length), 413},
		"no key":                {uploadHeader("", length), 401},
		"wrong media type":      {strings.Replace(uploadHeader(e.keys["alice"], "Content-Length: 1000000\r\n"), "multipart/", "x/", 1), 415},
		"chunk over the limit":  {uploadHeader(e.keys["alice"], "Transfer-Encoding: chunked\r\n") + fmt.Sprintf("%x\r\n%s", size+len(start), start), 413},
		"JSON over the limit": {"POST /scans/dast HTTP/1.1\r\nHost: x\r\nX-API-Key: " + e.keys["alice"] +
			"\r\nContent-Type: application/json\r\n" + length + "\r\n", 413},
		"wrong method":  {strings.Replace(uploadHeader(e.keys["alice"], length), "POST", "PUT", 1), 405},
		"unknown route": {strings.Replace(uploadHeader(e.keys["alice"], length), "upload", "download", 1), 404},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := int64(size)
			if strings.Contains(c.header, "1000000") {
				n = 1000000
			}
			resp, body, sent := deafClient(t, e.url, c.header, n)
			if p := problem(t, resp, body); p.Status != c.status || sent != n {
				t.Errorf("after %d bytes sent: %+v, want status %d", sent, p, c.status)
			}
			if !resp.Close {
				t.Error("the connection stays open with half a body on it")
			}
		})
	}
	t.Cleanup(func() {
		if n := e.stored(t); n != 0 {
			t.Errorf("%d blobs left", n)
		}
	})
}

// TestDrainIsBounded: a client that never stops sending is cut off.
func TestDrainIsBounded(t *testing.T) {
	t.Parallel()
	e := newEnv(t, api.Config{DrainBytes: 1 << 20, DrainTime: time.Minute})
	conn, err := net.Dial("tcp", strings.TrimPrefix(e.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, uploadHeader("", "Content-Length: 1000000000000\r\n")); err != nil {
		t.Fatal(err)
	}
	if n, err := io.CopyN(conn, zeros{}, 1000000000000); err == nil {
		t.Errorf("the host took %d bytes that it had refused", n)
	}
}

// TestExpectContinue: who asks first sends nothing of what would be refused.
func TestExpectContinue(t *testing.T) {
	t.Parallel()
	e := newEnv(t, api.Config{DrainTime: time.Minute})
	header := strings.Replace(uploadHeader("", "Content-Length: 1000\r\n"), "\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n", 1)
	resp, body, _ := deafClient(t, e.url, header, 0)
	if p := problem(t, resp, body); p.Status != 401 {
		t.Errorf("answer %+v, want 401 without 100", p)
	}
}

func TestSlowBodyRefused(t *testing.T) {
	t.Parallel()
	e := newEnv(t, api.Config{BodyWindow: 50 * time.Millisecond})
	for name, header := range map[string]string{
		"upload": uploadHeader(e.keys["alice"], "Content-Length: 1000\r\n") + "--b\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nPK",
		"JSON":   "POST /scans/dast HTTP/1.1\r\nHost: x\r\nX-API-Key: " + e.keys["alice"] + "\r\nContent-Length: 1000\r\n\r\n{",
	} {
		resp, body, _ := deafClient(t, e.url, header, 0)
		if p := problem(t, resp, body); p.Status != 408 || p.Code != "request_timeout" || !resp.Close {
			t.Errorf("%s: a body that stopped: %+v, want 408", name, p)
		}
	}
	if n := e.stored(t); n != 0 {
		t.Errorf("%d blobs left", n)
	}
}

// TestClientHearsWhy: the Go client gives the host's problem and no broken
// pipe, whatever it was sending.
func TestClientHearsWhy(t *testing.T) {
	t.Parallel()
	e := newEnv(t, api.Config{})
	e.keys["nobody"] = ""
	for name, c := range map[string]struct {
		who    string
		opts   client.UploadOptions
		status int
	}{
		"too large, length known": {"alice", client.UploadOptions{Size: 1 << 40}, 413},
		"too large, streamed":     {"alice", client.UploadOptions{}, 413},
		"no key":                  {"nobody", client.UploadOptions{}, 401},
		"bad project":             {"alice", client.UploadOptions{Project: "a b"}, 422},
		"unknown type":            {"alice", client.UploadOptions{Type: "nope"}, 404},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := e.client(t, c.who).Upload(t.Context(), io.LimitReader(zeros{}, 1<<40), c.opts)
			var refused *client.Error
			if !errors.As(err, &refused) || refused.StatusCode != c.status || refused.Code == "" {
				t.Errorf("Upload: %v, want the host's %d", err, c.status)
			}
		})
	}
}

// TestUploadMemory streams 256 MiB through the handler and looks at the heap
// on the way.
func TestUploadMemory(t *testing.T) { // not parallel: it measures the heap of the process
	const size = 256 << 20
	e := newEnvMax(t, api.Config{}, size+2)
	boundary := "b"
	head := "--b\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nPK"
	watch := &heapWatcher{r: io.LimitReader(zeros{}, size)}
	runtime.GC()
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	req := httptest.NewRequest(http.MethodPost, "/codeaudit/upload",
		io.MultiReader(strings.NewReader(head), watch, strings.NewReader("\r\n--b--\r\n")))
	req.Header.Set("Content-Type", "multipart/form-data; boundary="+boundary)
	req.Header.Set("X-API-Key", e.keys["alice"])
	w := httptest.NewRecorder()
	e.api.ServeHTTP(w, req)
	if w.Code != http.StatusAccepted {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	if grown := int64(watch.most) - int64(before.HeapAlloc); grown > 16<<20 {
		t.Errorf("the heap grew by %d MiB during an upload of %d MiB", grown>>20, size>>20)
	}
}

// heapWatcher notes the largest heap seen while it is read.
type heapWatcher struct {
	r    io.Reader
	n    int64
	most uint64
}

func (h *heapWatcher) Read(p []byte) (int, error) {
	n, err := h.r.Read(p)
	if (h.n+int64(n))>>24 != h.n>>24 || err != nil { // every 16 MiB
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		h.most = max(h.most, m.HeapAlloc)
	}
	h.n += int64(n)
	return n, err
}

// FuzzUpload: no form makes the handler panic, hang, or answer a 5xx, and what
// it refuses leaves no blob.
func FuzzUpload(f *testing.F) {
	_, whole := encode(f, part{"project", "", "a"}, part{"file", "a.zip", "PK123"}, part{"options", "", "{}"}, part{"secrets", "", `{"login":1}`})
	boundary := strings.TrimPrefix(strings.SplitN(string(whole), "\r\n", 2)[0], "--")
	whole = bytes.ReplaceAll(whole, []byte(boundary), []byte("b"))
	f.Add("multipart/form-data; boundary=b", whole)
	f.Add("multipart/form-data; boundary=b", whole[:len(whole)/2])
	f.Add("multipart/form-data", whole)
	f.Add("multipart/mixed; boundary=b", []byte("--b--"))
	f.Add("multipart/form-data; boundary=\"\"", []byte("--\r\n\r\n"))
	e := newEnvMax(f, api.Config{}, 1000)
	f.Fuzz(func(t *testing.T, contentType string, body []byte) {
		before := e.stored(t)
		req := httptest.NewRequest(http.MethodPost, "/codeaudit/upload", bytes.NewReader(body))
		req.Header["Content-Type"] = []string{contentType}
		req.Header.Set("X-API-Key", e.keys["alice"])
		w := httptest.NewRecorder()
		e.api.ServeHTTP(w, req)
		after := e.stored(t)
		switch {
		case w.Code == http.StatusAccepted && after == before+1:
		case w.Code >= 400 && w.Code < 500 && after == before:
		default:
			t.Errorf("status %d with %d new blobs: %s", w.Code, after-before, w.Body)
		}
	})
}
