package main

import (
	"fmt"
	"math"

	cpb "github.com/google/osv-scalibr/binary/proto/config_go_proto"
	"github.com/google/osv-scalibr/extractor/filesystem"
	"github.com/google/osv-scalibr/extractor/filesystem/language/cpp/conanlock"
	"github.com/google/osv-scalibr/extractor/filesystem/language/dart/pubspec"
	"github.com/google/osv-scalibr/extractor/filesystem/language/dotnet/csproj"
	"github.com/google/osv-scalibr/extractor/filesystem/language/dotnet/nugetcpm"
	"github.com/google/osv-scalibr/extractor/filesystem/language/dotnet/packagesconfig"
	"github.com/google/osv-scalibr/extractor/filesystem/language/dotnet/packageslockjson"
	"github.com/google/osv-scalibr/extractor/filesystem/language/dotnet/paketlock"
	elixir "github.com/google/osv-scalibr/extractor/filesystem/language/elixir/mixlock"
	"github.com/google/osv-scalibr/extractor/filesystem/language/golang/gomod"
	"github.com/google/osv-scalibr/extractor/filesystem/language/haskell/cabal"
	"github.com/google/osv-scalibr/extractor/filesystem/language/haskell/stacklock"
	"github.com/google/osv-scalibr/extractor/filesystem/language/java/gradlelockfile"
	"github.com/google/osv-scalibr/extractor/filesystem/language/java/gradleverificationmetadataxml"
	"github.com/google/osv-scalibr/extractor/filesystem/language/java/gradleversioncatalog"
	"github.com/google/osv-scalibr/extractor/filesystem/language/java/pomxml"
	"github.com/google/osv-scalibr/extractor/filesystem/language/javascript/bunlock"
	"github.com/google/osv-scalibr/extractor/filesystem/language/javascript/packagelockjson"
	"github.com/google/osv-scalibr/extractor/filesystem/language/javascript/pnpmlock"
	"github.com/google/osv-scalibr/extractor/filesystem/language/javascript/yarnlock"
	"github.com/google/osv-scalibr/extractor/filesystem/language/julia/manifesttoml"
	"github.com/google/osv-scalibr/extractor/filesystem/language/php/composerlock"
	"github.com/google/osv-scalibr/extractor/filesystem/language/python/pdmlock"
	"github.com/google/osv-scalibr/extractor/filesystem/language/python/pipfilelock"
	"github.com/google/osv-scalibr/extractor/filesystem/language/python/poetrylock"
	"github.com/google/osv-scalibr/extractor/filesystem/language/python/pylock"
	"github.com/google/osv-scalibr/extractor/filesystem/language/python/requirements"
	"github.com/google/osv-scalibr/extractor/filesystem/language/python/uvlock"
	"github.com/google/osv-scalibr/extractor/filesystem/language/r/renvlock"
	"github.com/google/osv-scalibr/extractor/filesystem/language/ruby/gemfilelock"
	"github.com/google/osv-scalibr/extractor/filesystem/language/rust/cargolock"
	"github.com/google/osv-scalibr/extractor/filesystem/language/swift/packageresolved"
	"github.com/google/osv-scalibr/extractor/filesystem/language/swift/podfilelock"
)

// newExtractors makes those of the engine that read what says which packages
// and versions a project builds with. Left out are those for binaries and
// archives, which are not source; for installed packages; and for manifests
// beside which their tool keeps a lockfile, whose ranges are no versions.
func newExtractors() []filesystem.Extractor {
	makers := []func(*cpb.PluginConfig) (filesystem.Extractor, error){
		packagelockjson.New, yarnlock.New, pnpmlock.New, bunlock.New, // JavaScript
		requirements.New, poetrylock.New, pipfilelock.New, pdmlock.New, uvlock.New, pylock.New, // Python
		gomod.New,
		pomxml.New, gradlelockfile.New, gradleverificationmetadataxml.New, gradleversioncatalog.New, // Java
		cargolock.New, gemfilelock.New, composerlock.New,
		csproj.New, nugetcpm.New, packagesconfig.New, packageslockjson.New, paketlock.New, // .NET
		packageresolved.New, podfilelock.New, // Swift
		pubspec.New, elixir.New, cabal.New, stacklock.New, renvlock.New, conanlock.New, manifesttoml.New,
	}
	out := make([]filesystem.Extractor, 0, len(makers))
	// Some pass over files above a size of their own, and say nothing: max_file_size
	// is for all, and is said.
	config := &cpb.PluginConfig{MaxFileSizeBytes: math.MaxInt64}
	for _, newExtractor := range makers {
		e, err := newExtractor(config)
		if err != nil {
			panic(fmt.Sprintf("an extractor of the engine refuses its own defaults: %v", err))
		}
		out = append(out, e)
	}
	return out
}
