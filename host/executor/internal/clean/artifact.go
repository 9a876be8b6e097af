package clean

import (
	"errors"
	"fmt"
	"regexp"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/sdk/proto/pluginv1"
)

var sha256Hex = regexp.MustCompile(`^[0-9a-f]{64}$`)

// Artifact checks what a plugin says of an artifact, and gives its path below
// the work directory. Name and type are identities: nothing of them is repaired.
func Artifact(a *pluginv1.Artifact) (out host.Artifact, path string, err error) {
	name, kind, sum := a.GetName(), a.GetMediaType(), a.GetSha256()
	switch {
	case !host.ValidArtifactName(name):
		return out, "", fmt.Errorf("its name %q is no file name of 1 to 128 letters, digits and ._+@-", Line(name, 140))
	case !host.ValidMediaType(kind):
		return out, "", fmt.Errorf("its media type %q is not type/subtype in lower case", Line(kind, 140))
	case sum != "" && !sha256Hex.MatchString(sum):
		return out, "", errors.New("its sha256 is not 64 lower-case hex digits")
	}
	path, err = Path(a.GetPath())
	if err != nil || path == "" || path != a.GetPath() {
		return out, "", fmt.Errorf("its path %q is not relative, slash-separated and clean", Line(a.GetPath(), 140))
	}
	return host.Artifact{Name: name, MediaType: kind, SHA256: sum}, path, nil
}
