package secretbox_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/secretbox"
)

func keys(firsts ...byte) [][]byte {
	var out [][]byte
	for _, b := range firsts {
		out = append(out, bytes.Repeat([]byte{b}, secretbox.KeySize))
	}
	return out
}

func ring(t *testing.T, firsts ...byte) *secretbox.Ring {
	t.Helper()
	r, err := secretbox.New(keys(firsts...))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestBoxes(t *testing.T) {
	t.Parallel()
	r, content := ring(t, 1), []byte(`{"headers":{"Authorization":"Bearer canary"}}`)
	box := r.Seal("t", "s", content)
	if got, err := r.Open("t", "s", box); err != nil || !bytes.Equal(got, content) {
		t.Errorf("opened %q, %v", got, err)
	}
	if bytes.Contains(box, []byte("canary")) || bytes.Equal(box, r.Seal("t", "s", content)) {
		t.Error("a box shows its content, or is the same twice")
	}
	for what, of := range map[string][2]string{"another tenant": {"u", "s"}, "another scan": {"t", "r"}, "neither": {"ts", ""}} {
		if _, err := r.Open(host.TenantID(of[0]), host.ScanID(of[1]), box); err == nil || errors.Is(err, secretbox.ErrNoKey) {
			t.Errorf("of %s: %v", what, err)
		}
	}
	for i := range box {
		changed := bytes.Clone(box)
		changed[i] ^= 1
		if _, err := r.Open("t", "s", changed); err == nil {
			t.Errorf("opened with byte %d changed", i)
		}
		if _, err := r.Open("t", "s", box[:i]); err == nil {
			t.Errorf("opened the first %d bytes", i)
		}
	}
}

// TestRotation: the newest key seals, and the older ones open as long as they are
// there.
func TestRotation(t *testing.T) {
	t.Parallel()
	before, during, after := ring(t, 1), ring(t, 1, 2), ring(t, 2)
	old, fresh := before.Seal("t", "s", []byte("x")), during.Seal("t", "s", []byte("x"))
	for what, tt := range map[string]struct {
		r    *secretbox.Ring
		box  []byte
		want error
	}{
		"old, by both": {during, old, nil}, "new, by both": {during, fresh, nil}, "new, by the new": {after, fresh, nil},
		"old, by the new": {after, old, secretbox.ErrNoKey}, "new, by the old": {before, fresh, secretbox.ErrNoKey},
	} {
		if _, err := tt.r.Open("t", "s", tt.box); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if !bytes.Equal(before.Fingerprint("t", []byte("x")), during.Fingerprint("t", []byte("x"))) {
		t.Error("a new key changes the fingerprints of requests that come again")
	}
}

func TestFingerprints(t *testing.T) {
	t.Parallel()
	r := ring(t, 1)
	seen := map[string]string{}
	for what, f := range map[string][]byte{
		"one": r.Fingerprint("t", []byte("x")), "another": r.Fingerprint("t", []byte("y")), "of another tenant": r.Fingerprint("u", []byte("x")),
		"by another key": ring(t, 2).Fingerprint("t", []byte("x")),
	} {
		if same := seen[string(f)]; same != "" {
			t.Errorf("%s is that of %s", what, same)
		}
		seen[string(f)] = what
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	for what, wrong := range map[string][][]byte{
		"none": nil, "short": {make([]byte, 16)}, "twice": keys(1, 1), "too many": keys(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17),
	} {
		if _, err := secretbox.New(wrong); err == nil {
			t.Errorf("%s are taken", what)
		}
	}
}

// FuzzOpen: a box may come from a database that somebody else wrote to.
func FuzzOpen(f *testing.F) {
	r, err := secretbox.New(keys(1))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(r.Seal("t", "s", []byte("x")))
	f.Add([]byte{})
	f.Add([]byte{1, 2})
	f.Fuzz(func(t *testing.T, box []byte) {
		if content, err := r.Open("t", "s", box); (err != nil) != (content == nil) && len(content) > 0 {
			t.Errorf("opened %q, %v", content, err)
		}
	})
}
