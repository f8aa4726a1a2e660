package files

import (
	"strconv"
	"strings"
	"sync"
	"syscall"

	"microsandbox/agent/internal/failure"
	"microsandbox/agent/internal/wire"
)

// maxHandles bounds what is open between requests.
const maxHandles = 128

// handle is an open file or listing.
type handle interface{ drop() }

// handles are those of one process, by number.
type handles struct {
	sync.Mutex
	open map[uint64]handle
	last uint64
}

func (h *handles) add(one handle) (uint64, *failure.Failure) {
	h.Lock()
	defer h.Unlock()
	if len(h.open) >= maxHandles {
		one.drop()
		return 0, failure.New(failure.ResourceExhausted, "too many files are open at once: "+strconv.Itoa(maxHandles))
	}
	h.last++
	h.open[h.last] = one
	return h.last, nil
}

func (h *handles) take(n uint64) handle {
	h.Lock()
	defer h.Unlock()
	one := h.open[n]
	delete(h.open, n)
	return one
}

// drop ends all; what was half written goes.
func (h *handles) drop() {
	h.Lock()
	defer h.Unlock()
	for n, one := range h.open {
		one.drop()
		delete(h.open, n)
	}
}

// file is one that is read or written. With partial it is written beside its name and takes it when it is closed.
type file struct {
	sync.Mutex
	fd            int
	path, partial string
	sync          bool
}

func (f *file) drop() {
	syscall.Close(f.fd)
	if f.partial != "" {
		syscall.Unlink(f.partial)
	}
}

func (r *request) file() (*file, *failure.Failure) {
	n, _ := r.Get("handle").Uint()
	r.server.handles.Lock()
	defer r.server.handles.Unlock()
	if f, ok := r.server.handles.open[n].(*file); ok {
		return f, nil
	}
	return nil, failure.New(failure.InvalidArgument, "no such open file")
}

// openFile opens a file to read it or, with write, to write it.
func (r *request) openFile() *failure.Failure {
	path, fail := r.path("path")
	if fail != nil {
		return fail
	}
	f := &file{path: path, sync: r.flag("sync")}
	if r.flag("write") {
		fail = r.create(f)
	} else {
		f.fd, fail = open(path, syscall.O_RDONLY, 0)
	}
	if fail != nil {
		return fail
	}
	var st syscall.Stat_t
	if err := syscall.Fstat(f.fd, &st); err != nil {
		f.drop()
		return cannot("look at", path, err)
	}
	n, fail := r.server.handles.add(f)
	if fail == nil {
		r.reply = wire.AppendUint(r.key("handle"), n)
		r.appendStat(&st, "")
	}
	return fail
}

// open opens a regular file. Anything else could hang, or have no end.
func open(path string, flags int, mode uint32) (int, *failure.Failure) {
	fd, err := syscall.Open(path, flags|syscall.O_NONBLOCK|syscall.O_CLOEXEC|syscall.O_NOCTTY, mode)
	if err != nil {
		return -1, cannot("open", path, err)
	}
	var st syscall.Stat_t
	if err := syscall.Fstat(fd, &st); err != nil || st.Mode&syscall.S_IFMT != syscall.S_IFREG {
		syscall.Close(fd)
		return -1, failure.New(failure.InvalidArgument, "cannot open "+path+": it is "+kindOf(st.Mode)+", not a file")
	}
	return fd, nil
}

func (r *request) create(f *file) *failure.Failure {
	mode, fail := r.number("mode", 0o7777, 1<<32)
	if fail != nil {
		return fail
	}
	uid, gid := -1, -1
	if spec, ok := r.Get("owner").Text(); ok {
		if uid, gid, fail = owner(spec); fail != nil {
			return fail
		}
	}
	flags := syscall.O_WRONLY
	target := f.path
	switch {
	case r.flag("atomic"):
		var old syscall.Stat_t
		if syscall.Stat(f.path, &old) == nil {
			if r.flag("exclusive") {
				return cannot("create", f.path, syscall.EEXIST)
			}
			if old.Mode&syscall.S_IFMT != syscall.S_IFREG {
				return failure.New(failure.InvalidArgument, "cannot replace "+f.path+": it is "+kindOf(old.Mode)+", not a file")
			}
			// What takes a file's place is like it, unless told otherwise.
			if mode > 0o7777 {
				mode = uint64(old.Mode & 0o7777)
			}
			if uid < 0 && gid < 0 && r.Get("user").Kind() == wire.Absent {
				uid, gid = int(old.Uid), int(old.Gid)
			}
		}
		slash := strings.LastIndexByte(f.path, '/')
		f.partial = f.path[:slash+1] + ".msb-" + unique() + ".partial"
		target = f.partial
		flags |= syscall.O_CREAT | syscall.O_EXCL
	case r.flag("exclusive"):
		flags |= syscall.O_CREAT | syscall.O_EXCL
	case r.flag("create"):
		flags |= syscall.O_CREAT
	}
	if r.flag("append") {
		flags |= syscall.O_APPEND
	}
	f.fd, fail = open(target, flags, 0o644)
	if fail != nil {
		return fail
	}
	err := error(nil)
	if uid >= 0 || gid >= 0 {
		err = syscall.Fchown(f.fd, uid, gid)
	}
	if err == nil && mode <= 0o7777 { // after the owner, whose change takes setuid away
		err = syscall.Fchmod(f.fd, uint32(mode))
	}
	if err == nil && r.flag("truncate") {
		err = syscall.Ftruncate(f.fd, 0)
	}
	if err != nil {
		f.drop()
	}
	return cannot("prepare", f.path, err)
}

func (r *request) read() *failure.Failure {
	f, fail := r.file()
	if fail != nil {
		return fail
	}
	offset, fail := r.number("offset", 1<<62, 0)
	if fail != nil {
		return fail
	}
	length, fail := r.number("length", maxChunk, maxChunk)
	if fail != nil {
		return fail
	}
	data := make([]byte, length)
	n := 0
	for n < len(data) {
		m, err := syscall.Pread(f.fd, data[n:], int64(offset)+int64(n))
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return cannot("read", f.path, err)
		}
		if m == 0 {
			break
		}
		n += m
	}
	r.reply = wire.AppendBytes(r.key("data"), data[:n])
	return nil
}

func (r *request) write() *failure.Failure {
	f, fail := r.file()
	if fail != nil {
		return fail
	}
	offset, fail := r.number("offset", 1<<62, 0)
	if fail != nil {
		return fail
	}
	data, ok := r.Get("data").Bytes()
	if !ok || len(data) > maxChunk {
		return failure.New(failure.InvalidArgument, "data: not at most 262,144 bytes")
	}
	for len(data) > 0 {
		// With O_APPEND the kernel takes no notice of the offset.
		n, err := syscall.Pwrite(f.fd, data, int64(offset))
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return cannot("write", f.path, err)
		}
		data, offset = data[n:], offset+uint64(n)
	}
	return nil
}

// close ends a file or a listing. With commit what was written takes its place; without it is dropped.
func (r *request) close() *failure.Failure {
	n, _ := r.Get("handle").Uint()
	one := r.server.handles.take(n)
	f, ok := one.(*file)
	if !ok || !r.flag("commit") {
		if one != nil {
			one.drop()
		}
		return nil
	}
	var err error
	if f.sync {
		err = syscall.Fsync(f.fd)
	}
	if err == nil && f.partial != "" {
		err = syscall.Rename(f.partial, f.path)
	}
	if err != nil {
		f.drop()
		return cannot("write", f.path, err)
	}
	if err := syscall.Close(f.fd); err != nil {
		return cannot("write", f.path, err)
	}
	if f.sync && f.partial != "" {
		return syncFolder(f.path[:strings.LastIndexByte(f.path, '/')+1])
	}
	return nil
}

// syncFolder makes a new name survive a crash.
func syncFolder(path string) *failure.Failure {
	fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil // a folder that its user may not read
	}
	defer syscall.Close(fd)
	return cannot("sync", path, syscall.Fsync(fd))
}
