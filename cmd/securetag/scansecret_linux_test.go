package main

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/securetaghq/securetag/cmd/securetag/internal/report"
)

// TestSecretPrompt: a terminal is asked for a secret, by its name, and shows nothing
// of it.
func TestSecretPrompt(t *testing.T) {
	t.Parallel()
	for typed, want := range map[string]string{"canary 1\r": `{"cookies":{"session":"canary 1"}}`, "canary\x03": ""} {
		screen, tty := terminal(t)
		asked := &prompted{once: make(chan struct{}, 1)}
		p := &program{stdin: tty, stderr: asked}
		type answer struct {
			text string
			err  error
		}
		done := make(chan answer, 1)
		go func() {
			got, err := p.readSecrets(t.Context(), []string{"cookies.session=-"})
			done <- answer{string(encoded(got)), err}
		}()
		<-asked.once
		if echoes(t, tty) {
			t.Error("the terminal shows what is typed")
		}
		if _, err := io.WriteString(screen, typed); err != nil {
			t.Fatal(err)
		}
		a := <-done
		var exit *exitError
		switch {
		case want != "" && (a.err != nil || a.text != want):
			t.Errorf("typed %q: %s, %v", typed, a.text, a.err)
		case want == "" && (!errors.As(a.err, &exit) || exit.code != report.ExitInterrupted):
			t.Errorf("typed %q: %v", typed, a.err)
		}
		if said := asked.String(); strings.Contains(said, "canary") || !strings.Contains(said, "Secret cookies.session: ") || !echoes(t, tty) {
			t.Errorf("said %q; the terminal shows what is typed again: %t", said, echoes(t, tty))
		}
		_ = tty.Close()
	}
}
