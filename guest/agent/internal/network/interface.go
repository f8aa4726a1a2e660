package network

import (
	"os"
	"strconv"
	"strings"

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
	before := i.now
	if before != nil {
		c = c.withMAC(before.MAC)
		if before.sameLink(c) {
			return nil
		}
	}
	if fail := i.find(); fail != nil {
		return fail
	}
	i.now = nil
	if before == nil {
		c = c.withMAC(ownMAC())
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

// Renew makes of it what the host says, of a VM that was loaded from the state of another one: c is nil where it is to stay
// as it is. Whom the kernel has learnt of on the link it forgets.
func (i *Interface) Renew(c *Config) *failure.Failure {
	if fail := i.find(); fail != nil {
		return fail
	}
	before := i.now
	if c != nil {
		if fail := i.Configure(c); fail != nil {
			return fail
		}
	}
	if forgets(before, i.now) {
		return nil
	}
	return i.forgetNeighbours()
}

// Present says whether the VM has the interface.
func (i *Interface) Present() bool { return i.find() == nil }

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

// ownMAC is the MAC address that the interface has by itself; empty if it cannot be read.
func ownMAC() []byte {
	text, err := os.ReadFile("/sys/class/net/" + Name + "/address")
	if err != nil {
		return nil
	}
	mac, ok := parseMAC(strings.TrimSpace(string(text)))
	if !ok {
		return nil
	}
	return mac
}
