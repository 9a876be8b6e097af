package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/securetaghq/securetag/host/intake"
)

// TestReadSecrets: a secret is read where the flag says, and what is wrong is said
// without it.
func TestReadSecrets(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return "@" + path
	}
	text, object, large := file("text", "canary \r\n"), file("object", ` {"a": "canary<"} `), file("large", strings.Repeat("canary", intake.MaxOptions/6+1))
	half := file("half", strings.Repeat("x", intake.MaxOptions/2))
	for name, c := range map[string]struct {
		args []string
		want string // the object, or
		err  string // a part of what is said
	}{
		"none":               {nil, "null", ""},
		"a file":             {[]string{"token=" + text}, `{"token":"canary"}`, ""},
		"JSON":               {[]string{"headers=" + object}, `{"headers":{"a":"canary<"}}`, ""},
		"a variable":         {[]string{"token=env:TOKEN"}, `{"token":"canary=1"}`, ""},
		"a number is text":   {[]string{"pin=env:PIN"}, `{"pin":"0123"}`, ""},
		"JSON of a string":   {[]string{"pin=env:QUOTED"}, `{"pin":"{}"}`, ""},
		"standard input":     {[]string{"token=-"}, `{"token":"canary\nand more"}`, ""},
		"members":            {[]string{"cookies.connect.sid=env:TOKEN", "cookies.b=-", "x=env:PIN"}, `{"cookies":{"b":"canary\nand more","connect.sid":"canary=1"},"x":"0123"}`, ""},
		"a value":            {[]string{"token=canary"}, "", `--secret "token": a secret does not stand on the command line, where other users and the shell's history see it: write NAME=@FILE`},
		"a value like JSON":  {[]string{`headers={"a":"canary"}`}, "", "does not stand on the command line"},
		"no name":            {[]string{"canary"}, "", "--secret: write NAME=@FILE"},
		"an empty name":      {[]string{"=@canary"}, "", "--secret: write NAME=@FILE"},
		"an empty member":    {[]string{"a.=@canary"}, "", "--secret: write NAME=@FILE"},
		"no file":            {[]string{"token=@"}, "", "does not stand"},
		"no such file":       {[]string{"token=@" + dir + "/nowhere"}, "", "no such file"},
		"a directory":        {[]string{"token=@" + dir}, "", "is a directory"},
		"not set":            {[]string{"token=env:NOWHERE"}, "", `--secret "token", from the variable "NOWHERE": it is not set`},
		"empty":              {[]string{"token=env:EMPTY"}, "", `--secret "token", from the variable "EMPTY": there is nothing in it`},
		"broken JSON":        {[]string{"headers=env:BROKEN"}, "", "is not JSON"},
		"no text":            {[]string{"token=env:BYTES"}, "", "not UTF-8"},
		"too large":          {[]string{"token=" + large}, "", "larger than 16384 bytes"},
		"too large together": {[]string{"a=" + half, "b=" + half}, "", "together they are larger than 16384 bytes"},
		"twice":              {[]string{"token=env:TOKEN", "token=" + text}, "", `--secret "token" is given twice`},
		"whole and member":   {[]string{"a=env:TOKEN", "a.b=" + text}, "", `--secret "a.b" is given twice`},
		"member and whole":   {[]string{"a.b=env:TOKEN", "a=" + text}, "", `--secret "a" is given twice`},
		"two of input":       {[]string{"a=-", "b=-"}, "", `--secret "b": standard input is one secret`},
	} {
		p := &program{
			stdin:   strings.NewReader("canary\nand more\n"),
			environ: []string{"TOKEN=canary=1", "PIN=0123", `QUOTED="{}"`, "EMPTY= ", `BROKEN={"a": canary}`, "BYTES=canary\xff"},
		}
		got, err := p.readSecrets(t.Context(), c.args)
		var usage usageError
		switch {
		case c.err == "":
			if text := string(encoded(got)); err != nil || text != c.want {
				t.Errorf("%s: %s, %v, want %s", name, text, err, c.want)
			}
		case !errors.As(err, &usage) || !strings.Contains(err.Error(), c.err) || strings.Contains(err.Error(), "canary"):
			t.Errorf("%s: %v, want %q, and no canary", name, err, c.err)
		}
	}
}

// TestReadSecretsInterrupted: nobody waits for a pipe that says nothing.
func TestReadSecretsInterrupted(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (&program{stdin: r}).readSecrets(ctx, []string{"token=-"}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	_ = w.Close() // what still reads ends
	_ = r.Close()
}

func TestLooksLikeSite(t *testing.T) {
	t.Parallel()
	for arg, want := range map[string][2]bool{ // a URL, and what a path that does not exist looks like
		"https://shop.example": {true, true}, "HTTP://x": {true, true}, "ftp://shop.example": {false, true}, "shop.example.com/cart": {false, true},
		"localhost:8080": {false, true}, "src": {false, false}, "./shop.example": {false, false}, "../a.b": {false, false}, "app.zip": {false, false},
		"/srv/shop.example": {false, false}, "./http://shop": {false, true}, "https:/shop": {false, false}, "": {false, false}, "a b": {false, false},
	} {
		if got := [2]bool{isURL(arg), looksLikeSite(arg)}; got != want {
			t.Errorf("%q: %v, want %v", arg, got, want)
		}
	}
}
