package sandbox

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sync"
)

// Jail is the confinement of one process. Its methods are called in this order:
// Own, SetEnv, Command, the start, Enter; Exhausted when it has ended, Close at last.
type Jail struct {
	sandbox *Sandbox
	order   order
	group   *group
	cmd     *exec.Cmd
	link    *os.File
	way     net.Listener // with Spec.Egress, from Enter on
	closing sync.Once
}

// New makes a jail for spec and starts nothing.
func (s *Sandbox) New(spec Spec) (*Jail, error) {
	if spec.Egress && (spec.Network || !s.support.Has(LayerEgress)) {
		return nil, fmt.Errorf("a network of its own with a way out: %s", cmp.Or(s.support.Missing[LayerEgress], "it has the host's"))
	}
	o := s.plan
	o.Spec = spec
	if s.ns == nsRoot && s.support.Has(LayerUID) && o.Root {
		o.UID = firstUID + int(s.nextUID.Add(1)%uids)
	}
	if !s.support.Has(LayerCgroupMemory) && s.support.Has(LayerRlimits) {
		o.Data = spec.Limits.Memory
	}
	// Where the user is its own (or in a namespace of its own, since Linux 5.14)
	// the kernel counts this process's alone.
	if !s.support.Has(LayerCgroupPIDs) && (o.UID != 0 || s.ns == nsUser && o.Landlock >= 2) {
		o.Procs = spec.Limits.PIDs
	}
	j := &Jail{sandbox: s, order: o}
	if s.groups != nil {
		g, err := s.groups.add(spec.Limits)
		if err != nil {
			return nil, fmt.Errorf("make its cgroups: %w", err)
		}
		j.group = g
	}
	return j, nil
}

// Own gives files to the user that the process will have.
func (j *Jail) Own(paths ...string) error {
	if j.order.UID == 0 {
		return nil
	}
	var err error
	for _, p := range paths {
		err = errors.Join(err, os.Lchown(p, j.order.UID, j.order.UID))
	}
	return err
}

// SetEnv is Spec.Env, for those who learn it later.
func (j *Jail) SetEnv(env []string) { j.order.Spec.Env = env }

// Command is what to start; standard input is /dev/null. program is executed in
// the place of the file at Argv[0], unless it is nil; it is the jail's from then
// on.
func (j *Jail) Command(program, stdout, stderr *os.File) (_ *exec.Cmd, err error) {
	j.cmd, j.link, err = j.sandbox.command(j.sandbox.ns, j.order.Spec.Network)
	if err != nil {
		return nil, err
	}
	j.cmd.Stdout, j.cmd.Stderr = stdout, stderr
	if program != nil {
		j.order.Program = true
		j.cmd.ExtraFiles = append(j.cmd.ExtraFiles, program)
	}
	if j.group == nil {
		return j.cmd, nil
	}
	doors, err := j.group.doors()
	for _, door := range doors {
		j.order.Doors = append(j.order.Doors, channel+len(j.cmd.ExtraFiles))
		j.cmd.ExtraFiles = append(j.cmd.ExtraFiles, door)
	}
	return j.cmd, err
}

// Enter leads the started process into the jail and returns when it executes
// what it was made for. On an error nothing of that has run, and the process is
// ending.
func (j *Jail) Enter(pid int) error {
	closeAll(j.cmd.ExtraFiles)
	defer j.link.Close()
	to := json.NewEncoder(j.link)
	if err := to.Encode(j.order); err != nil {
		return fmt.Errorf("enter the sandbox: %w", err)
	}
	if j.group != nil {
		if err := j.group.join(pid); err != nil {
			return fmt.Errorf("enter the sandbox: %w", err)
		}
	}
	// An error here is a shim that has given up: what it says is better.
	werr := to.Encode("go")
	var begun []byte
	var lerr error
	if j.order.Spec.Egress && werr == nil {
		j.way, begun, lerr = receiveListener(j.link)
	}
	said, err := io.ReadAll(io.LimitReader(j.link, 4<<10))
	said, err = append(begun, said...), errors.Join(lerr, err)
	switch {
	case len(said) > 0:
		return fmt.Errorf("set up its sandbox: %s", said)
	case err != nil || werr != nil:
		return fmt.Errorf("set up its sandbox: %w", errors.Join(werr, err))
	}
	return nil
}

// Listener is what the process finds at EgressAddr, for the host to serve; nil
// without Spec.Egress. It belongs to the caller, who asks once, after Enter.
func (j *Jail) Listener() net.Listener {
	l := j.way
	j.way = nil
	return l
}

// HasPIDNamespace reports whether all that the process starts ends with it.
func (j *Jail) HasPIDNamespace() bool { return !j.order.NoPIDs }

// Exhausted says which limit of the tree was hit, "" for none that is known.
func (j *Jail) Exhausted() string {
	if j.group == nil {
		return ""
	}
	return j.group.exhausted(j.order.Spec.Limits)
}

// Close removes what is left of the jail, when no process is. It may be called
// more than once.
func (j *Jail) Close() {
	j.closing.Do(func() {
		if j.link != nil {
			j.link.Close()
			closeAll(j.cmd.ExtraFiles)
		}
		if j.way != nil {
			_ = j.way.Close() // nobody serves it
		}
		if j.group != nil {
			j.group.remove()
		}
	})
}
