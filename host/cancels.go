package host

import "context"

// Cancels tells every host at once that a scan was canceled, so that none has
// to wait for a heartbeat to hear of it. It may lose messages, and it may carry
// ones that nobody here sent: a message changes nothing, it only makes a host
// ask the store. Safe for concurrent use; errors wrap ErrUnavailable while the
// server does not answer.
type Cancels interface {
	// Publish says that the cancel of a scan has been stored.
	Publish(ctx context.Context, scan ScanID) error
	// Subscribe listens until ctx ends, which returns nil, or until the server
	// can no longer be heard. It calls heard with "" once it listens, because
	// what was published before was missed, and then with each scan. heard must
	// not block. Nothing that it started is left when it returns.
	Subscribe(ctx context.Context, heard func(ScanID)) error
}
