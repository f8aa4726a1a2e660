package agent

import (
	"strings"
	"testing"
)

var wired = pairs{
	"mtu", uint64(9000),
	"addresses", []any{pairs{"address", []byte{10, 0, 0, 2}, "prefix", uint64(24)}},
	"gateways", []any{[]byte{10, 0, 0, 1}},
	"neighbours", []any{pairs{"address", []byte{10, 0, 0, 1}, "mac", []byte{2, 0, 0, 0, 0, 1}}},
	"dns", []any{[]byte{10, 0, 0, 1}},
}

func TestNetworkIsHandedOver(t *testing.T) {
	h := newSilentHost(t)
	h.hello(false)
	h.request("prepare", "network", wired)
	if n := h.vm.prepared; n == nil || n.MTU != 9000 || n.Addresses[0].IP.String() != "10.0.0.2" || n.DNS[0].String() != "10.0.0.1" {
		t.Fatal(n)
	}
	h.setup()
	if h.vm.network != nil {
		t.Fatal("a setup without a network")
	}
}

func TestNetworkThatIsNone(t *testing.T) {
	h := newSilentHost(t)
	h.hello(false)
	many := make([]any, 17)
	for i := range many {
		many[i] = []byte{10, 0, 0, 1}
	}
	for i, wrong := range []any{
		"eth0",
		pairs{},
		pairs{"mtu", uint64(1) << 32},
		pairs{"mtu", uint64(9000), "dns", pairs{"a", "b"}},
		pairs{"mtu", uint64(9000), "dns", many},
		pairs{"mtu", uint64(9000), "gateways", []any{make([]byte, 4096)}},
		pairs{"mtu", uint64(9000), "addresses", []any{pairs{"address", []byte{10, 0, 0, 2}, "prefix", uint64(256 + 24)}}},
		pairs{"mtu", uint64(9000), "neighbours", []any{"a"}},
	} {
		fail := h.request("prepare", "network", wrong).Get("error")
		message, _ := fail.Get("message").Text()
		if !fail.Get("code").Is("invalid_argument") || !strings.HasPrefix(message, "network: ") {
			t.Error(i, message)
		}
	}
}
