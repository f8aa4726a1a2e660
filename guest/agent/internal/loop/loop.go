// Package loop is the agent's one thread of control: an epoll loop that calls handlers, and timers. Everything the
// agent knows belongs to this loop and needs no lock. It is used instead of goroutines and the runtime's network
// poller because each hop between goroutines is code that has to be translated before the first answer.
package loop

import (
	"syscall"
	"time"
)

// Events a handler is told of; edge-triggered: a handler goes on until the kernel says EAGAIN, or asks to be
// called Again.
const (
	Readable = syscall.EPOLLIN
	Writable = syscall.EPOLLOUT
	HungUp   = syscall.EPOLLHUP
	Failed   = syscall.EPOLLERR

	edge = 1 << 31 // EPOLLET; the syscall package's constant is negative
)

// Handler is told what happened to its descriptor. Events is 0 if it asked to be called Again.
type Handler interface{ Ready(events uint32) }

// Loop watches descriptors. The zero value is not usable; see New.
type Loop struct {
	fd      int
	watched []watch // by descriptor
	again   []Handler
	spare   []Handler
	timers  []*Timer
	events  [64]syscall.EpollEvent
	epoch   time.Time
	stopped bool
	// BeforeWait runs when all that had happened has been handled: the place to write what gathered.
	BeforeWait func()
}

// watch remembers a generation beside the handler: an event that was fetched before its descriptor was closed and
// opened anew must not reach the new owner.
type watch struct {
	handler    Handler
	generation int32
}

// New makes a loop.
func New() (*Loop, error) {
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	return &Loop{fd: fd, watched: make([]watch, 256), again: make([]Handler, 0, 16), spare: make([]Handler, 0, 16),
		epoch: time.Now(), BeforeWait: func() {}}, nil
}

// Now is the time since the loop was made.
func (l *Loop) Now() time.Duration { return time.Since(l.epoch) }

// Watch calls h when fd becomes readable or writable, as asked for, or hangs up.
func (l *Loop) Watch(fd int, events uint32, h Handler) error {
	for fd >= len(l.watched) {
		l.watched = append(l.watched, make([]watch, len(l.watched))...)
	}
	w := &l.watched[fd]
	w.generation++
	w.handler = h
	e := syscall.EpollEvent{Events: events | edge, Fd: int32(fd), Pad: w.generation}
	if err := syscall.EpollCtl(l.fd, syscall.EPOLL_CTL_ADD, fd, &e); err != nil {
		w.handler = nil
		return err
	}
	return nil
}

// Modify changes what a watched descriptor's handler is told of: 0 leaves that it hangs up. What is there already is told
// again.
func (l *Loop) Modify(fd int, events uint32) error {
	e := syscall.EpollEvent{Events: events | edge, Fd: int32(fd), Pad: l.watched[fd].generation}
	return syscall.EpollCtl(l.fd, syscall.EPOLL_CTL_MOD, fd, &e)
}

// Unwatch stops watching fd.
func (l *Loop) Unwatch(fd int) {
	if fd < len(l.watched) && l.watched[fd].handler != nil {
		l.watched[fd].handler = nil
		_ = syscall.EpollCtl(l.fd, syscall.EPOLL_CTL_DEL, fd, nil)
	}
}

// Close stops watching fd and closes it. The kernel forgets a watched descriptor by itself when the last copy of it
// is closed; no process inherits the agent's, and while one is between fork and exec the agent's thread waits.
func (l *Loop) Close(fd int) {
	if fd < len(l.watched) {
		l.watched[fd].handler = nil
	}
	_ = syscall.Close(fd)
}

// Again calls h in the next round: for a handler that stopped before its descriptor was drained, so that others
// get their turn.
func (l *Loop) Again(h Handler) { l.again = append(l.again, h) }

// Stop makes Run return.
func (l *Loop) Stop() { l.stopped = true }

// Run handles events until Stop.
func (l *Loop) Run() error {
	for !l.stopped {
		l.BeforeWait()
		n, err := syscall.EpollWait(l.fd, l.events[:], l.timeout())
		if err != nil && err != syscall.EINTR {
			return err
		}
		for i := range max(n, 0) {
			e := &l.events[i]
			if w := &l.watched[e.Fd]; w.handler != nil && w.generation == e.Pad {
				w.handler.Ready(e.Events)
			}
		}
		if len(l.again) > 0 {
			now := l.again
			l.again = l.spare[:0]
			for i, h := range now {
				now[i] = nil
				h.Ready(0)
			}
			l.spare = now[:0]
		}
		if len(l.timers) > 0 {
			l.fire()
		}
	}
	return nil
}

func (l *Loop) timeout() int {
	if len(l.again) > 0 {
		return 0
	}
	if len(l.timers) == 0 {
		return -1
	}
	next := l.timers[0].at
	for _, t := range l.timers[1:] {
		next = min(next, t.at)
	}
	// Rounded up: waking a fraction early would only mean to wait again.
	return int(max(0, (next-l.Now()+time.Millisecond-1)/time.Millisecond))
}
