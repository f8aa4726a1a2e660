package network

import (
	"bytes"
	"syscall"

	"microsandbox/agent/internal/failure"
)

// In a VM that was loaded from the state of another one TCP connections are there whose other ends know only that other one.
// What is sent on them finds nobody, and who only waits would wait for ever: so the kernel is told to end them
// (sock_diag(7), SOCK_DESTROY), which it tells their owners at once. Connections within the VM have both ends in it: they
// go on. So do listeners. Of network namespaces only PID 1's own is looked at.

const (
	sockDiag    = 4  // NETLINK_SOCK_DIAG
	listTCP     = 18 // TCPDIAG_GETSOCK: the older request, which lists both families at once
	destroy     = 21 // SOCK_DESTROY
	protocolTCP = 6

	socketID = 48 // struct inet_diag_sockid
	// connected are all states but CLOSE and LISTEN (include/net/tcp_states.h), as bits.
	connected = 0x1fff &^ (1<<7 | 1<<10)

	// Of one write; the kernel answers each that it cannot end.
	destroyBatch = 64
)

// ResetConnections ends the TCP connections to others, and says how many there were. Processes that stand still learn of it
// when they go on.
func ResetConnections() (count int, fail *failure.Failure) {
	var all [][]byte
	err := dump(sockDiag, listTCP, listRequest(), func(m []byte) {
		if family, id, ok := connection(m); ok && leadsOut(family, id) {
			all = append(all, destroyRequest(family, id))
		}
	})
	if err != nil {
		return 0, failure.New(failure.Internal, failure.Describe("list TCP connections", err))
	}
	if err := destroyAll(all); err != nil {
		return 0, failure.New(failure.Internal, failure.Describe("end TCP connections", err))
	}
	return len(all), nil
}

// listRequest is struct inet_diag_req: of all addresses, what is connected.
func listRequest() []byte {
	b := make([]byte, 4+socketID+8)
	put32(b[4+socketID:], connected)
	return b
}

// destroyRequest is struct inet_diag_req_v2.
func destroyRequest(family byte, id []byte) []byte {
	return append(append32([]byte{family, protocolTCP, 0, 0}, connected), id...)
}

// connection reads what it needs of a struct inet_diag_msg.
func connection(m []byte) (family byte, id []byte, ok bool) {
	if len(m) < 4+socketID || m[0] != syscall.AF_INET && m[0] != syscall.AF_INET6 {
		return 0, nil, false
	}
	return m[0], m[4 : 4+socketID], true
}

// leadsOut says whether a connection's other end is in another machine: neither a loopback address nor the VM's own.
func leadsOut(family byte, id []byte) bool {
	local, remote := id[4:20], id[20:36]
	if family == syscall.AF_INET {
		local, remote = local[:4], remote[:4]
	}
	return !bytes.Equal(local, remote) && !loopback(remote)
}

func loopback(ip []byte) bool {
	mapped := [12]byte{10: 0xff, 11: 0xff}
	if len(ip) == 16 && bytes.Equal(ip[:12], mapped[:]) {
		ip = ip[12:]
	}
	if len(ip) == 4 {
		return ip[0] == 127
	}
	one := [16]byte{15: 1}
	return bytes.Equal(ip, one[:])
}

// destroyAll asks for no acknowledgements: one that is gone by itself, or that its owner has closed already, is no error.
func destroyAll(requests [][]byte) error {
	for len(requests) > 0 {
		fd, err := open(sockDiag)
		if err != nil {
			return err
		}
		n := min(len(requests), destroyBatch)
		b := &batch{}
		for _, body := range requests[:n] {
			b.begin("", destroy, 0, body)
			put16(b.bytes[b.start+6:], syscall.NLM_F_REQUEST)
		}
		// Its answers go with the descriptor.
		err = syscall.Sendto(fd, b.bytes, 0, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK})
		_ = syscall.Close(fd)
		if err != nil {
			return err
		}
		requests = requests[n:]
	}
	return nil
}
