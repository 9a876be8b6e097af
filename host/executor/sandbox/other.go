//go:build !linux

package sandbox

import (
	"errors"
	"net"
	"os"
	"os/exec"

	"github.com/hashicorp/go-hclog"
)

// Main does nothing here.
func Main() {}

// Sandbox confines nothing here.
type Sandbox struct{}

var errLinux = errors.New("only Linux has a sandbox")

// Open gives a sandbox without any layer.
func Open(_ string, _ hclog.Logger) *Sandbox { return &Sandbox{} }

// Support says that there is none.
func (*Sandbox) Support() Support {
	s := Support{Missing: map[Layer]string{}}
	for _, l := range Layers() {
		s.Missing[l] = errLinux.Error()
	}
	return s
}

// Close does nothing.
func (*Sandbox) Close() {}

// New fails.
func (*Sandbox) New(Spec) (*Jail, error) { return nil, errLinux }

// Jail is never made here.
type Jail struct{}

func (*Jail) Command(_, _, _ *os.File) (*exec.Cmd, error) { return nil, errLinux }
func (*Jail) Enter(int) error                             { return errLinux }
func (*Jail) HasPIDNamespace() bool                       { return false }
func (*Jail) Exhausted() string                           { return "" }
func (*Jail) Listener() net.Listener                      { return nil }
func (*Jail) SetEnv([]string)                             {}
func (*Jail) Close()                                      {}

// Own does nothing.
func (*Jail) Own(...string) error { return nil }
