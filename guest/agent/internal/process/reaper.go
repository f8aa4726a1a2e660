package process

import (
	"syscall"
	"unsafe"

	"microsandbox/agent/internal/loop"
)

// reaper buries children. A process that has ended keeps its pid until somebody waits for it; only the loop ever
// does, so a pid in the table always means that very process, and a signal cannot hit another one.
//
// The loop must not block in wait, and SIGCHLD cannot be had as a descriptor (signalfd needs the signal blocked in
// every thread; the Go runtime unblocks it in each). So a thread of its own waits until some child has ended,
// without burying it (WNOWAIT), rings the bell, and sleeps until the loop has buried all there are.
type reaper struct {
	table *Table
	bell  int  // eventfd: thread → loop
	sleep int  // eventfd: loop → thread
	armed bool // the thread is waiting for a child, or has just rung
}

const (
	waitAll     = 0 // P_ALL
	waitExited  = 0x4
	waitNoWait  = 0x1000000
	eventfdOpen = 0x80000 // EFD_CLOEXEC
	eventfdPoll = 0x800   // EFD_NONBLOCK
)

// one is what an eventfd is given: 1 in the machine's byte order, which is little-endian on amd64 and arm64.
var one = [8]byte{1}

func newReaper(l *loop.Loop, t *Table) (*reaper, error) {
	bell, err := eventfd(eventfdPoll)
	if err != nil {
		return nil, err
	}
	sleep, err := eventfd(0)
	if err != nil {
		return nil, err
	}
	r := &reaper{table: t, bell: bell, sleep: sleep}
	if err := l.Watch(bell, loop.Readable, r); err != nil {
		return nil, err
	}
	go r.listen()
	return r, nil
}

func eventfd(flags uintptr) (int, error) {
	fd, _, errno := syscall.RawSyscall(syscall.SYS_EVENTFD2, 0, eventfdOpen|flags, 0)
	if errno != 0 {
		return -1, errno
	}
	return int(fd), nil
}

// listen is the thread.
func (r *reaper) listen() {
	var info [128]byte
	var count [8]byte
	for {
		if n, err := syscall.Read(r.sleep, count[:]); n != 8 {
			if err == syscall.EINTR {
				continue
			}
			return // closed: the table is gone
		}
		for {
			_, _, errno := syscall.Syscall6(syscall.SYS_WAITID, waitAll, 0, uintptr(unsafe.Pointer(&info)),
				waitExited|waitNoWait, 0, 0)
			if errno != syscall.EINTR {
				break
			}
		}
		_, _ = syscall.Write(r.bell, one[:])
	}
}

// started says that there is a child to wait for.
func (r *reaper) started() {
	if !r.armed {
		r.armed = true
		_, _ = syscall.Write(r.sleep, one[:])
	}
}

// Ready buries every child that has ended. The bell's count is never read: edge-triggered, each ring is an event.
func (r *reaper) Ready(uint32) {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		switch {
		case pid > 0:
			if !status.Stopped() {
				r.table.reaped(pid, status)
			}
		case err == syscall.EINTR:
		case err == nil:
			_, _ = syscall.Write(r.sleep, one[:])
			return
		default: // ECHILD
			r.armed = false
			r.table.Childless()
			return
		}
	}
}
