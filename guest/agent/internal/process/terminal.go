package process

import (
	"syscall"
	"unsafe"

	"microsandbox/agent/internal/failure"
	"microsandbox/agent/internal/ring"
	"microsandbox/agent/internal/wire"
)

// ioctl_tty(2): the same on amd64 and arm64.
const (
	tcgets      = 0x5401     // TCGETS
	tcsets      = 0x5402     // TCSETS
	tiocswinsz  = 0x5414     // TIOCSWINSZ
	tiocsptlck  = 0x40045431 // TIOCSPTLCK
	tiocgptpeer = 0x5441     // TIOCGPTPEER
	iutf8       = 0x4000     // IUTF8: erasing takes a whole character
)

// maxSize is the protocol's bound on rows and columns.
const maxSize = 4096

// terminal is what the host asks for in place of pipes.
type terminal struct {
	rows, cols uint64
	term       string
}

// windowSize is the kernel's struct winsize.
type windowSize struct{ rows, cols, xPixels, yPixels uint16 }

func parseTerminal(m wire.Item) (*terminal, *failure.Failure) {
	if k := m.Kind(); k == wire.Absent || k == wire.Null {
		return nil, nil
	}
	rows, ok1 := m.Get("rows").Uint()
	cols, ok2 := m.Get("cols").Uint()
	term, ok3 := m.Get("term").Text()
	if !ok1 || !ok2 || !ok3 || !validSize(rows, cols) {
		return nil, failure.Cannot(126, failure.InvalidArgument, "a terminal has 1 to 4,096 rows and columns, and a name")
	}
	return &terminal{rows, cols, term}, nil
}

func validSize(rows, cols uint64) bool {
	return rows >= 1 && rows <= maxSize && cols >= 1 && cols <= maxSize
}

// environment tells the process what its terminal understands, unless the host said so itself.
func (w *terminal) environment(env []string) []string {
	if _, has := variable(env, "TERM"); has || w.term == "" {
		return env
	}
	return append(env, "TERM="+w.term)
}

// openTerminal makes a pseudoterminal in place of the pipes. Its size is set before there is a process to look at it. The
// agent holds it by two descriptors, one for each direction: each has its own handler. There is no stderr of its own.
func (t *Table) openTerminal(w *terminal, stdin bool) (*pipes, error) {
	s := &pipes{own: [3]int{-1, -1, -1}}
	fail := func(err error) (*pipes, error) {
		s.closeChild(t.devNull)
		s.closeOwn(t.rings)
		return nil, err
	}
	own, err := syscall.Open("/dev/ptmx", syscall.O_RDWR|syscall.O_NOCTTY|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if err != nil {
		return fail(err)
	}
	s.own[1] = own
	unlocked := int32(0)
	if err := ioctl(own, tiocsptlck, uintptr(unsafe.Pointer(&unlocked))); err != nil {
		return fail(err)
	}
	// Not by its name in /dev/pts: a process of the sandbox could have put something else there.
	child, _, errno := syscall.RawSyscall(syscall.SYS_IOCTL, uintptr(own), tiocgptpeer,
		syscall.O_RDWR|syscall.O_NOCTTY|syscall.O_CLOEXEC)
	if errno != 0 {
		return fail(errno)
	}
	s.child = []uintptr{child, child, child}
	if err := resize(own, w.rows, w.cols); err != nil {
		return fail(err)
	}
	var modes syscall.Termios
	if err := ioctl(int(child), tcgets, uintptr(unsafe.Pointer(&modes))); err != nil {
		return fail(err)
	}
	modes.Iflag |= iutf8
	if err := ioctl(int(child), tcsets, uintptr(unsafe.Pointer(&modes))); err != nil {
		return fail(err)
	}
	if stdin {
		fd, _, errno := syscall.RawSyscall(syscall.SYS_FCNTL, uintptr(own), syscall.F_DUPFD_CLOEXEC, 0)
		if errno != 0 {
			return fail(errno)
		}
		s.own[0] = int(fd)
	}
	for i := range s.rings {
		var r *ring.Ring
		if r, err = t.rings.Get(); err != nil {
			return fail(err)
		}
		s.rings[i] = r
	}
	return s, nil
}

func resize(fd int, rows, cols uint64) error {
	size := windowSize{rows: uint16(rows), cols: uint16(cols)}
	return ioctl(fd, tiocswinsz, uintptr(unsafe.Pointer(&size)))
}

func ioctl(fd int, request, argument uintptr) error {
	if _, _, errno := syscall.RawSyscall(syscall.SYS_IOCTL, uintptr(fd), request, argument); errno != 0 {
		return errno
	}
	return nil
}

// Resize gives a channel's terminal another size; the kernel tells the foreground group with WINCH.
func (t *Table) Resize(channel uint32, rows, cols uint64) {
	p := t.channels[channel]
	if p == nil || !p.terminal || !validSize(rows, cols) {
		return
	}
	if fd := p.outputs[0].fd; fd >= 0 {
		_ = resize(fd, rows, cols)
	}
}
