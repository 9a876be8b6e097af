package host

import (
	"fmt"

	"github.com/google/uuid"
)

// The ids are UUIDs in canonical lower-case text. New ones are version 7, so
// that rows created together sort and are stored together. The zero value is
// no id.
type (
	TenantID   string
	KeyID      string
	ScanID     string
	JobID      string
	FindingID  string
	ArtifactID string

	ProjectID        string
	ProjectFindingID string
	WebhookID        string
	DeliveryID       string
	TargetID         string
)

func NewTenantID() TenantID     { return TenantID(newID()) }
func NewKeyID() KeyID           { return KeyID(newID()) }
func NewScanID() ScanID         { return ScanID(newID()) }
func NewJobID() JobID           { return JobID(newID()) }
func NewFindingID() FindingID   { return FindingID(newID()) }
func NewArtifactID() ArtifactID { return ArtifactID(newID()) }
func NewProjectID() ProjectID   { return ProjectID(newID()) }

func NewProjectFindingID() ProjectFindingID { return ProjectFindingID(newID()) }
func NewWebhookID() WebhookID               { return WebhookID(newID()) }
func NewDeliveryID() DeliveryID             { return DeliveryID(newID()) }
func NewTargetID() TargetID                 { return TargetID(newID()) }

// ParseID reads an id of any of the id types from outside input. An id that is
// not a UUID in canonical text names nothing, so the error wraps ErrNotFound.
func ParseID[T ~string](s string) (T, error) {
	id, err := uuid.Parse(s)
	if err != nil || id.String() != s {
		return "", fmt.Errorf("id %.64q is not a UUID: %w", s, ErrNotFound)
	}
	return T(s), nil
}

// newID panics only when the system has no randomness left to give, which Go
// itself treats as fatal.
func newID() string { return uuid.Must(uuid.NewV7()).String() }
