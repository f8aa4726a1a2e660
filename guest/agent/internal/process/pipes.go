package process

import (
	"syscall"

	"microsandbox/agent/internal/loop"
	"microsandbox/agent/internal/ring"
	"microsandbox/agent/internal/wire"
)

// pipes are one process's stdin, stdout and stderr.
type pipes struct {
	child []uintptr // the process's ends
	own   [3]int    // the agent's ends, which do not block; −1: none
	rings [2]*ring.Ring
}

func (t *Table) openPipes(stdin bool) (*pipes, error) {
	s := &pipes{child: make([]uintptr, 0, 3), own: [3]int{-1, -1, -1}}
	fail := func(err error) (*pipes, error) {
		s.closeChild(t.devNull)
		s.closeOwn(t.rings)
		return nil, err
	}
	for i := range 3 {
		if i == 0 && !stdin {
			s.child = append(s.child, uintptr(t.devNull))
			continue
		}
		var fd [2]int
		if err := syscall.Pipe2(fd[:], syscall.O_CLOEXEC); err != nil {
			return fail(err)
		}
		own, child := fd[0], fd[1]
		if i == 0 {
			own, child = child, own
		}
		s.own[i] = own
		s.child = append(s.child, uintptr(child))
		// Not pipe2's O_NONBLOCK: that would hold for the process's end too.
		if _, _, errno := syscall.RawSyscall(syscall.SYS_FCNTL, uintptr(own), syscall.F_SETFL, syscall.O_NONBLOCK); errno != 0 {
			return fail(errno)
		}
		if i > 0 {
			r, err := t.rings.Get()
			if err != nil {
				return fail(err)
			}
			s.rings[i-1] = r
		}
	}
	return s, nil
}

func (s *pipes) closeChild(devNull int) {
	for i, fd := range s.child {
		// A terminal is all three of them.
		if int(fd) != devNull && !(i > 0 && fd == s.child[0]) {
			_ = syscall.Close(int(fd))
		}
	}
	s.child = nil
}

func (s *pipes) closeOwn(rings *ring.Pool) {
	for _, fd := range s.own {
		if fd >= 0 {
			_ = syscall.Close(fd)
		}
	}
	for _, r := range s.rings {
		if r != nil {
			rings.Put(r)
		}
	}
}

// connect hands the pipes to the process's streams and watches them.
func (t *Table) connect(p *Process, s *pipes) {
	p.stdin = input{process: p, fd: s.own[0]}
	if s.own[0] < 0 {
		p.stdin.ended = true
	} else {
		_ = t.loop.Watch(s.own[0], loop.Writable, &p.stdin)
		p.stdin.grant()
	}
	for i := range p.outputs {
		o := &p.outputs[i]
		o.open(p, wire.Stdout+byte(i), s.own[i+1], s.rings[i])
		if o.fd >= 0 {
			_ = t.loop.Watch(o.fd, loop.Readable, o)
		} else {
			o.ended = true
			o.wake()
		}
	}
}
