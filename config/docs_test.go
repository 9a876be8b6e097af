package config_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/securetaghq/securetag/config"
)

//go:generate go test -run ^TestReferencePage$ -update .

func TestReferencePage(t *testing.T) {
	t.Parallel()
	golden(t, filepath.Join("..", "docs", "configuration.md"), referencePage())
}

const referenceHead = "<!-- Generated from config/config.go by go generate ./config; do not edit. -->\n" + `
# Configuration

SecureTag needs no configuration. What you do set comes in four layers, and
each overrides the one before it:

1. the defaults, listed here;
2. the file: the one that ` + "`--config`" + ` names, else ` + "`./securetag.hcl`" + `, else
   ` + "`/etc/securetag/securetag.hcl`" + `, else none;
3. environment variables that begin with ` + "`SECURETAG_`" + `;
4. command line flags.

The file at the top of this repository, [securetag.hcl](../securetag.hcl), shows
every setting with its default and can be used as it is.
` + "`securetag config init`" + ` writes a short one to begin with,
` + "`securetag config check`" + ` reports every mistake at once, with file, line and what
was probably meant, ` + "`securetag config show`" + ` says what is in force and where it
comes from, and ` + "`securetag config explain limits.archive_size`" + ` what a setting is.
` + "`securetag config schema`" + ` prints all of this page for programs, as JSON.

A running host reads its configuration again on SIGHUP and on POST
/admin/reload. The column *a change* says what it does with a setting that
changed: *reload* takes it, *restart* waits until the host is started again. A
scan type or a plugin that is new or gone waits, too, and so do the plugins of a
scan type when one of them waits. See [Operating](operating.md#reloading).

## Several files

When ` + "`--config`" + ` names a directory, all its files ` + "`*.hcl`" + ` are one configuration.
A block without a name, such as ` + "`server`" + `, may be spread over files; a setting
that is given twice, or a block with a name, is a mistake that names both places.
No file overrides another, so their order does not matter.

## The language

The file is [HCL 2](https://github.com/hashicorp/hcl/blob/main/hclsyntax/spec.md).

- Durations are strings with a unit: ` + "`\"500ms\"`, `\"30s\"`, `\"1h30m\"`" + `.
- Sizes are strings with a unit, ` + "`\"50MiB\"`" + ` (of 1024) or ` + "`\"50MB\"`" + ` (of 1000), or a number of bytes.
- ` + "`null`" + ` leaves a setting as it is.
- Values may be expressions, without loops, and use these functions:

| function | gives |
|---|---|
| ` + "`env(\"NAME\")`" + ` | an environment variable, which must be set |
| ` + "`env(\"NAME\", \"default\")`" + ` | the same, which may be missing |
| ` + "`file(\"path\")`" + ` | the text of a file of at most 64 KiB, relative to the configuration file |
| ` + "`trimspace(s)`" + ` | s without spaces and line breaks around it: use it around file |
| ` + "`upper(s)`, `lower(s)`, `split(sep, s)`, `join(sep, list)`" + ` | strings |
| ` + "`concat(list, ...)`, `coalesce(a, ...)`, `max(n, ...)`, `min(n, ...)`" + ` | lists, the first that is not null, numbers |

Secrets are in the file by reference only. A password in ` + "`database.url` or `redis.url`" + `, or a
` + "`redis.password`" + `, that is written out is a mistake, and so is one that is the default of
` + "`env`" + `. Refer to it, alone or in the middle of a URL:

` + "```hcl" + `
database {
  url = "postgres://securetag:${env("POSTGRES_PASSWORD")}@db.example.com:5432/securetag"
}

redis {
  addresses = ["redis-1:6379", "redis-2:6379"]
  password  = trimspace(file("/run/secrets/redis"))
}
` + "```" + `

The same holds for what a plugin calls sensitive among its own settings:

` + "```hcl" + `
plugin "deps" {
  config {
    token = env("REGISTRY_TOKEN")
  }
}
` + "```" + `

The variables below hold the value itself.

Sensitive settings and what stands in the env and config of a plugin are never
printed or logged.

## Environment variables

A variable's name is the setting's path in capitals, with two underscores
between its levels; a hyphen in the name of a scan or a plugin is one
underscore: ` + "`scan.code-audit.timeout` is `SECURETAG_SCAN__CODE_AUDIT__TIMEOUT`" + `.
Lists are ` + "`a,b`" + ` or JSON, maps ` + "`A=x,B=y`" + ` or JSON, and the config of a plugin is a
JSON object. A variable changes blocks that are built in or declared in the file
and declares none; one that names no setting is a mistake and is reported. The
env of a plugin is merged name by name; every other value replaces the one below.

## Settings
`

// referencePage is docs/configuration.md.
func referencePage() string {
	var b strings.Builder
	b.WriteString(referenceHead)
	table := func() {
		b.WriteString("| setting | default | takes | a change | meaning |\n|---|---|---|---|---|\n")
	}
	b.WriteString("\n")
	table()
	for _, r := range config.References() {
		if r.Block {
			title, name, ok := strings.Cut(r.Path, ".")
			if ok {
				name, inner, _ := strings.Cut(name, ".")
				inner, _, named := strings.Cut(inner, ".")
				if named {
					inner += ` "<name>"`
				}
				title = strings.TrimSpace(title + ` "` + name + `" ` + inner)
			}
			fmt.Fprintf(&b, "\n### `%s`\n\n%s\n\n", title, r.Doc)
			table()
			continue
		}
		name := r.Path[strings.LastIndex(r.Path, ".")+1:]
		value := r.Default
		if r.Path == "plugin.<name>.command" {
			value = "the plugin's name"
		} else {
			value = "`" + value + "`"
		}
		fmt.Fprintf(&b, "| `%s`<br>`%s` | %s | %s | %s | %s |\n", name, r.Env, value, r.Allowed, r.Reload, r.Doc)
	}
	return b.String()
}
