package network

import (
	"errors"
	"syscall"
)

// batch is a list of rtnetlink(7) messages that go out in one write. The kernel carries them out in order and answers each,
// so that the first that failed can be named. Numbers are in the machine's order, which is little-endian on all we run on.
type batch struct {
	bytes []byte
	what  []string // of the message with this sequence number; empty: it may fail
	start int      // of the message that is being built
}

const (
	header = 16 // struct nlmsghdr
	// answerSeconds bounds the wait for the kernel, which answers before the write returns.
	answerSeconds = 5
)

// room takes what the kernel answers: all of it is called from the agent's one thread. The kernel makes no list's piece
// larger than what the reader has room for, and none before the first read larger than a page. It is no local variable: so
// much new memory costs 5 ms the first time under emulation.
var room [8192]byte

// begin opens a message; body is the family's fixed struct.
func (b *batch) begin(what string, kind, flags uint16, body []byte) {
	b.start = len(b.bytes)
	b.bytes = append32(b.bytes, 0)
	b.bytes = append16(b.bytes, kind)
	b.bytes = append16(b.bytes, flags|syscall.NLM_F_REQUEST|syscall.NLM_F_ACK)
	b.bytes = append32(b.bytes, uint32(len(b.what)))
	b.bytes = append32(b.bytes, 0)
	b.bytes = append(b.bytes, body...)
	b.what = append(b.what, what)
	b.close()
}

// attribute adds one to the message that was begun last.
func (b *batch) attribute(kind uint16, value []byte) {
	b.bytes = append16(b.bytes, uint16(4+len(value)))
	b.bytes = append16(b.bytes, kind)
	b.bytes = append(b.bytes, value...)
	b.close()
}

// close aligns the message and writes its length, which so far is all that there is of it.
func (b *batch) close() {
	for len(b.bytes)%4 != 0 {
		b.bytes = append(b.bytes, 0)
	}
	put32(b.bytes[b.start:], uint32(len(b.bytes)-b.start))
}

// run has the kernel carry the messages out. The error names the first that failed; those behind it were tried all the same.
func (b *batch) run() error {
	if len(b.what) == 0 {
		return nil
	}
	fd, err := open(syscall.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	if err := syscall.Sendto(fd, b.bytes, 0, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK}); err != nil {
		return err
	}
	var first error
	for left := len(b.what); left > 0; {
		n, err := read(fd, room[:])
		if err != nil {
			return err
		}
		answered, err := b.answers(room[:n])
		if first == nil {
			first = err
		}
		if answered == 0 {
			return errors.New("the kernel's answer makes no sense")
		}
		left -= answered
	}
	return first
}

// answers reads the acknowledgements of one read: how many there are, and the first error among them.
func (b *batch) answers(m []byte) (count int, first error) {
	for len(m) >= header+4 {
		length := int(get32(m))
		if length < header+4 || length > len(m) || m[4] != syscall.NLMSG_ERROR {
			return count, first
		}
		count++
		if errno := -int32(get32(m[header:])); errno != 0 && first == nil {
			what := "?"
			if sequence := get32(m[8:]); sequence < uint32(len(b.what)) {
				what = b.what[sequence]
			}
			if what != "" {
				first = errors.New(what + ": " + syscall.Errno(errno).Error())
			}
		}
		m = m[min((length+3)&^3, len(m)):]
	}
	return count, first
}

// open makes a socket of one of netlink's families.
func open(family int) (int, error) {
	fd, err := syscall.Socket(syscall.AF_NETLINK, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC, family)
	if err == nil {
		_ = syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &syscall.Timeval{Sec: answerSeconds})
	}
	return fd, err
}

func read(fd int, room []byte) (int, error) {
	for {
		n, err := syscall.Read(fd, room)
		if err != syscall.EINTR {
			return n, err
		}
	}
}

func append16(b []byte, v uint16) []byte { return append(b, byte(v), byte(v>>8)) }

func append32(b []byte, v uint32) []byte {
	return append(b, byte(v), byte(v>>8), byte(v>>16), byte(v>>24))
}

func put16(b []byte, v uint16) { b[0], b[1] = byte(v), byte(v>>8) }

func put32(b []byte, v uint32) {
	b[0], b[1], b[2], b[3] = byte(v), byte(v>>8), byte(v>>16), byte(v>>24)
}

func get32(b []byte) uint32 {
	return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
}
