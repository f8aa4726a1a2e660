package process

import (
	"syscall"

	"microsandbox/agent/internal/loop"
)

// drain reads and forgets what a process's descendants write after the process's streams have ended. Closing the
// pipe instead would kill a daemon with SIGPIPE at its first word.
type drain struct {
	loop *loop.Loop
	fd   int
}

// drained is where forgotten bytes go; all drains share it.
var drained [32 << 10]byte

func newDrain(l *loop.Loop, fd int) {
	l.Unwatch(fd)
	d := &drain{l, fd}
	if l.Watch(fd, loop.Readable, d) != nil {
		_ = syscall.Close(fd)
	}
}

// Ready reads one piece: a descendant that writes without end must not keep the agent busy.
func (d *drain) Ready(uint32) {
	n, err := syscall.Read(d.fd, drained[:])
	switch {
	case n > 0 || err == syscall.EINTR:
		d.loop.Again(d)
	case err == syscall.EAGAIN:
	default:
		d.loop.Close(d.fd)
	}
}
