package egress

// Control is what a dialer asks just before it connects.
func (g *Guard) Control(address string) error { return g.control("tcp", address, nil) }
