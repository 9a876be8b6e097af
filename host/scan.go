package host

import (
	"bytes"
	"encoding/json"
	"time"
)

// InputKind says what a scan type takes.
type InputKind string

const (
	InputArchive InputKind = "archive" // an uploaded source archive
	InputURL     InputKind = "url"     // a web target by name
)

// Scan is one request: what to scan, by which jobs, and how far it is.
type Scan struct {
	ID       ScanID
	TenantID TenantID
	Type     string          // scan type, as declared in securetag.hcl: "codeaudit", "web", ...
	Project  string          // "" or ^[A-Za-z0-9_-]{1,64}$
	Input    Input           //
	Priority Priority        // "" is normal
	Options  json.RawMessage // a JSON object: by name the scan type's options, and by plugin that plugin's own object; nil means {}
	Gate     *Gate           // nil: its project's
	// SecretOptions names the options that nobody is shown, in order; nil: there
	// are none. Secrets is the box with their values, as long as the scan has not
	// ended: only Accept takes it, and only a claim gives it back.
	SecretOptions []string `json:",omitempty"`
	Secrets       []byte   `json:"-"`
	State         State    // derived from the jobs
	// Once is by what the request is known when it comes again; nil: by nothing.
	// Only Accept takes it: no query gives it back.
	Once *Once `json:"-"`

	CreatedAt         time.Time
	StartedAt         time.Time // zero: no job has started
	FinishedAt        time.Time // zero: not final
	CancelRequestedAt time.Time // zero: not asked

	Jobs   []Job  // in the order of the scan type's plugins; nil in lists
	Counts Counts // findings of its finished jobs
}

// OptionsFor gives the options of one plugin, nil when there are none, and those
// of the scan type, by name. Only a plugin's are an object.
func (s Scan) OptionsFor(plugin string) (own json.RawMessage, shared map[string]json.RawMessage) {
	var all map[string]json.RawMessage
	if json.Unmarshal(s.Options, &all) != nil { // intake stores nothing but objects
		return nil, nil
	}
	for name, v := range all {
		switch {
		case !bytes.HasPrefix(v, []byte("{")):
			if shared == nil {
				shared = map[string]json.RawMessage{}
			}
			shared[name] = v
		case name == plugin:
			own = v
		}
	}
	return own, shared
}

// Storage is what the scan's archive takes of its tenant's storage, in bytes.
func (s Scan) Storage() int64 {
	if s.Input.Archive == nil {
		return 0
	}
	return s.Input.Archive.Size
}

// Input is exactly one of an archive and a URL.
type Input struct {
	Archive *Archive
	URL     string
}

// InlineArchive is the largest archive, packed, that is not a blob of its own: a
// file made and synced for each costs more than all else that is done for a
// small one. In bytes.
const InlineArchive = 32 << 10

// Archive is an uploaded source archive as intake checked and kept it: a blob of
// its own, a part of a blob of small archives that one tenant sent at the same
// time, or in the store with its scan.
type Archive struct {
	// Data is the archive itself when the store keeps it, nil otherwise. Only
	// Accept takes it and only Claim gives it back: no other query reads it.
	Data []byte  `json:"-"`
	Blob BlobKey // "" when the store has it
	// Offset is where in the blob it begins; there it has Size bytes.
	Offset        int64  `json:",omitempty"`
	Filename      string // as the client named it, for display only; never a path
	Format        string // "zip", "tar", "tar.gz", "tar.zst"
	Size          int64  // bytes, packed
	SHA256        string // lower-case hex
	Files         int    // regular files that a plugin will see
	UnpackedBytes int64
	Dropped       int // links, devices and .git entries left out

	// RemovedAt is when retention took the blob away; zero: it is there. The
	// rest still says what was scanned.
	RemovedAt time.Time `json:"-"` // a column of its own: the stored JSON never changes
}

// Counts is how many findings there are of each severity.
type Counts struct {
	Critical, High, Medium, Low, Info, Unknown int
}

// Total is the number of findings of every severity.
func (c Counts) Total() int {
	return c.Critical + c.High + c.Medium + c.Low + c.Info + c.Unknown
}

// Of is how many there are of severity s.
func (c Counts) Of(s Severity) int {
	return [...]int{c.Critical, c.High, c.Medium, c.Low, c.Info, c.Unknown}[s.Rank()]
}

// Add counts n findings of severity s.
func (c *Counts) Add(s Severity, n int) {
	switch s {
	case SeverityCritical:
		c.Critical += n
	case SeverityHigh:
		c.High += n
	case SeverityMedium:
		c.Medium += n
	case SeverityLow:
		c.Low += n
	case SeverityInfo:
		c.Info += n
	default:
		c.Unknown += n
	}
}

// Plus is the sum of both counts.
func (c Counts) Plus(o Counts) Counts {
	return Counts{c.Critical + o.Critical, c.High + o.High, c.Medium + o.Medium, c.Low + o.Low, c.Info + o.Info, c.Unknown + o.Unknown}
}
