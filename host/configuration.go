package host

import (
	"context"
	"fmt"
	"time"
)

// ConfigSetting is a setting that is in force on a host.
type ConfigSetting struct {
	Path    string
	Value   string // as in the file; what is sensitive is not shown
	Source  string // default, a place in a file, a variable, a flag
	Restart bool   // a change waits for a restart
}

// ConfigChange is a setting, or a whole block with a label, that the file has
// differently.
type ConfigChange struct {
	Action   string // changed, added, removed
	Path     string
	Old, New string // as in the file; "" for a block
	Source   string
	Restart  bool   // it waits for a restart
	Because  string // why, where the setting by itself would not; "" otherwise
}

// ConfigReload is what became of reading the configuration again.
type ConfigReload struct {
	Changes []ConfigChange // those that wait for a restart, too
	Plugins []string       // begin anew: their block or their files changed, or they did not start
}

// Waiting counts the changes that wait for a restart.
func (r ConfigReload) Waiting() int {
	n := 0
	for _, c := range r.Changes {
		if c.Restart {
			n++
		}
	}
	return n
}

// ConfigState is how the configuration of a host is.
type ConfigState struct {
	Failed   time.Time // of the last reload; zero: it did not fail, or there was none
	Mistakes int       // for which it failed; 0: something else was in the way
	Waiting  int       // changes that wait for a restart, since the last reload that did not fail
}

// Configuration is that of a host. Safe for concurrent use.
type Configuration interface {
	// Settings lists what is in force.
	Settings() []ConfigSetting
	// Preview reads the configuration again and says what Reload would change.
	// Its errors are those of Reload.
	Preview(ctx context.Context) ([]ConfigChange, error)
	// Reload reads the configuration again and takes all of it that needs no
	// restart, or nothing: a [*WrongConfig] when there are mistakes in it.
	Reload(ctx context.Context) (ConfigReload, error)
	// State does not block.
	State() ConfigState
}

// WrongConfig is every mistake of a configuration, as ErrInvalid.
type WrongConfig struct{ Mistakes []ConfigMistake }

// ConfigMistake is one of them.
type ConfigMistake struct {
	Place string // "securetag.hcl:12"; "" for none in a file
	Text  string
}

// Error gives the first mistake and the number of the others.
func (e *WrongConfig) Error() string {
	if len(e.Mistakes) == 0 {
		return ErrInvalid.Error()
	}
	first := e.Mistakes[0].Text
	if at := e.Mistakes[0].Place; at != "" {
		first = at + ": " + first
	}
	if more := len(e.Mistakes) - 1; more > 0 {
		first += fmt.Sprintf(" (and %d more)", more)
	}
	return first
}

// Is makes it ErrInvalid.
func (e *WrongConfig) Is(target error) bool { return target == ErrInvalid }
