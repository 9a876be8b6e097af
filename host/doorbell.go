package host

import "context"

// Doorbell says that a job is ready for a plugin.
type Doorbell struct {
	Plugin string
	Job    JobID
}

// Ringing is a doorbell as heard by one listener, with what is needed to
// silence it.
type Ringing struct {
	Doorbell
	Receipt string // opaque; valid for the adapter that gave it
}

// Doorbells carries doorbells between hosts. It may lose and double them: the
// store knows the truth. All methods are safe for concurrent use and return an
// error that wraps ErrUnavailable while the server does not answer.
type Doorbells interface {
	// Ring publishes the doorbells in one round trip. On an error any of them
	// may have been published.
	Ring(ctx context.Context, bells []Doorbell) error
	// Listen waits a short time (see the adapter's Config) for doorbells of the
	// given plugins and returns about max of them (each plugin's are counted
	// apart); none and nil when there were none. A doorbell heard by one listener is not heard by another until
	// it has been left unsilenced for longer than the adapter's idle time.
	Listen(ctx context.Context, plugins []string, max int) ([]Ringing, error)
	// Silence removes doorbells for good: the job was claimed, or was not there
	// to be claimed.
	Silence(ctx context.Context, heard []Ringing) error
	// Leave takes this host's name off those that the server keeps of hosts that
	// listen, but where it heard doorbells that are not silenced: those still
	// go to another host after the idle time. A later Listen brings it back.
	Leave(ctx context.Context) error
	// Ping reports whether the server answers.
	Ping(ctx context.Context) error
}
