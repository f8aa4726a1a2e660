package cgroup

import (
	"syscall"

	"microsandbox/agent/internal/entries"
	"microsandbox/agent/internal/failure"
)

// others are the control groups that the sandbox has made beside its own: container engines do. What runs in them stands
// still with all else. How many there are the kernel tells by the number of links of the folder (fs/kernfs/inode.c), so that
// without any a freeze costs one call more.
//
// At most 64 of them, in no other depth than the first: what is below stands still with it.
type others struct {
	root   int    // the topmost group
	links  uint64 // that it has without any
	frozen []int  // descriptors of those that were told to stand still
}

const maxOthers = 64

// open is to be called when all groups of the agent's own are there.
func (o *others) open(root int) error {
	var err error
	if o.root, err = open(root, ".", syscall.O_DIRECTORY); err != nil {
		return describe("open", mount, err)
	}
	o.links = o.count()
	return nil
}

func (o *others) count() uint64 {
	var st syscall.Stat_t
	_ = syscall.Fstat(o.root, &st)
	return uint64(st.Nlink)
}

// freeze tells all that there are to stand still; those that have been told are left.
func (o *others) freeze() error {
	if o.count() == o.links {
		return nil
	}
	names, err := o.names()
	if err != nil {
		return describe("list groups in", mount, err)
	}
	for _, name := range names {
		if name == base || name == hooksBase {
			continue
		}
		dir, err := open(o.root, name, syscall.O_DIRECTORY)
		if err != nil {
			continue // a file
		}
		// One that the sandbox itself has told to is not to go on with the others.
		if asked(dir) {
			_ = syscall.Close(dir)
			continue
		}
		if len(o.frozen) == maxOthers {
			_ = syscall.Close(dir)
			return failure.New(failure.ResourceExhausted, "the sandbox has more than 64 control groups of its own: they cannot be made to stand still")
		}
		if err := write(dir, "cgroup.freeze", "1"); err != nil {
			_ = syscall.Close(dir)
			if err == syscall.ENODEV || err == syscall.ENOENT {
				continue // removed meanwhile
			}
			return describe("write", name+"/cgroup.freeze", err)
		}
		o.frozen = append(o.frozen, dir)
	}
	return nil
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
