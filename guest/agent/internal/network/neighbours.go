package network

import (
	"syscall"

	"microsandbox/agent/internal/failure"
)

const (
	// neighbourBody is struct ndmsg.
	neighbourBody = 12
	// lasting are the states of neighbours that were not learnt: NUD_PERMANENT, NUD_NOARP.
	lasting = permanent | 0x40
)

// forgetNeighbours has the kernel forget whom it has learnt of on the link.
func (i *Interface) forgetNeighbours() *failure.Failure {
	b := &batch{}
	err := dump(syscall.NETLINK_ROUTE, syscall.RTM_GETNEIGH, make([]byte, neighbourBody), func(m []byte) {
		if address, ok := learnt(m, i.index); ok {
			b.begin("", syscall.RTM_DELNEIGH, 0, append([]byte(nil), m[:neighbourBody]...))
			b.attribute(ndaAddress, append([]byte(nil), address...))
		}
	})
	if err == nil {
		err = b.run() // one may be gone by itself meanwhile
	}
	if err != nil {
		return failure.New(failure.Internal, failure.Describe("forget neighbours on "+Name, err))
	}
	return nil
}

// learnt says whether a message tells of a neighbour on this interface that the kernel knows by asking, and its address.
func learnt(m []byte, index uint32) (address []byte, ok bool) {
	if len(m) < neighbourBody || get32(m[4:]) != index || m[8]&lasting != 0 {
		return nil, false
	}
	address = attributeOf(m[neighbourBody:], ndaAddress)
	return address, len(address) == 4 || len(address) == 16
}

// attributeOf finds one of a message's attributes; nil if it is not there.
func attributeOf(m []byte, kind uint16) []byte {
	for len(m) >= 4 {
		length := int(m[0]) | int(m[1])<<8
		if length < 4 || length > len(m) {
			return nil
		}
		if uint16(m[2])|uint16(m[3])<<8 == kind {
			return m[4:length]
		}
		m = m[min((length+3)&^3, len(m)):]
	}
	return nil
}
