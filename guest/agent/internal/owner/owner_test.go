package owner

import (
	"net"
	"os"
	"testing"
	"time"
)

func port(t *testing.T, address net.Addr) uint16 {
	t.Helper()
	switch a := address.(type) {
	case *net.TCPAddr:
		return uint16(a.Port)
	case *net.UDPAddr:
		return uint16(a.Port)
	}
	t.Fatalf("no port: %v", address)
	return 0
}

func connected(t *testing.T, network, address string) Flow {
	t.Helper()
	server, err := net.Listen(network, address)
	if err != nil {
		t.Skipf("no %s here: %v", network, err)
	}
	t.Cleanup(func() { _ = server.Close() })
	client, err := net.Dial(network, server.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	ip := server.Addr().(*net.TCPAddr).IP
	if four := ip.To4(); four != nil {
		ip = four
	}
	return Flow{Local: port(t, client.LocalAddr()), Address: ip, Port: port(t, server.Addr())}
}

func TestFindsThisProcess(t *testing.T) {
	open, err := net.ListenUDP("udp4", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	four := connected(t, "tcp4", "127.0.0.1:0")
	flows := []Flow{
		four,
		connected(t, "tcp6", "[::1]:0"),
		{UDP: true, Local: port(t, open.LocalAddr()), Address: []byte{8, 8, 8, 8}, Port: 53},
		{Local: four.Local, Address: []byte{8, 8, 8, 8}, Port: four.Port},
		{UDP: true, Local: four.Local, Address: four.Address, Port: four.Port},
	}
	owners := Find(flows, time.Minute)
	for i, known := range []bool{true, true, true, false, false} {
		if got := owners[i].PID == uint32(os.Getpid()); got != known {
			t.Errorf("flow %d: %+v", i, owners[i])
		}
		if known != (owners[i].Command != "") {
			t.Errorf("flow %d: no name of the process, or one of none: %+v", i, owners[i])
		}
	}
}

func TestReadsTheKernelsTables(t *testing.T) {
	const tcp6 = `  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0000000000000000FFFF00000200D10A:9C40 0000000000000000FFFF000008080808:01BB 01 00000000:00000000 00:00000000 00000000     0        0 777 1
   1: 62736DFD000000000000000002000000:9C41 B80D0120000000000000000007000000:0050 01 00000000:00000000 00:00000000 00000000     0        0 888 1
`
	flows := []Flow{
		{Local: 40000, Address: []byte{8, 8, 8, 8}, Port: 443},
		{Local: 40001, Address: []byte{0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7}, Port: 80},
		{Local: 40001, Address: []byte{8, 8, 8, 8}, Port: 80},
	}
	inodes := make([]inode, len(flows))
	match([]byte(tcp6), false, flows, inodes)
	if inodes[0].number != 777 || inodes[1].number != 888 || inodes[2].number != 0 {
		t.Errorf("got %v", inodes)
	}
	const udp = `
  1: 00000000:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 11 2 0 0
  2: 00000000:0035 08080808:0035 01 00000000:00000000 00:00000000 00000000     0        0 22 2 0 0
  3: 00000000:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 33 2 0 0
`
	flows = []Flow{{UDP: true, Local: 53, Address: []byte{8, 8, 8, 8}, Port: 53}}
	inodes = make([]inode, 1)
	match([]byte(udp), true, flows, inodes)
	if inodes[0].number != 22 {
		t.Errorf("got %v, want the connected one", inodes)
	}
}

func FuzzTables(f *testing.F) {
	f.Add([]byte("1: 00000000:0035 08080808:0035 01 0:0 0:0 0 0 0 22 2"))
	f.Add([]byte("1: :: :0035 01 0:0 0:0 0 0 0 22 2"))
	f.Fuzz(func(t *testing.T, table []byte) {
		flows := []Flow{{Local: 53, Address: []byte{8, 8, 8, 8}, Port: 53}}
		match(table, false, flows, make([]inode, 1))
	})
}

func TestGivesUpWhenItIsLate(t *testing.T) {
	flows := []Flow{connected(t, "tcp4", "127.0.0.1:0")}
	if owners := Find(flows, 0); owners[0].PID != 0 {
		t.Fatalf("found after its time: %+v", owners[0])
	}
	if owners := Find(flows, time.Minute); owners[0].PID != uint32(os.Getpid()) {
		t.Fatalf("not found in time: %+v", owners[0])
	}
}
