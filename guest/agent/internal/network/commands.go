package network

import (
	"bytes"
	"syscall"
)

const (
	create     = syscall.NLM_F_CREATE | syscall.NLM_F_REPLACE
	noDAD      = 0x02 // IFA_F_NODAD
	permanent  = 0x80 // NUD_PERMANENT
	ndaAddress = 1    // NDA_DST
	ndaMAC     = 2    // NDA_LLADDR
)

// commands lead from one configuration to another; before is nil if there was none.
func commands(index uint32, before, c *Config) *batch {
	b := &batch{}
	if before != nil && before.sameUpward(c) {
		b.change(index, before, c)
	} else {
		b.anew(index, before, c)
	}
	return b
}

// forgets says whether what leads from one configuration to another has the kernel forget its neighbours.
func forgets(before, c *Config) bool {
	return before != c && (before == nil || !before.sameUpward(c) || !bytes.Equal(before.MAC, c.MAC))
}

// anew takes the link down, and the routes, the neighbours and the addresses of IPv6 with it: 40 ms more than a change, under
// emulation.
func (b *batch) anew(index uint32, before, c *Config) {
	if before != nil {
		b.begin("link down", syscall.RTM_NEWLINK, 0, linkBody(index, 0))
		for _, a := range before.Addresses {
			if len(a.IP) == 4 {
				b.address("", syscall.RTM_DELADDR, 0, index, a)
			}
		}
	}
	b.begin("link up", syscall.RTM_NEWLINK, 0, linkBody(index, syscall.IFF_UP))
	b.attribute(syscall.IFLA_MTU, append32(nil, c.MTU))
	if len(c.MAC) > 0 {
		// The kernel sets it before the link goes up, and then makes the link-local address of it.
		b.attribute(syscall.IFLA_ADDRESS, c.MAC)
	}
	for _, a := range c.Addresses {
		b.address("address "+a.IP.String(), syscall.RTM_NEWADDR, create, index, a)
	}
	b.neighbours(index, c, "neighbour")
	b.routes(index, c, "default route")
}

// change leaves the link up, and what the sandbox has made of it as it is.
func (b *batch) change(index uint32, before, c *Config) {
	if !bytes.Equal(before.MAC, c.MAC) {
		b.begin("MAC address", syscall.RTM_NEWLINK, 0, linkBody(index, syscall.IFF_UP))
		b.attribute(syscall.IFLA_ADDRESS, c.MAC)
		b.neighbours(index, c, "neighbour") // with its address all were forgotten
		// In this order: with the last address of its network the route to it would go.
		b.address("link-local address", syscall.RTM_NEWADDR, create, index, linkLocal(c.MAC))
		if len(before.MAC) > 0 {
			b.address("", syscall.RTM_DELADDR, 0, index, linkLocal(before.MAC))
		}
	}
	removed := false
	for _, a := range before.Addresses {
		if !c.has(a) {
			b.address("", syscall.RTM_DELADDR, 0, index, a)
			removed = true
		}
	}
	for _, a := range c.Addresses {
		if !before.has(a) {
			b.address("address "+a.IP.String(), syscall.RTM_NEWADDR, create, index, a)
		}
	}
	if removed {
		// With an interface's last address of a version its neighbours go, permanent ones too, and with any the routes whose
		// gateway was in its network. None is to be had on a link that the sandbox has taken down.
		b.neighbours(index, c, "")
		b.routes(index, c, "")
	}
}

// linkLocal is the address that the kernel would make of a MAC address (RFC 4291, appendix A).
func linkLocal(mac []byte) Address {
	ip := IP{0: 0xfe, 1: 0x80, 8: mac[0] ^ 2, 9: mac[1], 10: mac[2], 11: 0xff, 12: 0xfe, 13: mac[3], 14: mac[4], 15: mac[5]}
	return Address{IP: ip, Prefix: 64}
}

func (b *batch) neighbours(index uint32, c *Config, what string) {
	for _, n := range c.Neighbours {
		body := append32([]byte{n.IP.family(), 0, 0, 0}, index)
		b.begin(what, syscall.RTM_NEWNEIGH, create, append(body, permanent, 0, 0, 0))
		b.attribute(ndaAddress, n.IP)
		b.attribute(ndaMAC, n.MAC)
	}
}

// routes adds the default ones; without a name, where they can be had.
func (b *batch) routes(index uint32, c *Config, what string) {
	for _, g := range c.Gateways {
		body := []byte{g.family(), 0, 0, 0, syscall.RT_TABLE_MAIN, syscall.RTPROT_BOOT, syscall.RT_SCOPE_UNIVERSE, syscall.RTN_UNICAST}
		b.begin(what, syscall.RTM_NEWROUTE, create, append32(body, 0))
		b.attribute(syscall.RTA_GATEWAY, g)
		b.attribute(syscall.RTA_OIF, append32(nil, index))
	}
}

// address adds or removes one; removed without a name, it may have been gone already.
func (b *batch) address(what string, kind, flags uint16, index uint32, a Address) {
	body := []byte{a.IP.family(), a.Prefix, noDAD, scope(a.IP)}
	b.begin(what, kind, flags, append32(body, index))
	b.attribute(syscall.IFA_LOCAL, a.IP)
	b.attribute(syscall.IFA_ADDRESS, a.IP)
}

// linkBody is struct ifinfomsg, which changes the flag IFF_UP.
func linkBody(index, up uint32) []byte {
	b := append32(make([]byte, 4, 16), index)
	return append32(append32(b, up), syscall.IFF_UP)
}

func (ip IP) family() uint8 {
	if len(ip) == 4 {
		return syscall.AF_INET
	}
	return syscall.AF_INET6
}

func scope(ip IP) uint8 {
	if len(ip) == 16 && ip[0] == 0xfe && ip[1] == 0x80 {
		return syscall.RT_SCOPE_LINK
	}
	return syscall.RT_SCOPE_UNIVERSE
}
