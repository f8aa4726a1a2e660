package network

import (
	"bytes"
	"math/rand"
	"net"
	"syscall"
	"testing"
)

// netlinkMessage is one of a list.
func netlinkMessage(kind uint16, body []byte) []byte {
	m := append32(append16(append16(append32(nil, uint32(header+len(body))), kind), 0), 0)
	m = append(append32(m, 0), body...)
	return append(m, make([]byte, (4-len(m)%4)%4)...)
}

func TestListEnds(t *testing.T) {
	var took [][]byte
	take := func(m []byte) { took = append(took, append([]byte(nil), m...)) }
	two := append(netlinkMessage(28, []byte("first")), netlinkMessage(28, []byte("second!!"))...)
	count, done, err := list(two, take)
	if count != 2 || done || err != nil || string(took[0]) != "first" || string(took[1]) != "second!!" {
		t.Fatal(count, done, err, took)
	}
	if count, done, err = list(append(two, netlinkMessage(syscall.NLMSG_DONE, nil)...), take); count != 2 || !done || err != nil {
		t.Fatal(count, done, err)
	}
	refused := netlinkMessage(syscall.NLMSG_ERROR, append32(nil, 0xffffffff&^1)) // -2
	if _, done, err = list(refused, take); !done || err != syscall.ENOENT {
		t.Fatal(done, err)
	}
}

// The kernel is believed, but nothing that it says ends PID 1.
func TestListOfAnything(t *testing.T) {
	random := rand.New(rand.NewSource(1))
	for range 20_000 {
		m := make([]byte, random.Intn(120))
		random.Read(m)
		if len(m) > 4 && random.Intn(2) == 0 {
			put32(m, uint32(random.Intn(len(m)+8)))
		}
		_, _, _ = list(m, func(b []byte) {
			_, _ = learnt(b, 7)
			_ = attributeOf(b, 1)
			if family, id, ok := connection(b); ok {
				_ = leadsOut(family, id)
			}
		})
	}
}

func TestLearnt(t *testing.T) {
	entry := func(index uint32, state byte) []byte {
		m := append32([]byte{syscall.AF_INET, 0, 0, 0}, index)
		m = append(m, state, 0, 0, 0)
		m = append16(append16(m, 10), ndaMAC)
		m = append(m, 2, 0, 0, 0, 0, 1, 0, 0)
		m = append16(append16(m, 8), ndaAddress)
		return append(m, 10, 0, 0, 9)
	}
	if address, ok := learnt(entry(7, 0x02), 7); !ok || !bytes.Equal(address, []byte{10, 0, 0, 9}) {
		t.Fatal(address, ok)
	}
	for what, m := range map[string][]byte{
		"permanent": entry(7, permanent), "without ARP": entry(7, 0x40), "another interface": entry(8, 0x02), "cut": entry(7, 0x02)[:20],
	} {
		if _, ok := learnt(m, 7); ok {
			t.Error(what)
		}
	}
}

func TestLeadsOut(t *testing.T) {
	id := func(local, remote string) (byte, []byte) {
		b := make([]byte, socketID)
		family := byte(syscall.AF_INET6)
		l, r := net.ParseIP(local), net.ParseIP(remote)
		if local[0] != ':' && l.To4() != nil {
			family, l, r = syscall.AF_INET, l.To4(), r.To4()
		}
		copy(b[4:20], l)
		copy(b[20:36], r)
		return family, b
	}
	for pair, want := range map[[2]string]bool{
		{"10.0.0.2", "10.0.0.1"}:                 true,
		{"10.0.0.2", "10.0.0.2"}:                 false,
		{"127.0.0.1", "127.0.0.2"}:               false,
		{"fd00::2", "fd00::1"}:                   true,
		{"::1", "::1"}:                           false,
		{"::ffff:127.0.0.1", "::ffff:127.0.0.3"}: false,
		{"::ffff:10.0.0.2", "::ffff:10.0.0.1"}:   true,
		{"fd00::2", "fd00::2"}:                   false,
	} {
		family, b := id(pair[0], pair[1])
		if got := leadsOut(family, b); got != want {
			t.Error(pair, got)
		}
	}
}

// By this machine's own kernel; nothing is ended.
func TestConnectionsAreListed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	port := uint16(client.LocalAddr().(*net.TCPAddr).Port)
	listed := false
	err = dump(sockDiag, listTCP, listRequest(), func(m []byte) {
		if family, id, ok := connection(m); ok && uint16(id[0])<<8|uint16(id[1]) == port {
			listed = true
			if family != syscall.AF_INET || leadsOut(family, id) {
				t.Error(family, "leads out")
			}
		}
	})
	if err == syscall.ENOENT {
		t.Skip("this machine's kernel has no tcp_diag")
	}
	if err != nil || !listed {
		t.Fatal(err, listed)
	}
}
