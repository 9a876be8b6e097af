package config_test

import (
	"maps"
	"strings"
	"testing"

	"github.com/securetaghq/securetag/config"
)

// TestSecretsByReference: what is a secret that the file writes out, and what is
// none.
func TestSecretsByReference(t *testing.T) {
	t.Parallel()
	const redis = "redis {\n addresses = [\"a:1\"]\n password = "
	for text, refused := range map[string]bool{
		redis + `"s3cret"` + "\n}":                                     true,
		redis + `lower("S3CRET")` + "\n}":                              true,
		redis + `12345` + "\n}":                                        true,
		redis + "trimspace(<<E\ns3cret\nE\n)\n}":                       true,
		redis + `env("PW", "s3cret")` + "\n}":                          true, // set or not
		redis + `env("PW")` + "\n}":                                    false,
		redis + `env("PW", "")` + "\n}":                                false,
		redis + `"x-${upper(env("PW"))}"` + "\n}":                      false,
		redis + `split(",", env("PAIR"))[1]` + "\n}":                   false,
		redis + `""` + "\n}":                                           false,
		redis + `null` + "\n}":                                         false,
		`database { url = "postgres://a:s3cret@db/x" }`:                true,
		`database { url = "postgres://a:s3cret@${env("HOST")}/x" }`:    true,
		`database { url = "${env("SCHEME")}://a:s3cret@db/x" }`:        true,
		`database { url = "postgres://a@db/x?password=s3cret" }`:       true,
		`database { url = "postgres://a@db/x?sslpassword=s3cret" }`:    true,
		`database { url = env("URL", "postgres://a:s3cret@db/x") }`:    true,
		`redis { url = "redis://:s3cret@a:1/0" }`:                      true,
		`redis { url = join("", ["redis://:", "s3cret", "@a:1/0"]) }`:  true,
		`redis { url = join("", ["redis://:", env("PW"), "@a:1/0"]) }`: false,
		`redis { url = "redis://a:1/0" }`:                              false,
		`redis { url = "redis://user@a:1/0" }`:                         false,
		`database { url = "postgres://a:${env("PW")}@db/x" }`:          false,
		`database { url = "postgres://a@db:${env("PORT")}/x" }`:        false,
		`database { url = "postgres://a@db/x?password=${env("PW")}" }`: false,
		`database { url = env("URL", "postgres://localhost/x") }`:      false,
		`database { url = env("URL") }`:                                false,
		`database { url = "" }`:                                        false,
	} {
		_, err := load(t, config.Options{Dir: write(t, text), Environ: []string{
			"PW=hunter2", "PAIR=a,hunter2", "HOST=db", "PORT=5432", "SCHEME=postgres", "URL=postgres://a:hunter2@db/x",
		}})
		if err == nil {
			if refused {
				t.Errorf("not refused: %s", text)
			}
			continue
		}
		got := report(t, err)
		if !refused || strings.Count(got, "Error: ") != strings.Count(got, "Error: Secret in the file") {
			t.Errorf("want refused %t: %s\n%s", refused, text, got)
		}
		if strings.Contains(strings.ToLower(got), "s3cret") || strings.Contains(got, "hunter2") {
			t.Errorf("the message repeats the secret: %s\n%s", text, got)
		}
	}
}

// TestSecretsOfVariables: a variable is where a secret may be.
func TestSecretsOfVariables(t *testing.T) {
	t.Parallel()
	l, err := load(t, config.Options{
		Dir:     write(t, `database { url = "postgres://a@db/x" }`),
		Environ: []string{"SECURETAG_DATABASE__URL=postgres://a:s3cret@db/x"},
	})
	if err != nil {
		t.Fatal(report(t, err))
	}
	if got := l.Config.Database.URL.Reveal(); got != "postgres://a:s3cret@db/x" {
		t.Errorf("got %q", got)
	}
}

// TestLiteralsOfPlugins: which settings of a plugin the file writes out.
func TestLiteralsOfPlugins(t *testing.T) {
	t.Parallel()
	const file = `plugin "x" {
  dev = true
  config {
    plain     = "s3cret"
    number    = 7
    list      = [env("PW"), "s3cret"]
    fallback  = env("GONE", "s3cret")
    empty     = ""
    reference = env("PW")
    inside    = "x-${lower(env("PW"))}"
    listed    = [env("PW"), env("PW")]
    nested {
      deep = "s3cret"
    }
    referred {
      deep = env("PW")
    }
  }
}
`
	l, err := load(t, config.Options{Dir: write(t, file), Environ: []string{"PW=hunter2"}})
	if err != nil {
		t.Fatal(report(t, err))
	}
	want := map[string]bool{"plain": true, "number": true, "list": true, "fallback": true, "nested": true}
	if got := l.Config.Plugins["x"].Literals; !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	l, err = load(t, config.Options{Dir: write(t, file), Environ: []string{"PW=hunter2", `SECURETAG_PLUGIN__X__CONFIG={"plain":"s3cret"}`}})
	if err != nil {
		t.Fatal(report(t, err))
	}
	if got := l.Config.Plugins["x"].Literals; len(got) > 0 {
		t.Errorf("from a variable: got %v, want none", got)
	}
}
