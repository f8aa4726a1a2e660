// Package network configures the guest's network interface over rtnetlink(7), as the host says: addresses, routes, who is
// where on the link. Nothing is asked of the link itself (no DHCP, no router advertisements, no detection of duplicate
// addresses), and all of it can be done before the state is stored. What a root user of the guest makes of it later is
// not looked at: the host checks every frame.
//
// It owns no descriptor for longer than a call. Messages are bounded by MaxEntries.
package network

import (
	"bytes"

	"microsandbox/agent/internal/failure"
)

const (
	// MaxEntries bounds each list of a Config.
	MaxEntries = 16
	// MinMTU is what IPv6 needs.
	MinMTU = 1280
	MaxMTU = 65535
)

// Config is what the host says of the interface.
type Config struct {
	MTU        uint32
	MAC        []byte // of the interface; empty: the one that it has
	Addresses  []Address
	Gateways   []IP // default routes: at most one of each family
	Neighbours []Neighbour
	DNS        []IP
}

// IP has 4 or 16 bytes, in network order.
type IP []byte

// Address is an address of the interface and the length of its network's prefix in bits.
type Address struct {
	IP     IP
	Prefix uint8
}

// Neighbour is who need not be asked for.
type Neighbour struct {
	IP  IP
	MAC []byte
}

// Check says what is wrong with a configuration.
func (c *Config) Check() *failure.Failure {
	bad := func(message string) *failure.Failure {
		return failure.New(failure.InvalidArgument, "network: "+message)
	}
	if c.MTU < MinMTU || c.MTU > MaxMTU {
		return bad("mtu must be 1280 to 65535 bytes")
	}
	if len(c.MAC) != 0 && (len(c.MAC) != 6 || c.MAC[0]&1 != 0) {
		return bad("mac must have six bytes and be of one interface")
	}
	for _, n := range [...]int{len(c.Addresses), len(c.Gateways), len(c.Neighbours), len(c.DNS)} {
		if n > MaxEntries {
			return bad("a list has more than 16 entries")
		}
	}
	for _, a := range c.Addresses {
		if !a.IP.valid() || int(a.Prefix) > 8*len(a.IP) {
			return bad("addresses: not an address with a prefix")
		}
	}
	for i, g := range c.Gateways {
		if !g.valid() {
			return bad("gateways: not an address")
		}
		for _, other := range c.Gateways[:i] {
			if len(other) == len(g) {
				return bad("gateways: two of one family")
			}
		}
	}
	for _, n := range c.Neighbours {
		if !n.IP.valid() || len(n.MAC) != 6 {
			return bad("neighbours: not an address and a MAC address")
		}
	}
	for _, d := range c.DNS {
		if !d.valid() {
			return bad("dns: not an address")
		}
	}
	return nil
}

func (ip IP) valid() bool { return len(ip) == 4 || len(ip) == 16 }

func (c *Config) has(a Address) bool {
	for _, own := range c.Addresses {
		if own.Prefix == a.Prefix && bytes.Equal(own.IP, a.IP) {
			return true
		}
	}
	return false
}

// sameLink says whether two configurations make the same of the interface; the kernel knows nothing of DNS.
func (c *Config) sameLink(o *Config) bool {
	if !bytes.Equal(c.MAC, o.MAC) || len(c.Addresses) != len(o.Addresses) {
		return false
	}
	for i, a := range c.Addresses {
		if a.Prefix != o.Addresses[i].Prefix || !bytes.Equal(a.IP, o.Addresses[i].IP) {
			return false
		}
	}
	return c.sameUpward(o)
}

// sameUpward says whether two configurations differ in nothing but the interface's own addresses.
func (c *Config) sameUpward(o *Config) bool {
	if c.MTU != o.MTU || len(c.Gateways) != len(o.Gateways) || len(c.Neighbours) != len(o.Neighbours) {
		return false
	}
	for i, g := range c.Gateways {
		if !bytes.Equal(g, o.Gateways[i]) {
			return false
		}
	}
	for i, n := range c.Neighbours {
		if !bytes.Equal(n.IP, o.Neighbours[i].IP) || !bytes.Equal(n.MAC, o.Neighbours[i].MAC) {
			return false
		}
	}
	return true
}

// withMAC is the same configuration, with this MAC address unless it has one.
func (c *Config) withMAC(mac []byte) *Config {
	if len(c.MAC) > 0 {
		return c
	}
	with := *c
	with.MAC = mac
	return &with
}
