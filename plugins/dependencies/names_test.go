package main

import (
	"fmt"
	"io"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/sdk/sdktest"
)

// TestNames: a package is the one that its advisory means, also where the one or the
// other writes capitals: a purl has Go's and Composer's names in lower case, and to
// NuGet and Packagist case makes no other package.
func TestNames(t *testing.T) {
	t.Parallel()
	advisories := map[string]string{}
	for id, about := range map[string][2]string{
		"A-1": {"Go", "github.com/Masterminds/goutils"}, "A-2": {"Packagist", "symfony/http-kernel"}, "A-3": {"NuGet", "Newtonsoft.Json"},
		"A-4": {"npm", "@Scope/Pkg"}, "A-5": {"npm", "jsonstream"}, "A-6": {"PyPI", "Django_Rest.Framework"}, "A-7": {"Maven", "Com.Acme:Tool"},
		"A-8": {"Go", "github.com/masterminds/other"},
	} {
		advisories[id+".json"] = fmt.Sprintf(`{"id": %q, "modified": "2024-12-01T00:00:00Z", "affected": [{"package": {"ecosystem": %q, "name": %q}, "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}]}]}]}`, id, about[0], about[1])
	}
	database := t.TempDir()
	if _, err := (update{from: writeFiles(t, advisories), to: database, ecosystems: ecosystems, log: io.Discard}).run(t.Context()); err != nil {
		t.Fatal(err)
	}
	root := writeFiles(t, map[string]string{
		"go.mod":            "module m\n\ngo 1.21\n\nrequire (\n\tgithub.com/Masterminds/goutils v1.1.0\n\tgithub.com/Masterminds/other v1.0.0\n)\n",
		"composer.lock":     `{"packages": [{"name": "Symfony/Http-Kernel", "version": "v4.4.0"}], "packages-dev": []}`,
		"app.csproj":        `<Project Sdk="Microsoft.NET.Sdk"><ItemGroup><PackageReference Include="newtonsoft.json" Version="9.0.1" /></ItemGroup></Project>`,
		"package-lock.json": `{"lockfileVersion": 3, "packages": {"node_modules/@Scope/Pkg": {"version": "1.0.0"}, "node_modules/JSONStream": {"version": "1.0.0"}}}`,
		"requirements.txt":  "django-rest-framework==1.0\n",
		"pom.xml":           "<project><dependencies><dependency><groupId>Com.Acme</groupId><artifactId>Tool</artifactId><version>1.0</version></dependency></dependencies></project>",
	})
	r := scanApp(t, sdktest.Request{Root: root, Config: fmt.Sprintf(`{"database": %q}`, database)})
	var got []string
	for _, f := range r.Findings {
		got = append(got, f.Properties["id"]+" "+f.Properties["package"])
	}
	slices.Sort(got)
	want := []string{
		"A-1 github.com/Masterminds/goutils", "A-2 Symfony/Http-Kernel", "A-3 newtonsoft.json", "A-4 @Scope/Pkg", "A-6 django-rest-framework", "A-7 Com.Acme:Tool",
	}
	if diff := cmp.Diff(want, got); diff != "" || r.Status != sdktest.Succeeded {
		t.Errorf("%s: %s\n%s", r.Status, r.Reason, diff)
	}
}
