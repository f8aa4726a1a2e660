package owner

import (
	"bytes"
	"encoding/hex"
)

// inode of a socket, and how sure it is that the flow is of that one.
type inode struct {
	number uint64
	exact  bool
}

// Words of a line of /proc/net/tcp and its like (proc_net_tcp(5)):
// "sl local rem_address st tx:rx tr:when retrnsmt uid timeout inode".
const (
	wordLocal  = 1
	wordRemote = 2
	wordInode  = 9
)

// match finds the flows' sockets in one of the kernel's tables. A socket that datagrams go out of need not be connected: then one with
// the port alone does, unless another has both.
func match(table []byte, udp bool, flows []Flow, inodes []inode) {
	for len(table) > 0 {
		var line []byte
		line, table, _ = bytes.Cut(table, []byte{'\n'})
		words := bytes.Fields(line)
		if len(words) <= wordInode {
			continue
		}
		local, _, ok := endpoint(words[wordLocal])
		port, address, fine := endpoint(words[wordRemote])
		number := decimal(words[wordInode])
		if !ok || !fine || number == 0 {
			continue
		}
		for i, f := range flows {
			if f.UDP != udp || f.Local != local || inodes[i].exact {
				continue
			}
			if port == f.Port && same(address, f.Address) {
				inodes[i] = inode{number, true}
			} else if udp && port == 0 {
				inodes[i] = inode{number, false}
			}
		}
	}
}

// endpoint reads "0200D10A:9C40": an address as words of four bytes, each in the machine's order, and a port.
func endpoint(word []byte) (port uint16, address []byte, ok bool) {
	text, digits, found := bytes.Cut(word, []byte{':'})
	var p [2]byte
	if n, err := hex.Decode(p[:], digits[:min(len(digits), 4)]); !found || err != nil || n != 2 || len(digits) != 4 {
		return 0, nil, false
	}
	if len(text) != 8 && len(text) != 32 {
		return 0, nil, false
	}
	address = make([]byte, len(text)/2)
	if _, err := hex.Decode(address, text); err != nil {
		return 0, nil, false
	}
	for i := 0; i < len(address); i += 4 {
		w := address[i : i+4]
		w[0], w[1], w[2], w[3] = w[3], w[2], w[1], w[0]
	}
	return uint16(p[0])<<8 | uint16(p[1]), address, true
}

// same compares addresses; a socket for both versions has an IPv4 address as ::ffff:a.b.c.d.
func same(socket, asked []byte) bool {
	mapped := [12]byte{10: 0xff, 11: 0xff}
	if len(socket) == 16 && len(asked) == 4 && bytes.Equal(socket[:12], mapped[:]) {
		socket = socket[12:]
	}
	return bytes.Equal(socket, asked)
}

func decimal(word []byte) (value uint64) {
	for _, c := range word {
		if c < '0' || c > '9' || value > 1<<58 {
			return 0
		}
		value = value*10 + uint64(c-'0')
	}
	return value
}
