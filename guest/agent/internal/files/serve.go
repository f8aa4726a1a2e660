// Package files does what the host asks of the sandbox's files: one process of the agent's own, which answers requests on its stdin
// with replies on its stdout until stdin ends. spec/agent-protocol.md, "files", says what they look like.
//
// It runs as root and where the sandbox's processes are; a request that names a user is done by a thread that has taken on that
// user's identity for files (setfsuid). What lies in the sandbox is the guest's own, so links are followed as they are for anybody.
package files

import (
	"os"
	"sync"
	"syscall"

	"microsandbox/agent/internal/failure"
	"microsandbox/agent/internal/wire"
)

const (
	// maxMessage bounds a message both ways: one chunk and what stands around it.
	maxMessage = maxChunk + 64<<10
	// maxChunk bounds the bytes of a file in one message.
	maxChunk = 256 << 10
	// maxPath is the kernel's bound.
	maxPath = 4096
	// maxAtOnce bounds the requests that are being done; the next waits in the pipe.
	maxAtOnce = 16
)

// server is one process's state.
type server struct {
	handles handles
	out     sync.Mutex
}

// Run answers requests until stdin ends, and returns the exit code.
func Run() int {
	s := server{handles: handles{open: make(map[uint64]handle)}}
	turns := make(chan struct{}, maxAtOnce)
	for {
		message, err := receive(0)
		if err != nil {
			os.Stderr.WriteString(failure.Describe("read a request", err) + "\n")
			return 1
		}
		if message == nil {
			s.handles.drop()
			return 0
		}
		turns <- struct{}{}
		go func() {
			s.answer(message)
			<-turns
		}()
	}
}

// receive reads one message; nil at the end.
func receive(fd int) ([]byte, error) {
	var head [4]byte
	if n, err := readFull(fd, head[:]); err != nil || n == 0 {
		return nil, err
	} else if n < len(head) {
		return nil, syscall.EPROTO
	}
	length := int(head[0])<<24 | int(head[1])<<16 | int(head[2])<<8 | int(head[3])
	if length == 0 || length > maxMessage {
		return nil, syscall.EMSGSIZE
	}
	message := make([]byte, length)
	if n, err := readFull(fd, message); err != nil {
		return nil, err
	} else if n < length {
		return nil, syscall.EPROTO
	}
	return message, nil
}

func readFull(fd int, b []byte) (n int, err error) {
	for n < len(b) {
		m, err := syscall.Read(fd, b[n:])
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return n, err
		}
		if m == 0 {
			break
		}
		n += m
	}
	return n, nil
}

// answer does one request. Its reply begins with the id; what a request gives back follows as pairs of the same map.
func (s *server) answer(message []byte) {
	var document wire.Document
	m, err := document.Parse(message)
	id, ok := m.Get("id").Uint()
	if err != nil || !ok {
		s.send(failed(0, failure.New(failure.InvalidArgument, "a request that is none")))
		return
	}
	r := &request{server: s, Item: m, reply: make([]byte, 0, 512)}
	fail := r.as(func() *failure.Failure { return r.do() })
	if fail != nil {
		s.send(failed(id, fail))
		return
	}
	head := wire.AppendMap(make([]byte, 4, 64), r.pairs+1)
	head = wire.AppendUint(wire.AppendText(head, "id"), id)
	s.send(append(head, r.reply...))
}

func failed(id uint64, f *failure.Failure) []byte {
	b := wire.AppendMap(make([]byte, 4, 512), 2)
	b = wire.AppendUint(wire.AppendText(b, "id"), id)
	b = wire.AppendMap(wire.AppendText(b, "error"), 2)
	b = wire.AppendText(wire.AppendText(b, "code"), f.Code)
	return wire.AppendText(wire.AppendText(b, "message"), valid(f.Message))
}

// send writes a message, whose first four bytes are kept free for its length.
func (s *server) send(b []byte) {
	n := len(b) - 4
	b[0], b[1], b[2], b[3] = byte(n>>24), byte(n>>16), byte(n>>8), byte(n)
	s.out.Lock()
	defer s.out.Unlock()
	for len(b) > 0 {
		n, err := syscall.Write(1, b)
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			os.Exit(1) // nobody reads any more
		}
		b = b[n:]
	}
}
