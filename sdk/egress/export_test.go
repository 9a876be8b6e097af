package egress

import "net"

// Control is what a dialer asks just before it connects.
func (g *Guard) Control(address string) error { return g.control("tcp", address, nil) }

// CheckConn is what looks at a connection once it is there.
func (g *Guard) CheckConn(c net.Conn) error { return g.checkConn(c) }
