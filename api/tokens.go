package api

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"time"

	"github.com/google/uuid"

	"github.com/securetaghq/securetag/host"
)

const macSize = 16

// tokens seals cursors into page tokens: opaque, and only good for the tenant,
// the route and the filters they were made for, which are the scope.
type tokens struct{ key []byte }

func (t tokens) seal(scope []string, cursor []byte) string {
	sealed := append(cursor[:len(cursor):len(cursor)], t.mac(scope, cursor)...)
	return base64.RawURLEncoding.EncodeToString(sealed)
}

// open gives the cursor back; false for what seal did not make for this scope.
func (t tokens) open(scope []string, token string) ([]byte, bool) {
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(sealed) < macSize {
		return nil, false
	}
	cursor, mac := sealed[:len(sealed)-macSize], sealed[len(sealed)-macSize:]
	return cursor, hmac.Equal(mac, t.mac(scope, cursor))
}

// mac covers each part with its length, so that no two scopes look alike.
func (t tokens) mac(scope []string, cursor []byte) []byte {
	h := hmac.New(sha256.New, t.key)
	for _, part := range append([]string{"page-v1", string(cursor)}, scope...) {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(part)))
		h.Write(n[:])
		h.Write([]byte(part))
	}
	return h.Sum(nil)[:macSize]
}

// scanCursor and the others below are the last item of a page in bytes. The ids
// come from the store, which keeps nothing but UUIDs.
func scanCursor(id host.ScanID) []byte {
	u := uuid.MustParse(string(id))
	return u[:]
}

func readScanCursor(b []byte) (host.ScanID, bool) {
	u, err := uuid.FromBytes(b)
	return host.ScanID(u.String()), err == nil
}

func findingCursor(f host.Finding) []byte {
	u := uuid.MustParse(string(f.ID))
	return append([]byte{byte(f.Severity.Rank())}, u[:]...)
}

func readFindingCursor(b []byte) (*host.FindingCursor, bool) {
	if len(b) == 0 {
		return nil, false
	}
	u, err := uuid.FromBytes(b[1:])
	return &host.FindingCursor{Rank: int(b[0]), ID: host.FindingID(u.String())}, err == nil
}

func deadCursor(c host.DeadCursor) []byte {
	u := uuid.MustParse(string(c.ID))
	return append(binary.BigEndian.AppendUint64(nil, uint64(c.DeadAt.UnixMicro())), u[:]...)
}

func readDeadCursor(b []byte) *host.DeadCursor {
	if len(b) < 8 {
		return nil
	}
	u, err := uuid.FromBytes(b[8:])
	if err != nil {
		return nil
	}
	return &host.DeadCursor{DeadAt: time.UnixMicro(int64(binary.BigEndian.Uint64(b))).UTC(), ID: host.JobID(u.String())}
}
