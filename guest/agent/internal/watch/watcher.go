package watch

import (
	"encoding/binary"
	"syscall"

	"microsandbox/agent/internal/failure"
)

// pairMs is how long the other end of a move is waited for. The kernel tells both at once, so it is only ever short of a buffer's end.
const pairMs = 10

type watcher struct {
	target
	// base is the folder with a slash at its end.
	base string
	max  int
	send func(message []byte)

	fd, epoll int
	root      *node
	byWd      map[int32]*node
	batch     batch
	toldIn    []*node
	toldNames int
	buffer    []byte
	ended     bool
}

// event is one of the kernel's.
type event struct {
	wd           int32
	mask, cookie uint32
	name         string
}

func (e *event) folder() bool { return e.mask&syscall.IN_ISDIR != 0 }

// open has everything in place: what happens from now on is told.
func open(to target, max int, send func([]byte)) (*watcher, error) {
	w := &watcher{target: to, max: max, send: send, byWd: make(map[int32]*node), buffer: make([]byte, 64<<10)}
	w.base = to.folder
	if w.base != "/" {
		w.base += "/"
	}
	var err error
	if w.fd, err = syscall.InotifyInit1(syscall.IN_CLOEXEC | syscall.IN_NONBLOCK); err != nil {
		return nil, failure.Of("watch "+to.folder, err)
	}
	if w.epoll, err = syscall.EpollCreate1(syscall.EPOLL_CLOEXEC); err == nil {
		err = syscall.EpollCtl(w.epoll, syscall.EPOLL_CTL_ADD, w.fd, &syscall.EpollEvent{Events: syscall.EPOLLIN})
	}
	if err != nil {
		return nil, failure.Of("watch "+to.folder, err)
	}
	if err := w.begin(); err != nil {
		return nil, err
	}
	send(ready(len(w.byWd)))
	return w, nil
}

func (w *watcher) close() {
	syscall.Close(w.fd)
	syscall.Close(w.epoll)
}

// begin makes the tree, also anew when something was lost: then it keeps what the kernel watches already.
func (w *watcher) begin() error {
	old := w.byWd
	w.byWd = make(map[int32]*node)
	wd, ok, err := w.add(w.base, 0)
	if err != nil {
		return err
	}
	if !ok {
		return failure.New(failure.NotFound, "cannot watch "+w.folder+": it is gone")
	}
	if w.root, err = w.keep(nil, "", wd); err != nil {
		return err
	}
	if w.recursive {
		err = w.scan(w.root, false)
	}
	for wd := range old {
		if w.byWd[wd] == nil {
			syscall.InotifyRmWatch(w.fd, uint32(wd))
		}
	}
	return err
}

// lost is for when it is not known any more what happened.
func (w *watcher) lost() error {
	w.tell(change{kind: overflow})
	err := w.begin()
	if fail, ok := err.(*failure.Failure); ok && fail.Code == failure.NotFound {
		w.end()
		return nil
	}
	return err
}

// end is for when what is watched has gone, or has another name.
func (w *watcher) end() {
	w.tell(change{kind: removed, folder: w.only == ""})
	w.ended = true
}

func (w *watcher) tell(c change) {
	w.batch.add(c)
	if len(w.batch.bytes) >= maxBatch {
		w.flush()
	}
}

func (w *watcher) flush() {
	if w.batch.count > 0 {
		w.send(w.batch.take())
	}
}

// run tells until what is watched is gone.
func (w *watcher) run() error {
	defer w.close()
	for !w.ended {
		if err := w.step(-1); err != nil {
			w.flush()
			return err
		}
	}
	return nil
}

// step waits for events, so many milliseconds or for ever, and tells of them.
func (w *watcher) step(waitMs int) error {
	events, err := w.next(0)
	if err == nil && len(events) == 0 {
		w.forgetTold()
		events, err = w.next(waitMs)
	}
	if err != nil || len(events) == 0 {
		return err
	}
	if alone(events) {
		more, err := w.next(pairMs)
		if err != nil {
			return err
		}
		events = append(events, more...)
	}
	for i := range events {
		if w.ended {
			break
		}
		if err := w.handle(&events[i], events[i+1:]); err != nil {
			return err
		}
	}
	w.flush()
	return nil
}

// alone says whether one of the last events is of a move whose other end may follow.
func alone(events []event) bool {
	for i := range events {
		if events[i].mask&syscall.IN_MOVED_FROM != 0 && other(&events[i], events[i+1:]) == nil {
			return true
		}
	}
	return false
}

// other finds the other end of a move.
func other(e *event, later []event) *event {
	for i := range later {
		if later[i].cookie == e.cookie && later[i].mask&syscall.IN_MOVED_TO != 0 {
			return &later[i]
		}
	}
	return nil
}

// next gives what the kernel has to tell, at most a buffer of it.
func (w *watcher) next(waitMs int) ([]event, error) {
	var events []event
	for {
		n, err := syscall.Read(w.fd, w.buffer)
		switch {
		case err == syscall.EINTR:
			continue
		case err == syscall.EAGAIN:
			var some [1]syscall.EpollEvent
			ready, err := syscall.EpollWait(w.epoll, some[:], waitMs)
			if err == syscall.EINTR || ready > 0 {
				continue
			}
			if err != nil {
				err = failure.Of("wait for changes", err)
			}
			return nil, err
		case err != nil:
			return nil, failure.Of("read changes", err)
		}
		for b := w.buffer[:n]; len(b) >= syscall.SizeofInotifyEvent; {
			size := syscall.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(b[12:]))
			events = append(events, event{
				wd: int32(binary.NativeEndian.Uint32(b)), mask: binary.NativeEndian.Uint32(b[4:]),
				cookie: binary.NativeEndian.Uint32(b[8:]), name: text(b[syscall.SizeofInotifyEvent:size]),
			})
			b = b[size:]
		}
		return events, nil
	}
}
