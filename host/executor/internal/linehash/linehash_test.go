package linehash_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/securetaghq/securetag/host/executor/internal/linehash"
)

func all(text string) map[int]string {
	want := map[int]bool{}
	for i := range len(text) + 2 {
		want[i] = true
	}
	return linehash.Of([]byte(text), want)
}

// TestVectors are those of src/fingerprints.test.ts in github/codeql-action.
func TestVectors(t *testing.T) {
	t.Parallel()
	lines := func(hashes ...string) map[int]string {
		m := map[int]string{}
		for i, h := range hashes {
			m[i+1] = h
		}
		return m
	}
	for text, want := range map[string]map[int]string{
		"":                   lines("c129715d7a2bc9a3:1"),
		" a\nb\n  \t\tc\n d": lines("271789c17abda88f:1", "54703d4cd895b18:1", "180aee12dab6264:1", "a23a3dc5e078b07b:1"),
		" hello; \t\nworld!!!\n\n\n  \t\tGreetings\n End": lines("8b7cf3e952e7aeb2:1", "b1ae1287ec4718d9:1", "bff680108adb0fcc:1", "c6805c5e1288b612:1", "b86d3392aea1be30:1", "e6ceba753e1a442:1"),
	} {
		if diff := cmp.Diff(want, all(text)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", text, diff)
		}
	}
}

func TestOnlyWhatIsAskedFor(t *testing.T) {
	t.Parallel()
	text := strings.Repeat("x = 1\n", 300)
	got := linehash.Of([]byte(text), map[int]bool{2: true, 250: true, 999: true})
	if len(got) != 2 || !strings.HasSuffix(got[2], ":2") || got[250] == got[2] {
		t.Errorf("got %v", got)
	}
}

// TestBreaks: how a line ends and how it is indented changes no hash, and
// neither does what stands above, but for how often a hash has come.
func TestBreaks(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		lines := rapid.SliceOfN(rapid.StringMatching(`[a-zé😀]{0,5}`), 1, 30).Draw(t, "lines")
		unix := all(strings.Join(lines, "\n"))
		if diff := cmp.Diff(unix, all(strings.Join(lines, "\r\n\t "))); diff != "" {
			t.Errorf("CRLF and indented (-unix +it):\n%s", diff)
		}
		above := rapid.IntRange(0, 20).Draw(t, "above")
		moved := all(strings.Repeat("#\n", above) + strings.Join(lines, "\n"))
		for n, hash := range unix {
			now, _, _ := strings.Cut(moved[n+above], ":")
			if before, _, _ := strings.Cut(hash, ":"); now != before {
				t.Errorf("line %d is %s and, %d lines below, %s", n, before, above, now)
			}
		}
	})
}

func BenchmarkOf(b *testing.B) {
	text := []byte(strings.Repeat(fmt.Sprintf("%s\n", strings.Repeat("x", 40)), 25_000))
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		linehash.Of(text, map[int]bool{7: true})
	}
}
