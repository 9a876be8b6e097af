package catalog_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/securetaghq/securetag/host/executor/catalog"
	"github.com/securetaghq/securetag/sdk/proto/pluginv1"
)

func TestCache(t *testing.T) {
	t.Parallel()
	c := catalog.Cache{Dir: filepath.Join(t.TempDir(), "made", "when", "needed")}
	key := catalog.Key("abc", []string{"-x"})
	if c.Get(key) != nil {
		t.Error("an empty cache gives something")
	}
	want := &pluginv1.DescribeResponse{Name: "secrets", Version: "1.2.3"}
	if err := c.Put(key, want); err != nil {
		t.Fatal(err)
	}
	if got := c.Get(key); !proto.Equal(got, want) {
		t.Errorf("got %v", got)
	}
	for _, other := range []string{catalog.Key("abd", []string{"-x"}), catalog.Key("abc", nil), catalog.Key("abc", []string{"-x", ""}), ""} {
		if other == key || c.Get(other) != nil {
			t.Errorf("the key %q gives another's description", other)
		}
	}
	if catalog.Key("", nil) != "" {
		t.Error("a program without a hash has a key")
	}
	if err := (catalog.Cache{}).Put(key, want); err != nil || (catalog.Cache{}).Get(key) != nil {
		t.Errorf("the zero cache keeps something, or %v", err)
	}
}

// TestCacheTakesNothingForGranted: what cannot be read is as good as nothing.
func TestCacheTakesNothingForGranted(t *testing.T) {
	t.Parallel()
	c := catalog.Cache{Dir: t.TempDir()}
	key := catalog.Key("abc", nil)
	file := filepath.Join(c.Dir, key+".describe")
	nameless, err := proto.Marshal(&pluginv1.DescribeResponse{Version: "1"})
	if err != nil {
		t.Fatal(err)
	}
	for what, text := range map[string][]byte{"garbage": []byte("\xff\xff"), "empty": nil, "nameless": nameless, "huge": bytes.Repeat([]byte{0}, 5<<20)} {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if got := c.Get(key); got != nil {
			t.Errorf("%s: got %v", what, got)
		}
	}
}

func TestCacheIsBounded(t *testing.T) {
	t.Parallel()
	c := catalog.Cache{Dir: t.TempDir()}
	old := time.Now().Add(-time.Hour)
	for i := range 300 {
		name := filepath.Join(c.Dir, fmt.Sprintf("%03d.describe", i))
		if err := errors.Join(os.WriteFile(name, nil, 0o600), os.Chtimes(name, old, old.Add(time.Duration(i)*time.Second))); err != nil {
			t.Fatal(err)
		}
	}
	foreign := filepath.Join(c.Dir, "README")
	if err := os.WriteFile(foreign, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	key := catalog.Key("new", nil)
	if err := c.Put(key, &pluginv1.DescribeResponse{Name: "x"}); err != nil {
		t.Fatal(err)
	}
	left, err := filepath.Glob(filepath.Join(c.Dir, "*.describe"))
	if err != nil || len(left) != 256 || c.Get(key) == nil {
		t.Errorf("%d are left, %v, and the new one is %v", len(left), err, c.Get(key))
	}
	if strings.Contains(strings.Join(left, " "), "000.describe") {
		t.Error("the oldest is still there")
	}
	if _, err := os.Stat(foreign); err != nil {
		t.Errorf("a file that is none of the cache's: %v", err)
	}
}
