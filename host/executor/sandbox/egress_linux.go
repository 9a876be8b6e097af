package sandbox

import (
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// egressPort is that of EgressAddr.
const egressPort = 3128

// listenInside brings up the loopback of this network namespace and listens on
// it. A socket is its namespace's, whoever has it.
func listenInside() (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	lo, err := unix.NewIfreq("lo")
	if err == nil {
		lo.SetUint16(unix.IFF_UP)
		err = os.NewSyscallError("bring up the loopback", unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo))
	}
	if err == nil {
		err = os.NewSyscallError("bind", unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: egressPort}))
	}
	if err == nil {
		err = os.NewSyscallError("listen", unix.Listen(fd, 128))
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// giveListener makes the listener and hands it to the host.
func giveListener(link *os.File) error {
	fd, err := listenInside()
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	return os.NewSyscallError("sendmsg", unix.Sendmsg(int(link.Fd()), []byte{0}, unix.UnixRights(fd), nil, 0))
}

// tryEgress is what a trial knows of LayerEgress, in namespaces of its own.
func (o *order) tryEgress() error {
	if !o.Root {
		return errors.New("without a root of its own no socket may be connected")
	}
	fd, err := listenInside()
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

// receiveListener reads what giveListener sent. Without a listener it gives what
// was said instead.
func receiveListener(link *os.File) (l net.Listener, said []byte, err error) {
	raw, err := link.SyscallConn()
	if err != nil {
		return nil, nil, err
	}
	buf, oob := make([]byte, 1), make([]byte, unix.CmsgSpace(4))
	var n, oobn int
	var rerr error
	err = raw.Read(func(fd uintptr) bool {
		n, oobn, _, _, rerr = unix.Recvmsg(int(fd), buf, oob, unix.MSG_CMSG_CLOEXEC)
		return !errors.Is(rerr, unix.EAGAIN)
	})
	if err = errors.Join(err, os.NewSyscallError("recvmsg", rerr)); err != nil {
		return nil, nil, err
	}
	if n == 0 {
		return nil, nil, errors.New("the shim ended before it had made the way out")
	}
	if oobn == 0 {
		return nil, buf[:n], nil // an error
	}
	var fds []int
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err == nil && len(messages) == 1 {
		fds, err = unix.ParseUnixRights(&messages[0])
	}
	if err != nil || len(fds) != 1 {
		return nil, nil, fmt.Errorf("take the listener from the shim: %d files, %w", len(fds), err)
	}
	f := os.NewFile(uintptr(fds[0]), "egress")
	defer f.Close() // FileListener has its own
	l, err = net.FileListener(f)
	return l, nil, err
}
