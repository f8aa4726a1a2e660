package watch

import (
	"strconv"
	"syscall"
	"unsafe"

	"microsandbox/agent/internal/failure"
	"microsandbox/agent/internal/glob"
	"microsandbox/agent/internal/kernelfs"
)

// mask is what the kernel is asked to tell of a folder.
const mask = syscall.IN_CREATE | syscall.IN_MODIFY | syscall.IN_ATTRIB | syscall.IN_DELETE | syscall.IN_MOVED_FROM | syscall.IN_MOVED_TO |
	syscall.IN_DELETE_SELF | syscall.IN_MOVE_SELF | syscall.IN_ONLYDIR | syscall.IN_EXCL_UNLINK

// maxTold bounds the names that are remembered as told; beyond it a new file may be told of twice.
const maxTold = 65536

// node is a folder that is watched.
type node struct {
	parent   *node
	name     string
	wd       int32
	children map[string]*node
	// told are the names that were told when the folder was read, and of which the kernel may tell too.
	told map[string]bool
}

// path of what has a name in it, relative to the root.
func (n *node) path(name string) string {
	for ; n.parent != nil; n = n.parent {
		name = n.name + "/" + name
	}
	return name
}

// place is where a folder lies, without a slash at the end, which would have the kernel follow a link.
func (w *watcher) place(n *node) string {
	if n.parent == nil {
		return w.base
	}
	return w.base + n.parent.path(n.name)
}

func (w *watcher) excluded(path string) bool {
	for _, pattern := range w.excludes {
		if glob.Matches(pattern, path) {
			return true
		}
	}
	return false
}

// add asks the kernel to watch a folder; ok is false if it is not there any more.
func (w *watcher) add(path string, flags uint32) (wd int32, ok bool, err error) {
	n, err := syscall.InotifyAddWatch(w.fd, path, mask|flags)
	switch err {
	case nil:
		return int32(n), true, nil
	case syscall.ENOENT, syscall.ENOTDIR, syscall.ELOOP:
		return 0, false, nil
	case syscall.ENAMETOOLONG:
		w.tell(change{kind: overflow}) // it is there, and nothing will be known of what is in it
		return 0, false, nil
	case syscall.ENOSPC:
		return 0, false, failure.New(failure.ResourceExhausted,
			"cannot watch "+path+": the sandbox's kernel watches no more than fs.inotify.max_user_watches")
	}
	return 0, false, failure.Of("watch "+path, err)
}

// keep puts a folder into the tree that the kernel watches from now on.
func (w *watcher) keep(parent *node, name string, wd int32) (*node, error) {
	if len(w.byWd) >= w.max {
		return nil, failure.New(failure.ResourceExhausted, "cannot watch more than "+strconv.Itoa(w.max)+" folders at once")
	}
	n := &node{parent: parent, name: name, wd: wd, children: make(map[string]*node)}
	w.byWd[wd] = n
	if parent != nil {
		parent.children[name] = n
	}
	return n, nil
}

// visit makes the tree agree with what has a name in a folder: a folder there is watched with what is below, and told of if new.
func (w *watcher) visit(parent *node, name string, tell bool) error {
	if !w.recursive || w.excluded(parent.path(name)) {
		return nil
	}
	wd, ok, err := w.add(w.base+parent.path(name), syscall.IN_DONT_FOLLOW)
	if err != nil {
		return err
	}
	old := parent.children[name]
	if !ok {
		w.drop(old)
		return w.look()
	}
	n := w.byWd[wd]
	if n == old && n != nil {
		return nil
	}
	if n != nil && n.holds(parent) {
		return nil // a folder that is mounted below itself
	}
	w.drop(old)
	if n != nil && w.byWd[wd] != n {
		return w.visit(parent, name, tell) // it lay below what was dropped
	}
	if n != nil {
		// It was known by a name that it has no more, and what has that now is found when the kernel tells of it.
		w.move(n, parent, name)
		return nil
	}
	if n, err = w.keep(parent, name, wd); err != nil {
		return err
	}
	return w.scan(n, tell)
}

// holds says whether a folder is another or has it below.
func (n *node) holds(below *node) bool {
	for ; below != nil; below = below.parent {
		if below == n {
			return true
		}
	}
	return false
}

// look sees whether the root still has its name: what lies above it is not watched.
func (w *watcher) look() error {
	wd, ok, err := w.add(w.base, 0)
	if err != nil || ok && wd == w.root.wd {
		return err
	}
	if ok {
		syscall.InotifyRmWatch(w.fd, uint32(wd))
	}
	w.end()
	return nil
}

// move gives a folder another name.
func (w *watcher) move(n, parent *node, name string) {
	delete(n.parent.children, n.name)
	n.parent, n.name = parent, name
	parent.children[name] = n
}

// drop forgets a folder with all below it.
func (w *watcher) drop(n *node) {
	if n == nil {
		return
	}
	if n.parent != nil && n.parent.children[n.name] == n {
		delete(n.parent.children, n.name)
	}
	if w.byWd[n.wd] == n {
		syscall.InotifyRmWatch(w.fd, uint32(n.wd)) // an error: it is gone
		delete(w.byWd, n.wd)
	}
	for _, child := range n.children {
		w.drop(child)
	}
}

// scan reads a folder that is watched already.
func (w *watcher) scan(n *node, tell bool) error {
	path := w.place(n)
	fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW|syscall.O_CLOEXEC, 0)
	if err == syscall.ENOENT || err == syscall.ENOTDIR || err == syscall.ELOOP {
		return nil // the kernel tells of it
	}
	if err != nil {
		return failure.Of("list "+path, err)
	}
	var folders []string
	if !kernelfs.MadeUp(fd) {
		folders, err = w.read(n, fd, tell)
	}
	syscall.Close(fd)
	if err != nil {
		return err
	}
	for _, name := range folders {
		if err := w.visit(n, name, tell); err != nil {
			return err
		}
	}
	return nil
}

// read tells of what is in a folder, and gives the names of the folders in it.
func (w *watcher) read(n *node, fd int, tell bool) (folders []string, err error) {
	buffer := make([]byte, 32<<10)
	for {
		size, err := syscall.ReadDirent(fd, buffer)
		if err == syscall.ENOENT {
			return folders, nil // it was removed
		}
		if err != nil {
			return nil, failure.Of("list "+w.place(n), err)
		}
		if size == 0 {
			return folders, nil
		}
		for at := 0; at < size; {
			entry := (*syscall.Dirent)(unsafe.Pointer(&buffer[at]))
			name := text(buffer[at+int(unsafe.Offsetof(entry.Name)) : at+int(entry.Reclen)])
			at += int(entry.Reclen)
			if name == "." || name == ".." || w.excluded(n.path(name)) {
				continue
			}
			folder := entry.Type == syscall.DT_DIR
			if entry.Type == syscall.DT_UNKNOWN {
				var st syscall.Stat_t
				folder = syscall.Lstat(w.base+n.path(name), &st) == nil && st.Mode&syscall.S_IFMT == syscall.S_IFDIR
			}
			if tell {
				w.tell(change{kind: created, path: n.path(name), folder: folder})
				w.remember(n, name)
			}
			if folder {
				folders = append(folders, name)
			}
		}
	}
}

func (w *watcher) remember(n *node, name string) {
	if w.toldNames >= maxTold {
		return
	}
	if n.told == nil {
		n.told = make(map[string]bool)
		w.toldIn = append(w.toldIn, n)
	}
	n.told[name] = true
	w.toldNames++
}

// wasTold says whether a name was told of when its folder was read, once.
func (n *node) wasTold(name string) bool {
	was := n.told[name]
	delete(n.told, name)
	return was
}

// forgetTold is for when the kernel has told all that was before.
func (w *watcher) forgetTold() {
	for _, n := range w.toldIn {
		n.told = nil
	}
	w.toldIn, w.toldNames = nil, 0
}

// text is what stands before the first NUL.
func text(b []byte) string {
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}
