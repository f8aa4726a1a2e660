// Package folder mounts a folder of the host: the builtin "folder". It is a relay and no file system. The kernel's FUSE
// requests go to the host as they are, and its answers come back as they are: only the host, which must not trust a word
// of them, parses them. A library such as go-fuse would parse them here a first time, to no
// use, and its code would be in every template.
//
// The relay is what lasts. It keeps each request until it is answered, so another daemon can go on where one has died.
// Nothing of the kernel's protocol but the header's fields is known here. See spec/agent-protocol.md, "folder".
package folder

import (
	"encoding/binary"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"microsandbox/agent/internal/failure"
)

const (
	// MaxWrite is how much of a file one request carries; the host says the same in its answer to INIT.
	maxWrite = 128 << 10
	// readSize is what the kernel asks for: a write with its headers.
	readSize = maxWrite + 4096
	// maxPending bounds the requests that wait for an answer, and so what is sent again to a new daemon.
	maxPending = 1 << 20
	// maxAnswer is the longest answer: a read with its header.
	maxAnswer = maxWrite + 4096

	requestHeader = 40 // fuse_in_header
	answerHeader  = 16 // fuse_out_header

	opForget      = 2
	opInterrupt   = 36
	opIoctl       = 39
	opBatchForget = 42

	trailer = 0xA5
	nonce   = 16
)

// magic opens a synchronization in both directions. Read as an answer's header, its length is above the bound.
var magic = [16]byte{0xff, 0xff, 0xff, 0xff, 'M', 'S', 'B', '-', 'F', 'O', 'L', 'D', 'E', 'R', 0xff, 0xff}

// relay is the two ways between the kernel and the host.
type relay struct {
	device int
	// out is held while something is written to the host: a request is pending exactly if it was written.
	out sync.Mutex

	mu      sync.Mutex
	room    sync.Cond // of pending
	pending map[uint64][]byte
	order   []uint64 // of pending, oldest first, with those that were answered since
	bytes   int
}

// Run mounts the folder and serves it until it is unmounted. args: the mount point, and "ro" or "rw".
func Run(args []string) int {
	if len(args) != 2 || args[0] == "" || args[0][0] != '/' {
		return complain("folder: needs a mount point and ro or rw")
	}
	protect()
	device, err := syscall.Open("/dev/fuse", syscall.O_RDWR|syscall.O_CLOEXEC, 0)
	if err != nil {
		return complain(failure.Describe("open /dev/fuse", err))
	}
	if err := mountAt(device, args[0], args[1] == "ro"); err != nil {
		return complain(failure.Describe("mount a folder of the host on "+args[0], err))
	}
	r := &relay{device: device, pending: make(map[uint64][]byte)}
	r.room.L = &r.mu
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	go leave(term, args[0])
	go func() {
		r.answers()
		// The host has closed the channel: whoever waits for an answer gets an error once the device is closed.
		os.Exit(0)
	}()
	return r.requests()
}

func complain(message string) int {
	os.Stderr.WriteString(message + "\n")
	return 1
}

// requests carries the kernel's requests to the host.
func (r *relay) requests() int {
	buffer := make([]byte, readSize)
	for {
		n, err := syscall.Read(r.device, buffer)
		switch err {
		case nil:
		case syscall.EINTR, syscall.EAGAIN, syscall.ENOENT: // ENOENT: the request was interrupted before we had it
			continue
		case syscall.ENODEV: // unmounted
			return 0
		default:
			return complain(failure.Describe("read /dev/fuse", err))
		}
		if n < requestHeader {
			continue
		}
		b := buffer[:n]
		switch binary.LittleEndian.Uint32(b[4:]) {
		case opInterrupt, opIoctl:
			r.refuse(b)
			continue
		}
		if !r.send(append([]byte(nil), b...)) {
			return 0
		}
	}
}

// refuse tells the kernel that there is no such thing. Of interrupts it sends no more then: our requests are short. About an
// ioctl it asks each time, and Python asks of each file that it opens whether it is a terminal: not worth a way to the host.
func (r *relay) refuse(request []byte) {
	var answer [answerHeader]byte
	binary.LittleEndian.PutUint32(answer[0:], answerHeader)
	no := -int32(syscall.ENOSYS)
	binary.LittleEndian.PutUint32(answer[4:], uint32(no))
	copy(answer[8:], request[8:16])
	_, _ = syscall.Write(r.device, answer[:])
}

func (r *relay) send(request []byte) bool {
	unique := binary.LittleEndian.Uint64(request[8:])
	r.mu.Lock()
	for r.bytes > 0 && r.bytes+len(request) > maxPending {
		r.room.Wait()
	}
	r.mu.Unlock()
	r.out.Lock()
	defer r.out.Unlock()
	r.mu.Lock()
	r.pending[unique] = request
	r.order = append(r.order, unique)
	r.bytes += len(request)
	r.mu.Unlock()
	return write(1, request)
}

// answered forgets a request. False: there is none, or it was one that the kernel wants no answer to.
func (r *relay) answered(unique uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	request := r.pending[unique]
	if request == nil {
		return false
	}
	delete(r.pending, unique)
	r.bytes -= len(request)
	r.room.Broadcast()
	if len(r.order) > 64 && len(r.order) > 2*len(r.pending) {
		kept := r.order[:0]
		for _, u := range r.order {
			if r.pending[u] != nil {
				kept = append(kept, u)
			}
		}
		r.order = kept
	}
	op := binary.LittleEndian.Uint32(request[4:])
	return op != opForget && op != opBatchForget
}

// again answers a synchronization: magic, the host's nonce, how many requests are sent again, and these.
func (r *relay) again(nonce []byte) {
	r.out.Lock()
	defer r.out.Unlock()
	r.mu.Lock()
	waiting := make([][]byte, 0, len(r.pending))
	for _, u := range r.order {
		if request := r.pending[u]; request != nil {
			waiting = append(waiting, request)
		}
	}
	r.mu.Unlock()
	b := append(append([]byte(nil), magic[:]...), nonce...)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(waiting)))
	if !write(1, b) {
		return
	}
	for _, request := range waiting {
		if !write(1, request) {
			return
		}
	}
}

// write writes all of it.
func write(fd int, b []byte) bool {
	for len(b) > 0 {
		n, err := syscall.Write(fd, b)
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return false
		}
		b = b[n:]
	}
	return true
}
