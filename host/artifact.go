package host

import (
	"regexp"
	"sync"
	"time"
)

// Artifact is a file that a job produced: an SBOM, a raw report. The host has
// copied, counted and hashed it; its name and type are cleaned.
type Artifact struct {
	ID        ArtifactID
	ScanID    ScanID
	JobID     JobID
	Plugin    string
	Name      string // one file name, unique in its job
	MediaType string // "type/subtype"; never what the host serves it as without being told to download it
	Size      int64  // bytes
	SHA256    string // lower-case hex
	Blob      BlobKey
	CreatedAt time.Time
}

// MaxArtifacts is how many artifacts one job can have.
const MaxArtifacts = 100

// When first used: to compile their counts is most of what this package's start
// would cost each command.
//
//nolint:gochecknoglobals // regular expressions, which never change
var (
	artifactName = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._+@-]{0,127}$`)
	})
	mediaType = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^[a-z0-9][a-z0-9!#$&^_.+-]{0,63}/[a-z0-9][a-z0-9!#$&^_.+-]{0,63}$`)
	})
)

// ValidArtifactName reports whether s can be the name of an artifact: a file
// name that is safe on every system, 1 to 128 letters, digits, and "._+@-", not
// beginning with a dot or a dash.
func ValidArtifactName(s string) bool { return artifactName().MatchString(s) }

// ValidMediaType reports whether s is "type/subtype" in lower case, without
// parameters.
func ValidMediaType(s string) bool { return mediaType().MatchString(s) }
