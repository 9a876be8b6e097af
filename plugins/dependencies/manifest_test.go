package main

import (
	"strings"
	"testing"

	"github.com/securetaghq/securetag/sdk/sdktest"
)

// TestManifestsWithoutLockfile: what a manifest asks for, and no lockfile says which,
// is not passed over in silence.
func TestManifestsWithoutLockfile(t *testing.T) {
	t.Parallel()
	const npm, lock = `{"name": "a", "dependencies": {"lodash": "^4.17.4"}}`, `{"lockfileVersion": 3, "packages": {"node_modules/lodash": {"version": "4.17.21"}}}`
	asking := map[string]string{
		"package.json": npm, "pyproject.toml": "[project]\nname = \"a\"\ndependencies = [\n  \"django\",\n]\n", "setup.py": "setup(install_requires=['django'])\n",
		"Pipfile": "[packages]\ndjango = \"*\"\n", "Cargo.toml": "[package]\nname = \"a\"\n[dependencies]\nserde = \"1\"\n", "Gemfile": "source 'x'\ngem 'rails'\n",
		"composer.json": `{"require": {"php": ">=8", "twig/twig": "^3"}}`, "build.gradle": "dependencies {\n  implementation 'a:b:1.+'\n}\n",
		"build.gradle.kts": "dependencies {\n  implementation(\"a:b:1\")\n}\n", "Package.swift": ".package(url: \"x\")", "Podfile": "pod 'A'\n",
		"mix.exs": "[{:phoenix, \"~> 1.0\"}]", "pubspec.yaml": "dependencies:\n  http: ^1.0.0\n",
	}
	if len(asking) != len(manifests) {
		t.Errorf("%d of %d manifests have a sample", len(asking), len(manifests))
	}
	type sample struct {
		files map[string]string
		names string // the manifest that is told of; "" none
	}
	cases := map[string]sample{
		"nothing asked":  {map[string]string{"package.json": `{"type": "module", "dependencies": {}}`}, ""},
		"beside":         {map[string]string{"a/package.json": npm, "a/package-lock.json": lock}, ""},
		"above":          {map[string]string{"packages/a/package.json": npm, "package-lock.json": lock}, ""},
		"below":          {map[string]string{"package.json": npm, "a/package-lock.json": lock}, "package.json"},
		"another's":      {map[string]string{"a/package.json": npm, "requirements.txt": "django==4.2.17\n"}, "a/package.json"},
		"of Python":      {map[string]string{"pyproject.toml": asking["pyproject.toml"], "dev-requirements.txt": "django==4.2.17\n"}, ""},
		"bun's of old":   {map[string]string{"package.json": npm, "bun.lockb": "\x00"}, "package.json"},
		"in what is not": {map[string]string{"node_modules/a/package.json": npm, "package-lock.json": lock}, ""},
	}
	for name, text := range asking {
		cases[name] = sample{map[string]string{"sub/" + name: text}, "sub/" + name}
	}
	for name, tt := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := scanApp(t, sdktest.Request{Root: writeFiles(t, tt.files)})
			notes := strings.Join(r.Notes, "\n")
			if got := strings.Contains(notes, "without a lockfile"); got != (tt.names != "") {
				t.Errorf("%s %s, notes %q", r.Status, r.Reason, notes)
			}
			if r.Status == sdktest.NotApplicable && tt.names != "" && !strings.Contains(r.Reason, tt.names+" names no versions") {
				t.Errorf("%s", r.Reason)
			}
		})
	}
}
