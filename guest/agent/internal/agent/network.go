package agent

import (
	"microsandbox/agent/internal/failure"
	"microsandbox/agent/internal/network"
	"microsandbox/agent/internal/wire"
)

// parseNetwork reads what a message says of the network interface; nil if it says nothing. The result is a copy.
func parseNetwork(m wire.Item) (*network.Config, *failure.Failure) {
	if m.Kind() == wire.Absent {
		return nil, nil
	}
	mtu, _ := m.Get("mtu").Uint()
	c := &network.Config{MTU: uint32(min(mtu, network.MaxMTU+1)), MAC: address(m.Get("mac"))}
	fail := each(m.Get("addresses"), func(item wire.Item) {
		prefix, ok := item.Get("prefix").Uint()
		if !ok || prefix > 128 {
			prefix = 255
		}
		c.Addresses = append(c.Addresses, network.Address{IP: address(item.Get("address")), Prefix: uint8(prefix)})
	})
	if fail == nil {
		fail = each(m.Get("gateways"), func(item wire.Item) { c.Gateways = append(c.Gateways, address(item)) })
	}
	if fail == nil {
		fail = each(m.Get("neighbours"), func(item wire.Item) {
			n := network.Neighbour{IP: address(item.Get("address")), MAC: address(item.Get("mac"))}
			c.Neighbours = append(c.Neighbours, n)
		})
	}
	if fail == nil {
		fail = each(m.Get("dns"), func(item wire.Item) { c.DNS = append(c.DNS, address(item)) })
	}
	if fail == nil {
		fail = c.Check()
	}
	return c, fail
}

// each goes through an array, which may be absent; a longer one than any may be is refused before it is copied.
func each(array wire.Item, do func(wire.Item)) *failure.Failure {
	if array.Len() > network.MaxEntries || array.Kind() == wire.Map {
		return failure.New(failure.InvalidArgument, "network: not a list of at most 16 entries")
	}
	item := array.First()
	for range array.Len() {
		do(item)
		item = item.Next()
	}
	return nil
}

// address copies a byte string, whose length Check looks at; empty if it is something else.
func address(item wire.Item) []byte {
	b, _ := item.Bytes()
	return append([]byte(nil), b[:min(len(b), 17)]...)
}
