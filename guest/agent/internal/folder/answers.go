package folder

import (
	"bytes"
	"encoding/binary"
	"syscall"
)

// answers carries the host's answers to the kernel, until the host closes the channel. An answer is fuse_out_header
// and what follows it, and a trailer: a daemon may have died in the middle of one, and its follower completes (and
// spoils) that with zeros. From what is no answer on it looks for the magic. It never writes to the host: that may
// block, and what the host sends must always be taken.
func (r *relay) answers() {
	in := input{buffer: make([]byte, 0, 2*maxAnswer)}
	for {
		header := in.peek(answerHeader)
		if header == nil {
			return
		}
		length := int(binary.LittleEndian.Uint32(header))
		if length < answerHeader || length > maxAnswer {
			nonce := in.hunt()
			if nonce == nil {
				return
			}
			// Every request that an earlier host has left unanswered goes to this one.
			go r.again(nonce)
			continue
		}
		answer := in.peek(length + 1)
		if answer == nil {
			return
		}
		if answer[length] != trailer {
			in.skip(1)
			continue
		}
		if r.answered(binary.LittleEndian.Uint64(answer[8:])) {
			// An error says that nobody waits for it any more.
			_, _ = syscall.Write(r.device, answer[:length])
		}
		in.skip(length + 1)
	}
}

// input is stdin.
type input struct {
	buffer []byte
	start  int
}

// peek returns the next n bytes; nil at the end.
func (in *input) peek(n int) []byte {
	for len(in.buffer)-in.start < n {
		if in.start > 0 && cap(in.buffer)-in.start < n {
			kept := copy(in.buffer, in.buffer[in.start:])
			in.buffer, in.start = in.buffer[:kept], 0
		}
		room := in.buffer[len(in.buffer):cap(in.buffer)]
		if len(room) == 0 {
			kept := copy(in.buffer, in.buffer[in.start:])
			in.buffer, in.start = in.buffer[:kept], 0
			continue
		}
		got, err := syscall.Read(0, room)
		if err == syscall.EINTR {
			continue
		}
		if err != nil || got <= 0 {
			return nil
		}
		in.buffer = in.buffer[:len(in.buffer)+got]
	}
	return in.buffer[in.start : in.start+n]
}

func (in *input) skip(n int) {
	if in.start += n; in.start == len(in.buffer) {
		in.buffer, in.start = in.buffer[:0], 0
	}
}

// hunt drops what comes before the magic, and returns the nonce behind it.
func (in *input) hunt() []byte {
	for {
		b := in.peek(len(magic))
		if b == nil {
			return nil
		}
		if bytes.Equal(b, magic[:]) {
			break
		}
		// All that is here already, at once: mostly zeros.
		all := in.buffer[in.start:]
		if at := bytes.Index(all, magic[:]); at >= 0 {
			in.skip(at)
		} else {
			in.skip(len(all) - len(magic) + 1)
		}
	}
	in.skip(len(magic))
	b := in.peek(nonce)
	if b == nil {
		return nil
	}
	found := append([]byte(nil), b...)
	in.skip(nonce)
	return found
}
