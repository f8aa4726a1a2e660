package cgroup

import (
	"syscall"

	"microsandbox/agent/internal/entries"
)

// others are the control groups that the sandbox has made beside its own: container engines do. What runs in them stands
// still with all else. The kernel tells when one was made, so that without any a freeze costs one read more.
//
// At most 64 of them, in no other depth than the first: what is below stands still with it. Processes that root has moved
// to the topmost group of all, where the agent is, cannot be made to.
type others struct {
	root   int // the topmost group
	notify int // an inotify descriptor; -1: there is none, and they are always looked for
	known  bool
	frozen []int // descriptors of those that were told to stand still
}

const maxOthers = 64

func (o *others) open(root int) error {
	var err error
	if o.root, err = open(root, ".", syscall.O_DIRECTORY); err != nil {
		return describe("open", mount, err)
	}
	o.notify, err = syscall.InotifyInit1(syscall.IN_CLOEXEC | syscall.IN_NONBLOCK)
	if err == nil {
		_, err = syscall.InotifyAddWatch(o.notify, mount, syscall.IN_CREATE|syscall.IN_MOVED_TO|syscall.IN_ONLYDIR)
	}
	if err != nil {
		o.notify, o.known = -1, true
	}
	return nil
}

// freeze tells all that there are to stand still.
func (o *others) freeze() {
	if !o.known {
		var events [1024]byte
		n, err := syscall.Read(o.notify, events[:])
		o.known = n > 0 && err == nil
	}
	if !o.known {
		return
	}
	names, err := o.names()
	if err != nil {
		return
	}
	for _, name := range names {
		if name == base || name == hooksBase || len(o.frozen) == maxOthers {
			continue
		}
		dir, err := open(o.root, name, syscall.O_DIRECTORY)
		if err != nil {
			continue // a file
		}
		// One that the sandbox itself has told to is not to go on with the others.
		if asked(dir) || write(dir, "cgroup.freeze", "1") != nil {
			_ = syscall.Close(dir)
			continue
		}
		o.frozen = append(o.frozen, dir)
	}
}

func (o *others) names() ([]string, error) {
	dir, err := open(o.root, ".", syscall.O_DIRECTORY) // its own place in the list
	if err != nil {
		return nil, err
	}
	defer syscall.Close(dir)
	return entries.Names(dir)
}

// asked says whether a group has been told to stand still.
func asked(dir int) bool {
	fd, err := open(dir, "cgroup.freeze", syscall.O_RDONLY)
	if err != nil {
		return false
	}
	defer syscall.Close(fd)
	var b [1]byte
	n, _ := syscall.Read(fd, b[:])
	return n == 1 && b[0] == '1'
}

// still says whether all of them do.
func (o *others) still() bool {
	for _, dir := range o.frozen {
		if frozen, ok := (&Group{dir}).event("frozen"); ok && frozen == 0 {
			return false
		}
	}
	return true
}

// thaw has them go on.
func (o *others) thaw() {
	for _, dir := range o.frozen {
		_ = write(dir, "cgroup.freeze", "0")
		_ = syscall.Close(dir)
	}
	o.frozen = o.frozen[:0]
}
