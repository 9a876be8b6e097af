package executor

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/securetaghq/securetag/host/executor/internal/clean"
	"github.com/securetaghq/securetag/sdk/wire"
)

// maxHandshake is the longest first line of standard output that is read.
const maxHandshake = 4 << 10

// readHandshake reads the first line of a plugin's standard output and gives
// back the address of its socket. It reads at most maxHandshake bytes.
func readHandshake(r io.Reader, dir string) (string, error) {
	br := bufio.NewReaderSize(io.LimitReader(r, maxHandshake), maxHandshake)
	line, err := br.ReadString('\n')
	switch {
	case err == nil:
		return parseHandshake(strings.TrimRight(line, "\r\n"), dir)
	case len(line) >= maxHandshake:
		return "", fmt.Errorf("it printed %d bytes without a line end on standard output", maxHandshake)
	case errors.Is(err, io.EOF) && line != "":
		return "", fmt.Errorf("it closed standard output within its first line, %q", clean.Line(line, 120))
	default:
		return "", errNoHandshake
	}
}

// errNoHandshake: standard output ended empty. How the process ended says more.
var errNoHandshake = errors.New("it closed standard output without a handshake line")

// parseHandshake takes exactly
//
//	1|<application version>|unix|<socket in dir>|grpc|
//
// and nothing else that go-plugin would: a TCP address or a socket elsewhere
// would make the host dial what the plugin names, and a certificate in field
// six crashes a host that did not ask for one.
func parseHandshake(line, dir string) (string, error) {
	shown := clean.Line(line, 120)
	f := strings.Split(line, "|")
	switch {
	case len(f) < 5:
		return "", fmt.Errorf("its first line on standard output is no handshake: %q", shown)
	case f[0] != "1":
		return "", fmt.Errorf("it speaks core protocol %q of go-plugin, this host speaks 1", clean.Line(f[0], 20))
	case f[1] != strconv.Itoa(wire.ProtocolVersion):
		return "", fmt.Errorf("it speaks plugin protocol %q, this host speaks %d: rebuild it against a matching SDK", clean.Line(f[1], 20), wire.ProtocolVersion)
	case f[2] != "unix":
		return "", fmt.Errorf("it listens on a %q address, and only a unix socket in PLUGIN_UNIX_SOCKET_DIR is dialled", clean.Line(f[2], 20))
	case f[4] != "grpc":
		return "", fmt.Errorf("it serves %q, this host speaks grpc", clean.Line(f[4], 20))
	case len(f) > 6 || (len(f) == 6 && f[5] != ""):
		return "", errors.New("its handshake carries a certificate or more, and TLS was not asked for")
	}
	addr := f[3]
	if !filepath.IsAbs(addr) || filepath.Clean(addr) != addr || filepath.Dir(addr) != dir || strings.ContainsRune(addr, 0) {
		return "", fmt.Errorf("its socket %q is not in PLUGIN_UNIX_SOCKET_DIR", clean.Line(addr, 120))
	}
	return addr, nil
}
