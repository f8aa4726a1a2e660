package network

import (
	"os"
	"strconv"
	"strings"
	"syscall"

	"microsandbox/agent/internal/failure"
)

// Name of the one interface that a VM has; there may be none.
const Name = "eth0"

// settings are made before the interface is up, while nothing was sent yet. The host says who is where, so nothing is
// solicited, and what the kernel tells by itself (the groups that it joins) it tells at once, and not later in every sandbox.
var settings = [...][2]string{
	{"accept_ra", "0"},
	{"autoconf", "0"},
	{"accept_dad", "0"},
	{"dad_transmits", "0"},
	{"router_solicitations", "0"},
	{"accept_redirects", "0"},
	{"mldv1_unsolicited_report_interval", "1"},
	{"mldv2_unsolicited_report_interval", "1"},
}

// Interface is the guest's network interface.
type Interface struct {
	index uint32
	now   *Config // what it is configured as; nil: not yet
}

// Configure makes of the interface what the host says, if it is not that already.
func (i *Interface) Configure(c *Config) *failure.Failure {
	if i.now != nil && i.now.sameLink(c) {
		return nil
	}
	if fail := i.find(); fail != nil {
		return fail
	}
	before := i.now
	i.now = nil
	if before == nil {
		for _, s := range settings {
			_ = os.WriteFile("/proc/sys/net/ipv6/conf/"+Name+"/"+s[0], []byte(s[1]), 0)
		}
	}
	b := commands(i.index, before, c)
	if err := b.run(); err != nil {
		return failure.New(failure.Internal, failure.Describe("configure "+Name, err))
	}
	i.now = c
	return nil
}

func (i *Interface) find() *failure.Failure {
	if i.index != 0 {
		return nil
	}
	text, err := os.ReadFile("/sys/class/net/" + Name + "/ifindex")
	if err != nil {
		return failure.New(failure.NotFound, "the VM has no network interface")
	}
	index, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 31)
	if err != nil {
		return failure.New(failure.Internal, failure.Describe("index of "+Name, err))
	}
	i.index = uint32(index)
	return nil
}

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
	if more, ok := onlyMoreAddresses(before, c); ok {
		// Of a sandbox in a group: what the template has stays as it is.
		for _, a := range more {
			b.address("address "+a.IP.String(), syscall.RTM_NEWADDR, create, index, a)
		}
		return b
	}
	if before != nil {
		// Down takes the routes, the neighbours and the addresses of IPv6 with it.
		b.begin("link down", syscall.RTM_NEWLINK, 0, linkBody(index, 0))
		for _, a := range before.Addresses {
			if len(a.IP) == 4 {
				b.address("remove address "+a.IP.String(), syscall.RTM_DELADDR, 0, index, a)
			}
		}
	}
	b.begin("link up", syscall.RTM_NEWLINK, 0, linkBody(index, syscall.IFF_UP))
	b.attribute(syscall.IFLA_MTU, append32(nil, c.MTU))
	for _, a := range c.Addresses {
		b.address("address "+a.IP.String(), syscall.RTM_NEWADDR, create, index, a)
	}
	for _, n := range c.Neighbours {
		body := append32([]byte{n.IP.family(), 0, 0, 0}, index)
		b.begin("neighbour "+n.IP.String(), syscall.RTM_NEWNEIGH, create, append(body, permanent, 0, 0, 0))
		b.attribute(ndaAddress, n.IP)
		b.attribute(ndaMAC, n.MAC)
	}
	for _, g := range c.Gateways {
		body := []byte{g.family(), 0, 0, 0, syscall.RT_TABLE_MAIN, syscall.RTPROT_BOOT, syscall.RT_SCOPE_UNIVERSE, syscall.RTN_UNICAST}
		b.begin("route by "+g.String(), syscall.RTM_NEWROUTE, create, append32(body, 0))
		b.attribute(syscall.RTA_GATEWAY, g)
		b.attribute(syscall.RTA_OIF, append32(nil, index))
	}
	return b
}

// onlyMoreAddresses returns the addresses that c has beyond those of before; false if anything else differs.
func onlyMoreAddresses(before, c *Config) (more []Address, ok bool) {
	if before == nil {
		return nil, false
	}
	same := *c
	same.Addresses = before.Addresses
	if !before.sameLink(&same) {
		return nil, false
	}
	for _, a := range c.Addresses {
		if !before.has(a) {
			more = append(more, a)
		}
	}
	return more, len(more) == len(c.Addresses)-len(before.Addresses)
}

func (b *batch) address(what string, kind, flags uint16, index uint32, a Address) {
	body := []byte{a.IP.family(), a.Prefix, noDAD, syscall.RT_SCOPE_UNIVERSE}
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
