package network

import (
	"bytes"
	"os"
	"strings"
	"syscall"
	"testing"
)

func v6(groups ...uint16) IP {
	ip := make(IP, 16)
	for i, g := range groups {
		ip[2*i], ip[2*i+1] = byte(g>>8), byte(g)
	}
	return ip
}

func TestString(t *testing.T) {
	for want, ip := range map[string]IP{
		"10.209.0.2":           {10, 209, 0, 2},
		"::":                   v6(),
		"::1":                  v6(0, 0, 0, 0, 0, 0, 0, 1),
		"fd6d:7362::2":         v6(0xfd6d, 0x7362, 0, 0, 0, 0, 0, 2),
		"1::":                  v6(1),
		"1:0:0:2::3":           v6(1, 0, 0, 2, 0, 0, 0, 3),
		"1::2:0:0:3:4":         v6(1, 0, 0, 2, 0, 0, 3, 4),
		"1:0:2:3:4:5:6:7":      v6(1, 0, 2, 3, 4, 5, 6, 7),
		"a:b:c:d:e:f:ffff:123": v6(10, 11, 12, 13, 14, 15, 0xffff, 0x123),
	} {
		if got := ip.String(); got != want {
			t.Errorf("%s, not %s", got, want)
		}
	}
}

func good() *Config {
	return &Config{
		MTU:        1500,
		Addresses:  []Address{{IP{10, 0, 0, 2}, 24}, {v6(0xfd00), 64}},
		Gateways:   []IP{{10, 0, 0, 1}, v6(0xfd01)},
		Neighbours: []Neighbour{{IP{10, 0, 0, 1}, []byte{2, 0, 0, 0, 0, 1}}},
		DNS:        []IP{{10, 0, 0, 1}},
	}
}

func TestCheck(t *testing.T) {
	if fail := good().Check(); fail != nil {
		t.Fatal(fail.Message)
	}
	for what, spoil := range map[string]func(*Config){
		"small mtu":                  func(c *Config) { c.MTU = 1279 },
		"large mtu":                  func(c *Config) { c.MTU = 65536 },
		"address of five bytes":      func(c *Config) { c.Addresses[0].IP = make(IP, 5) },
		"prefix beyond its address":  func(c *Config) { c.Addresses[0].Prefix = 33 },
		"two gateways of one family": func(c *Config) { c.Gateways[1] = IP{10, 0, 0, 3} },
		"no gateway at all":          func(c *Config) { c.Gateways[1] = nil },
		"an interface's short MAC":   func(c *Config) { c.MAC = make([]byte, 5) },
		"a MAC address of many":      func(c *Config) { c.MAC = []byte{1, 0, 0, 0, 0, 1} },
		"short MAC address":          func(c *Config) { c.Neighbours[0].MAC = make([]byte, 5) },
		"name server of no bytes":    func(c *Config) { c.DNS[0] = nil },
		"too many":                   func(c *Config) { c.DNS = make([]IP, MaxEntries+1) },
	} {
		c := good()
		spoil(c)
		if c.Check() == nil {
			t.Error(what)
		}
	}
}

func TestSameLink(t *testing.T) {
	other := good()
	other.DNS = nil
	if !good().sameLink(other) {
		t.Fatal("the kernel knows nothing of name servers")
	}
	for what, change := range map[string]func(*Config){
		"mtu":       func(c *Config) { c.MTU++ },
		"address":   func(c *Config) { c.Addresses[0].IP[3]++ },
		"prefix":    func(c *Config) { c.Addresses[1].Prefix++ },
		"gateway":   func(c *Config) { c.Gateways[1][0]++ },
		"neighbour": func(c *Config) { c.Neighbours[0].MAC[5]++ },
		"fewer":     func(c *Config) { c.Neighbours = nil },
	} {
		c := good()
		change(c)
		if good().sameLink(c) {
			t.Error(what)
		}
	}
}

func TestOtherAddresses(t *testing.T) {
	after := good()
	own := Address{IP{10, 1, 0, 9}, 20}
	after.Addresses = append([]Address{own}, after.Addresses...)
	list, err := syscall.ParseNetlinkMessage(commands(7, good(), after).bytes)
	if err != nil || len(list) != 1 || list[0].Header.Type != syscall.RTM_NEWADDR {
		t.Fatal(list, err)
	}
	attributes, err := syscall.ParseNetlinkRouteAttr(&list[0])
	if err != nil || string(attributes[0].Value) != string(own.IP) {
		t.Fatal(attributes, err)
	}
	after.Addresses = after.Addresses[:2]
	expectKinds(t, commands(7, good(), after), syscall.RTM_DELADDR, syscall.RTM_NEWADDR,
		syscall.RTM_NEWNEIGH, syscall.RTM_NEWROUTE, syscall.RTM_NEWROUTE)
	if forgets(good(), after) {
		t.Error("the neighbours are still there")
	}
}

func TestAnotherMAC(t *testing.T) {
	before, after := good(), good()
	before.MAC, after.MAC = []byte{2, 0, 0, 0, 0, 8}, []byte{2, 0, 0, 0, 0, 9}
	b := commands(7, before, after)
	expectKinds(t, b, syscall.RTM_NEWLINK, syscall.RTM_NEWNEIGH, syscall.RTM_NEWADDR, syscall.RTM_DELADDR)
	list, _ := syscall.ParseNetlinkMessage(b.bytes)
	attributes, err := syscall.ParseNetlinkRouteAttr(&list[2])
	if err != nil || !bytes.Equal(attributes[0].Value, v6(0xfe80, 0, 0, 0, 0, 0xff, 0xfe00, 9)) || list[2].Data[3] != syscall.RT_SCOPE_LINK {
		t.Error(attributes, list[2].Data)
	}
	if !forgets(before, after) || forgets(before, before) {
		t.Error("whether neighbours are forgotten")
	}
	// One that was there without being told of may be gone: that is no failure.
	refused := append32(append16(append16(append32(nil, 36), syscall.NLMSG_ERROR), 0), 3)
	refused = append(append32(append32(refused, 0), ^uint32(0)), make([]byte, 16)...)
	if count, err := b.answers(refused); count != 1 || err != nil {
		t.Error(count, err)
	}
}

func TestParseMAC(t *testing.T) {
	if mac, ok := parseMAC("02:6d:73:62:00:fF"); !ok || !bytes.Equal(mac, []byte{2, 0x6d, 0x73, 0x62, 0, 0xff}) {
		t.Error(mac, ok)
	}
	for _, text := range []string{"", "02:6d:73:62:00", "02:6d:73:62:00:01:02", "2:6d:73:62:00:01", "02:6d:73:62:00:0g", "02:6d:73:62:00:+1"} {
		if _, ok := parseMAC(text); ok {
			t.Error(text)
		}
	}
}

func expectKinds(t *testing.T, b *batch, kinds ...uint16) {
	t.Helper()
	list, err := syscall.ParseNetlinkMessage(b.bytes)
	if err != nil || len(list) != len(kinds) {
		t.Fatal(list, err)
	}
	for i, kind := range kinds {
		if list[i].Header.Type != kind {
			t.Error(i, list[i].Header)
		}
	}
}

func TestCommands(t *testing.T) {
	before := good()
	before.MTU++
	list, err := syscall.ParseNetlinkMessage(commands(7, before, good()).bytes)
	if err != nil {
		t.Fatal(err)
	}
	want := []uint16{
		syscall.RTM_NEWLINK, syscall.RTM_DELADDR, syscall.RTM_NEWLINK, syscall.RTM_NEWADDR, syscall.RTM_NEWADDR,
		syscall.RTM_NEWNEIGH, syscall.RTM_NEWROUTE, syscall.RTM_NEWROUTE,
	}
	if len(list) != len(want) {
		t.Fatal(len(list), "messages")
	}
	for i, m := range list {
		if m.Header.Type != want[i] || m.Header.Seq != uint32(i) || m.Header.Flags&syscall.NLM_F_ACK == 0 {
			t.Error(i, m.Header)
		}
	}
	attributes, err := syscall.ParseNetlinkRouteAttr(&list[4])
	if err != nil || len(attributes) != 2 || string(attributes[0].Value) != string(v6(0xfd00)) {
		t.Fatal(attributes, err)
	}
}

// The kernel is believed, but not so far that an odd answer ends PID 1.
func TestAnswers(t *testing.T) {
	b := commands(7, nil, good())
	answer := func(sequence uint32, errno int32) []byte {
		m := append32(append16(append16(append32(nil, 36), syscall.NLMSG_ERROR), 0), sequence)
		return append(append32(append32(m, 0), uint32(-errno)), make([]byte, 16)...)
	}
	count, err := b.answers(append(append(answer(0, 0), answer(1, int32(syscall.EEXIST))...), answer(2, 1)...))
	if count != 3 || err == nil || !strings.HasPrefix(err.Error(), "address 10.0.0.2: ") {
		t.Fatal(count, err)
	}
	if _, err := b.answers(answer(99, 1)); err == nil {
		t.Fatal("no error of a message that was never sent")
	}
	whole := answer(0, 0)
	for n := range whole {
		if count, _ := b.answers(whole[:n]); count != 0 {
			t.Fatal(n, "bytes are no answer")
		}
	}
}

func TestNoInterface(t *testing.T) {
	if _, err := os.Stat("/sys/class/net/" + Name); err == nil {
		t.Skip("this machine has an interface of that name")
	}
	if fail := new(Interface).Configure(good()); fail == nil || fail.Code != "not_found" {
		t.Fatal(fail)
	}
}
