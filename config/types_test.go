package config_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"github.com/securetaghq/securetag/config"
)

func TestByteSize(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]config.ByteSize{
		"0": 0, "17": 17, "17B": 17, "50MiB": 50 << 20, "50 mib": 50 << 20, "1GB": 1e9, "1.5GiB": 3 << 29, "0.5KiB": 512,
		" 2TiB ": 2 << 40, "9223372036854775807": 1<<63 - 1,
	} {
		var got config.ByteSize
		if err := got.UnmarshalText([]byte(text)); err != nil || got != want {
			t.Errorf("%q: got %d, %v; want %d", text, got, err, want)
		}
		var again config.ByteSize
		if err := again.UnmarshalText([]byte(got.String())); err != nil || again != got {
			t.Errorf("%q: %s read back gives %d, %v", text, got, again, err)
		}
	}
	for _, text := range []string{"", "MiB", "-1", "1.5", "0.3KiB", "1XB", "1 2", "1e3", "9223372036854775808", "9EiB", "8388608TiB", "1.2.3MB", ".", strings.Repeat("9", 1000)} {
		var got config.ByteSize
		if err := got.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q: got %d, want an error", text, got)
		}
	}
}

func TestBackoffRange(t *testing.T) {
	t.Parallel()
	var got config.BackoffRange
	if err := got.UnmarshalText([]byte("500ms .. 1h30m")); err != nil {
		t.Fatal(err)
	}
	if want := (config.BackoffRange{Min: 500 * time.Millisecond, Max: 90 * time.Minute}); got != want || got.String() != "500ms..1h30m" {
		t.Errorf("got %v, want %v", got, want)
	}
	for _, text := range []string{"", "1s", "..", "1s..", "2s..1s", "1..2", "1s..2s..3s"} {
		if err := got.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q: want an error", text)
		}
	}
}

func TestSecretIsNeverPrinted(t *testing.T) {
	t.Parallel()
	const text = "hunter2"
	s := config.NewSecret(text)
	cfg := config.Default()
	cfg.Database.URL = s
	unexported := struct{ s config.Secret }{s}
	var out strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		for _, v := range []any{s, &s, cfg.Database, &cfg.Database, unexported, []config.Secret{s}, map[string]config.Secret{"a": s}} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
	}
	for _, v := range []any{s, cfg.Database, map[string]any{"a": s}} {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(b)
	}
	for _, asJSON := range []bool{true, false} {
		log := hclog.New(&hclog.LoggerOptions{Output: &out, JSONFormat: asJSON})
		log.Info("x", "secret", s, "in", cfg.Database, "ptr", &s)
	}
	if strings.Contains(out.String(), text) || strings.Contains(out.String(), fmt.Sprintf("%x", text)) {
		t.Errorf("the secret is in:\n%s", out.String())
	}
	if got := s.Reveal(); got != text {
		t.Errorf("Reveal: %q", got)
	}
	if got := fmt.Sprint(s, config.Secret{}); got != "(sensitive) " {
		t.Errorf("printed as %q", got)
	}
	if !cmp.Equal(s, config.NewSecret(text)) || cmp.Equal(s, config.Secret{}) || config.NewSecret("") != (config.Secret{}) {
		t.Error("equality is not that of the text")
	}
}
